"""One authenticated conversation with a toy over a byte stream: handshake, then sealed records.

Every wait has an end. A stream that closes, stalls or turns to garbage after the handshake is a
lost link, and the session is over: the caller connects again.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from hushbear import wire

from .errors import HushbearError, LinkLost, NotThisToy
from .framing import FrameError, FrameReader, frame
from .noise import Initiator, NoiseError
from .records import Record, check_status, pack_record, parse_record


class Stream(Protocol):
    """What a radio gives: bytes in order, both ways, until it is closed."""

    async def write(self, data: bytes) -> None:
        """Send all of `data`, or raise LinkLost."""

    async def read(self) -> bytes:
        """Return what has come, waiting for at least one byte; b"" once the link has ended."""

    def read_nowait(self) -> bytes:
        """Return what has come, perhaps nothing."""

    def write_size(self) -> int:
        """Return how many bytes cross at once."""

    async def close(self) -> None:
        """End the connection. Never raises LinkLost."""


class State(Enum):
    """Where a session is."""

    HELLO = "hello"  # nothing was said
    HANDSHAKE = "handshake"  # our message is out
    READY = "ready"  # records go both ways
    CLOSED = "closed"


@dataclass(frozen=True)
class Timing:
    """How long to wait, in seconds, and how often to try."""

    scan: float = 8.0  # for the first toy to be seen
    settle: float = 0.6  # for further ones after it
    connect: float = 15.0
    handshake: float = 10.0
    pairing: float = 30.0  # for the toy's answer to a code: another phone's attempt may go first
    response: float = 15.0
    write: float = 10.0
    stall: float = 20.0  # a transfer that does not move
    retries: int = 6  # attempts in a row without progress, after a lost link
    first_pause: float = 0.5  # doubled after each attempt
    longest_pause: float = 8.0

    def pause(self, attempt: int) -> float:
        """Return how long to wait after failed attempt number `attempt` (from 0)."""
        return float(min(self.longest_pause, self.first_pause * 2 ** min(attempt, 30)))


class Session:
    """The phone's side. One request is in flight at a time."""

    def __init__(self, stream: Stream, timing: Timing | None = None) -> None:
        self.state = State.HELLO
        self._stream = stream
        self.timing = timing or Timing()
        self._frames = FrameReader()
        self._tag = 0

    async def open(self, key: bytes, prologue: bytes = wire.PROLOGUE) -> None:
        """Do the handshake. A toy that does not know `key` says nothing and closes: NotThisToy."""
        if self.state is not State.HELLO:
            raise RuntimeError("a session opens once")
        initiator = Initiator(key, prologue)
        refused = NotThisToy("The toy did not answer to the key.")
        try:
            self.state = State.HANDSHAKE
            try:
                answer = await self._exchange(
                    initiator.write_1(), wire.HANDSHAKE_SIZE, self.timing.handshake
                )
                if answer is None:
                    raise refused
                initiator.read_2(answer)
            except TimeoutError:
                raise LinkLost("The toy did not finish the handshake in time.") from None
            except (NoiseError, FrameError):
                raise refused from None
            self._tx, self._rx = initiator.split()
            self.state = State.READY
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End the session and its connection."""
        if self.state is not State.CLOSED:
            self.state = State.CLOSED
            await self._stream.close()

    def new_tag(self) -> int:
        """Return a tag that no recent request had."""
        self._tag = self._tag % 255 + 1
        return self._tag

    async def send(self, kind: int, tag: int, body: bytes) -> None:
        """Send one record."""
        self._must_be_ready()
        await self._write(frame(self._tx.seal(pack_record(kind, tag, body))))

    def data_size(self) -> int:
        """Return how many message bytes to put into a DATA record, but for the last one: its
        frame is a whole number of writes, as the rest of one would take a packet of its own."""
        size = self._stream.write_size()
        return int(wire.FRAME_MAX // size * size - wire.FRAME_MAX + wire.DATA_MAX)

    async def receive(self, seconds: float) -> Record:
        """Return the next record, or raise LinkLost when none comes in `seconds`."""
        self._must_be_ready()
        try:
            async with asyncio.timeout(seconds):
                payload = await self._next_frame()
        except TimeoutError:
            raise await self._lost("The toy stopped answering.") from None
        except FrameError:
            raise await self._lost("What came from the toy was garbled.") from None
        if payload is None:
            raise await self._lost("The link to the toy was lost.")
        return await self._opened(payload)

    async def receive_nowait(self) -> Record | None:
        """Return a record that is here already, or None."""
        self._must_be_ready()
        self._frames.feed(self._stream.read_nowait())
        try:
            payload = self._frames.next()
        except FrameError:
            raise await self._lost("What came from the toy was garbled.") from None
        return None if payload is None else await self._opened(payload)

    async def request(self, kind: int, body: bytes, doing: str) -> bytes:
        """Send a request and return what follows the OK in its response; else StatusError."""
        _, answer = await self.request_tagged(kind, body, doing)
        return answer

    async def request_tagged(self, kind: int, body: bytes, doing: str) -> tuple[int, bytes]:
        """Like request(); return (tag, what follows the OK)."""
        tag = self.new_tag()
        await self.send(kind, tag, body)
        loop = asyncio.get_running_loop()
        end = loop.time() + self.timing.response
        while True:
            record = await self.receive(max(0.0, end - loop.time()))
            if record.kind == kind | wire.RESPONSE and record.tag == tag:
                return tag, check_status(record.body, doing)
            # Otherwise it is left over from a transfer that was cancelled.

    async def _exchange(self, payload: bytes, longest: int, seconds: float) -> bytes | None:
        """Send a frame before there is a session; return the next one, None where the link ended.
        Raises TimeoutError, FrameError, or LinkLost where it could not be sent."""
        await self._write(frame(payload))
        async with asyncio.timeout(seconds):
            return await self._next_frame(longest)

    def _must_be_ready(self) -> None:
        if self.state is not State.READY:
            raise LinkLost("The link to the toy was lost.")

    async def _write(self, data: bytes) -> None:
        try:
            async with asyncio.timeout(self.timing.write):
                await self._stream.write(data)
        except TimeoutError:
            raise await self._lost("The link to the toy is stuck.") from None
        except LinkLost:
            await self.close()
            raise

    async def _next_frame(self, longest: int | None = None) -> bytes | None:
        while True:
            payload = self._frames.next(longest) if longest else self._frames.next()
            if payload is not None:
                return payload
            piece = await self._stream.read()
            if not piece:
                return None
            self._frames.feed(piece)

    async def _opened(self, payload: bytes) -> Record:
        try:
            return parse_record(self._rx.open(payload))
        except NoiseError:
            raise await self._lost("What came from the toy was altered or incomplete.") from None
        except HushbearError:
            await self.close()
            raise

    async def _lost(self, message: str) -> LinkLost:
        with contextlib.suppress(Exception):
            await self.close()
        return LinkLost(message)
