"""A message as it is recorded, stored, carried and played: a header, then sealed IMA ADPCM.

The same bytes everywhere: a file on the toy, a transfer over the link, a file on the phone. The
toy and the companion both import this module, so it uses nothing but `struct`.

Header, 48 bytes, little-endian: magic "HBMG", version, codec, seal, flags (0), epoch u32 of the
family key, time u32 (Unix seconds, 0 where the recorder's clock was not set), id 16 bytes, sender
8 bytes (opaque; zeros for the toy), 8 bytes reserved (0). The body is chunks of 4 blocks, the last
one of 1 to 4, each followed by its tag; a block is 256 bytes, 505 samples. docs/protocol.md says
how a chunk is sealed.
"""

import struct

HEADER = "<8sII16s8s8s"
HEADER_SIZE = struct.calcsize(HEADER)
KIND = b"HBMG\1\1\1\0"  # version 1; IMA ADPCM, 16 kHz mono; sealed with AES-256-GCM; no flags
ID_SIZE = 16
TOY = bytes(8)  # the toy as a sender

RATE = 16000  # samples per second
BLOCK_ALIGN = 256  # bytes per block
BLOCK_SAMPLES = 505  # samples per block
BLOCKS_MAX = 1920  # 60.6 s
CHUNK_BLOCKS = 4
TAG_SIZE = 16
CHUNK_SIZE = CHUNK_BLOCKS * BLOCK_ALIGN + TAG_SIZE
INFO = b"Hushbear message 1"  # HKDF's, before the header


class ContainerError(ValueError):
    """These bytes are not a message that this version understands."""


def pack_header(message_id, sender, time, epoch):
    """Return the 48 header bytes of a message."""
    return struct.pack(HEADER, KIND, epoch, time, message_id, sender, bytes(8))


def parse_header(header):
    """Return (id, sender, time, epoch) of a header's 48 bytes, or raise ContainerError. Nothing of
    it is proven before a chunk has opened."""
    if len(header) < HEADER_SIZE:
        raise ContainerError("header cut short")
    kind, epoch, time, message_id, sender, reserved = struct.unpack(HEADER, header[:HEADER_SIZE])
    if kind[:4] != KIND[:4]:
        raise ContainerError("not a Hushbear message")
    if kind != KIND or any(reserved):
        raise ContainerError("made by another version")
    return message_id, sender, time, epoch


def sealed_size(blocks):
    """Return the bytes of a message of so many blocks."""
    return HEADER_SIZE + blocks * BLOCK_ALIGN + -(-blocks // CHUNK_BLOCKS) * TAG_SIZE


def blocks_within(size):
    """Return the most blocks that a message of up to `size` bytes can have."""
    chunks, rest = divmod(size - HEADER_SIZE, CHUNK_SIZE)
    return chunks * CHUNK_BLOCKS + max(0, rest - TAG_SIZE) // BLOCK_ALIGN


def check_size(size):
    """Raise ContainerError unless `size` bytes may be a message; opening tells more."""
    if not HEADER_SIZE < size <= SIZE_MAX:
        raise ContainerError("impossible size")


SIZE_MAX = sealed_size(BLOCKS_MAX)
