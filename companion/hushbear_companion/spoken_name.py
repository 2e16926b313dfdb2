"""Give a toy the name that it says when pairing opens, a record at a time."""

from __future__ import annotations

import struct
import zlib

from hushbear import upkeep_wire, wire

from .errors import BadVoice, ToyMisbehaves
from .message import BLOCK_ALIGN
from .records import StatusError
from .session import Session

_RESTARTS = 2  # how often it begins again because another phone does the same
_DOING = "take its spoken name"
_PIECE = upkeep_wire.NAME_PIECE


class Giving:
    """The name as `blocks` of IMA ADPCM; none take its name away. Raises BadVoice."""

    def __init__(self, blocks: bytes) -> None:
        if len(blocks) % BLOCK_ALIGN or len(blocks) > upkeep_wire.NAME_SIZE_MAX:
            raise BadVoice(
                f"A spoken name of {len(blocks)} bytes does not fit.",
                f"It may have {upkeep_wire.NAME_SIZE_MAX // BLOCK_ALIGN} blocks.",
            )
        self._blocks = blocks
        self._crc = zlib.crc32(blocks)

    async def attempt(self, session: Session) -> None:
        """Send the whole name. A piece that the toy has already changes nothing."""
        for restart in range(_RESTARTS + 1):
            try:
                await self._send(session)
                return
            except StatusError as refusal:
                if refusal.status != wire.RANGE or restart == _RESTARTS:
                    raise

    async def _send(self, session: Session) -> None:
        size = len(self._blocks)
        answer = b""
        for at in range(0, max(size, 1), _PIECE):
            head = struct.pack(upkeep_wire.NAME_HEAD, size, self._crc, at)
            body = head + self._blocks[at : at + _PIECE]
            answer = await session.request(upkeep_wire.NAME, body, _DOING)
        if parse_size(answer) != size:
            raise ToyMisbehaves("The toy has another name than the one that it was given.")


def parse_size(body: bytes) -> int:
    """Return how many bytes of sound a NAME response says that the name has."""
    layout = upkeep_wire.NAME_RESPONSE
    if len(body) != struct.calcsize(layout):
        raise ToyMisbehaves("The toy sent a record of the wrong length.")
    (size,) = struct.unpack(layout, body)
    if size > upkeep_wire.NAME_SIZE_MAX or size % BLOCK_ALIGN:
        raise ToyMisbehaves("The toy says a spoken name of an impossible length.")
    return int(size)
