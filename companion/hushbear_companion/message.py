"""A message's bytes: hushbear.container with types, and the plain WAV that every player opens."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

from hushbear import container

from .errors import BadMessage

BLOCK_ALIGN: int = container.BLOCK_ALIGN
BLOCK_SAMPLES: int = container.BLOCK_SAMPLES
HEADER_SIZE: int = container.HEADER_SIZE
SIZE_MAX: int = container.SIZE_MAX
RATE: int = container.RATE
ID_SIZE: int = container.ID_SIZE
SENDER_SIZE: int = container.SENDER_SIZE
SAMPLES_MAX: int = container.BLOCKS_MAX * BLOCK_SAMPLES

_IMA_TAG = 0x0011


@dataclass(frozen=True)
class Header:
    """What a message says of itself. `time` is 0 where the recorder's clock was not set."""

    id: bytes
    sender: bytes
    time: int
    epoch: int = 0


def timestamp(seconds: float) -> int:
    """Return Unix seconds for 32 bits: 0, unknown, where a clock is so wrong that they are not
    enough."""
    return int(seconds) if 0 < seconds < 1 << 32 else 0


def new_id() -> bytes:
    """Return a fresh random message id."""
    return os.urandom(ID_SIZE)


def pack(header: Header, body: bytes) -> bytes:
    """Return the message: its header and whole blocks."""
    packed: bytes = container.pack_header(header.id, header.sender, header.time, header.epoch)
    check_size(len(packed) + len(body))
    return packed + body


def parse(message: bytes) -> tuple[Header, bytes]:
    """Return (header, blocks) of a whole message, or raise BadMessage."""
    check_size(len(message))
    try:
        message_id, sender, time, epoch = container.parse_header(message)
    except container.ContainerError as error:
        raise BadMessage(f"That is no message that this version can read: {error}.") from None
    return Header(message_id, sender, time, epoch), message[HEADER_SIZE:]


def check_size(size: int) -> None:
    """Raise BadMessage unless a message can have `size` bytes."""
    try:
        container.check_size(size)
    except container.ContainerError as error:
        raise BadMessage(f"No message has {size} bytes: {error}.") from None


def duration(size: int) -> float:
    """Return the seconds of a message of `size` bytes."""
    return max(0, size - HEADER_SIZE) // BLOCK_ALIGN * BLOCK_SAMPLES / RATE


def to_wav(message: bytes) -> bytes:
    """Return a message as an IMA ADPCM WAV: the same blocks behind a RIFF header."""
    _, body = parse(message)
    samples = len(body) // BLOCK_ALIGN * BLOCK_SAMPLES
    rate = RATE * BLOCK_ALIGN // BLOCK_SAMPLES
    fmt = struct.pack(
        "<HHIIHHHH", _IMA_TAG, 1, RATE, rate, BLOCK_ALIGN, 4, 2, BLOCK_SAMPLES
    )  # tag, channels, rate, bytes/s, block align, bits, size of the extension, samples per block
    chunks = (
        b"WAVE"
        + _chunk(b"fmt ", fmt)
        + _chunk(b"fact", struct.pack("<I", samples))
        + _chunk(b"data", body)
    )
    return _chunk(b"RIFF", chunks)


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content
