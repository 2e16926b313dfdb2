"""A message's header and size: hushbear.container with types. And the WAV that every player opens,
of the same blocks."""

from __future__ import annotations

import os
import struct
import time
from dataclasses import dataclass

from hushbear import container

from .errors import BadMessage

BLOCK_ALIGN: int = container.BLOCK_ALIGN
BLOCK_SAMPLES: int = container.BLOCK_SAMPLES
HEADER_SIZE: int = container.HEADER_SIZE
SIZE_MAX: int = container.SIZE_MAX
RATE: int = container.RATE
ID_SIZE: int = container.ID_SIZE
SENDER_SIZE: int = len(container.TOY)
SAMPLES_MAX: int = container.BLOCKS_MAX * BLOCK_SAMPLES

STEP_INDEX_MAX = 88

_IMA_TAG = 0x0011


@dataclass(frozen=True)
class Header:
    """What a message says of itself. `time` is 0 where the recorder's clock was not set."""

    id: bytes
    sender: bytes
    time: int
    epoch: int


def timestamp(seconds: float) -> int:
    """Return Unix seconds for 32 bits: 0, unknown, where a clock is so wrong that they are not
    enough."""
    return int(seconds) if 0 < seconds < 1 << 32 else 0


def new_id() -> bytes:
    """Return a fresh random message id."""
    return os.urandom(ID_SIZE)


def new_header(sender: bytes, epoch: int) -> Header:
    """Return the header of a message that somebody begins now."""
    return Header(new_id(), sender, timestamp(time.time()), epoch)


def parse_header(content: bytes) -> Header:
    """Return what the beginning of a message says of it, or raise BadMessage. Nothing of it is
    proven before the message is unsealed."""
    try:
        message_id, sender, time, epoch = container.parse_header(content)
    except container.ContainerError as error:
        raise BadMessage(f"That is no message that this version can read: {error}.") from None
    return Header(message_id, sender, time, epoch)


def blocks_in(size: int) -> int:
    """Return the blocks of a message of `size` bytes, or raise BadMessage."""
    blocks = int(container.blocks_within(size))
    if not 1 <= blocks <= container.BLOCKS_MAX or container.sealed_size(blocks) != size:
        raise BadMessage(f"No message has {size} bytes.")
    return blocks


def duration(size: int) -> float:
    """Return the seconds of a message of `size` bytes; 0 where none has so many."""
    try:
        return blocks_in(size) * BLOCK_SAMPLES / RATE
    except BadMessage:
        return 0.0


def check_blocks(blocks: bytes) -> None:
    """Raise BadMessage unless whole blocks can be decoded."""
    if any(index > STEP_INDEX_MAX for index in blocks[2::BLOCK_ALIGN]):
        raise BadMessage("The message is genuine, but its sound is garbled.")


def to_wav(blocks: bytes) -> bytes:
    """Return whole blocks as an IMA ADPCM WAV: the same blocks behind a RIFF header."""
    samples = len(blocks) // BLOCK_ALIGN * BLOCK_SAMPLES
    rate = RATE * BLOCK_ALIGN // BLOCK_SAMPLES
    fmt = struct.pack(
        "<HHIIHHHH", _IMA_TAG, 1, RATE, rate, BLOCK_ALIGN, 4, 2, BLOCK_SAMPLES
    )  # tag, channels, rate, bytes/s, block align, bits, size of the extension, samples per block
    chunks = (
        b"WAVE"
        + _chunk(b"fmt ", fmt)
        + _chunk(b"fact", struct.pack("<I", samples))
        + _chunk(b"data", blocks)
    )
    return _chunk(b"RIFF", chunks)


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content
