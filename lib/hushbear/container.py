"""A message as it is recorded, stored, carried and played: a header, then IMA ADPCM blocks.

The same bytes everywhere: a file on the toy, a transfer over the link, a file on the phone. The
toy and the companion both import this module, so it uses nothing but `struct`.

Header, 48 bytes, little-endian: magic "HBMG", version, codec, seal, flags (0), epoch u32,
time u32 (Unix seconds, 0 where the recorder's clock was not set), id 16 bytes, sender 8 bytes
(opaque; zeros for the toy), 8 bytes reserved (0). The body is whole 256-byte blocks of 505
samples.
"""

import struct

HEADER = "<4sBBBBII16s8s8s"
HEADER_SIZE = struct.calcsize(HEADER)
MAGIC = b"HBMG"
VERSION = 1
CODEC_IMA = 1  # IMA ADPCM, 16 kHz mono, 256-byte blocks
SEAL_NONE = 0
ID_SIZE = 16
SENDER_SIZE = 8
TOY = bytes(SENDER_SIZE)  # the toy as a sender

RATE = 16000  # samples per second
BLOCK_ALIGN = 256  # bytes per block
BLOCK_SAMPLES = 505  # samples per block
BLOCKS_MAX = 1920  # 60.6 s
SIZE_MAX = HEADER_SIZE + BLOCKS_MAX * BLOCK_ALIGN


class ContainerError(ValueError):
    """These bytes are not a message that this version understands."""


def pack_header(message_id, sender, time, epoch=0):
    """Return the 48 header bytes of an unsealed IMA message."""
    return struct.pack(
        HEADER, MAGIC, VERSION, CODEC_IMA, SEAL_NONE, 0, epoch, time, message_id, sender, bytes(8)
    )


def parse_header(header):
    """Return (id, sender, time, epoch) of a header's 48 bytes, or raise ContainerError."""
    if len(header) < HEADER_SIZE:
        raise ContainerError("header cut short")
    magic, version, codec, seal, flags, epoch, time, message_id, sender, reserved = struct.unpack(
        HEADER, header[:HEADER_SIZE]
    )
    if magic != MAGIC:
        raise ContainerError("not a Hushbear message")
    if (version, codec, seal, flags, reserved) != (VERSION, CODEC_IMA, SEAL_NONE, 0, bytes(8)):
        raise ContainerError("made by a newer version")
    return message_id, sender, time, epoch


def check_size(size):
    """Raise ContainerError unless `size` bytes can be a header and 1 to BLOCKS_MAX blocks."""
    blocks, rest = divmod(size - HEADER_SIZE, BLOCK_ALIGN)
    if rest or not 1 <= blocks <= BLOCKS_MAX:
        raise ContainerError("impossible size")
