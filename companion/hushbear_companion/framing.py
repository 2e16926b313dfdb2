"""Frames in the byte stream: a u16 length, then that many bytes. Hostile lengths end it."""

from __future__ import annotations

import struct

from hushbear import wire

PAYLOAD_MAX: int = wire.FRAME_MAX - 2
_HEAD = struct.Struct(wire.FRAME_HEAD)


class FrameError(Exception):
    """The stream cannot be cut into frames any more."""


def frame(payload: bytes) -> bytes:
    """Return `payload` (1 to PAYLOAD_MAX bytes) as the stream carries it."""
    if not 1 <= len(payload) <= PAYLOAD_MAX:
        raise ValueError("impossible payload")
    return _HEAD.pack(len(payload)) + payload


class FrameReader:
    """Cuts a stream that comes in pieces of any size; keeps no more than was fed."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, piece: bytes) -> None:
        """Add what came in."""
        self._buffer += piece

    def next(self, longest: int = PAYLOAD_MAX) -> bytes | None:
        """Return the next payload, or None until it is whole; a length of 0 or above `longest`
        raises FrameError, before the rest has come."""
        if len(self._buffer) < _HEAD.size:
            return None
        (length,) = _HEAD.unpack_from(self._buffer)
        if not 1 <= length <= longest:
            raise FrameError(f"a frame of {length} bytes")
        end = _HEAD.size + length
        if len(self._buffer) < end:
            return None
        payload = bytes(self._buffer[_HEAD.size : end])
        del self._buffer[:end]
        return payload
