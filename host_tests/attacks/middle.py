"""A man in the middle: between a phone and the toy there is somebody with a radio for each.

    air = Between(here.air(), lambda: Man())    # for the companion, in the air's place

BLE's own pairing is not relied on, so all that it takes is two radios; here he sits where the
phone's bytes become the radio's. He hears every frame and passes on what he likes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from hushbear import wire
from hushbear_companion.client import Air
from hushbear_companion.errors import LinkLost
from hushbear_companion.framing import FrameError, FrameReader, frame
from hushbear_companion.session import Stream
from hushbear_companion.transport import Sighting


class Man:
    """One connection, passed on as it is. `from_phone` and `from_toy` are called with each frame,
    counted from 0 each way."""

    def __init__(self) -> None:
        self.said: list[bytes] = []  # by the phone
        self.answered: list[bytes] = []  # by the toy
        self.link: Link

    @property
    def heard(self) -> bytes:
        return b"".join(self.said + self.answered)

    async def from_phone(self, n: int, payload: bytes) -> None:
        await self.link.to_toy(payload)

    async def from_toy(self, n: int, payload: bytes) -> None:
        self.link.to_phone(payload)


class Between:
    """The air, with such a man on each connection; `men` are all of them."""

    def __init__(self, air: Air, man: Callable[[], Man]) -> None:
        self._air = air
        self._man = man
        self.men: list[Man] = []

    async def sightings(
        self, seconds: float, settle: float | None = None, service: str = wire.SERVICE_UUID
    ) -> list[Sighting]:
        return await self._air.sightings(seconds, settle, service)

    async def open(self, sighting: Sighting, seconds: float) -> Stream:
        stream = await self._air.open(sighting, seconds)
        self.men.append(self._man())
        return Link(stream, self.men[-1])

    @property
    def heard(self) -> bytes:
        return b"".join(man.heard for man in self.men)


class Link:
    """The phone's end."""

    def __init__(self, stream: Stream, man: Man) -> None:
        self._stream = stream
        self._man = man
        man.link = self
        self._frames = FrameReader()
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue()
        self._pending = bytearray()
        self._arrived = asyncio.Event()
        self._ended = False
        self._tasks = [asyncio.create_task(each) for each in (self._up(), self._down())]

    # What the man does

    async def to_toy(self, payload: bytes) -> None:
        with contextlib.suppress(LinkLost):
            await self._stream.write(frame(payload))

    def to_phone(self, payload: bytes) -> None:
        self._pending += frame(payload)
        self._arrived.set()

    def hang_up(self) -> None:
        self._ended = True
        self._arrived.set()

    async def _up(self) -> None:
        while True:
            payload = await self._waiting.get()
            self._man.said.append(payload)
            await self._man.from_phone(len(self._man.said) - 1, payload)

    async def _down(self) -> None:
        frames = FrameReader()
        while piece := await self._stream.read():
            frames.feed(piece)
            with contextlib.suppress(FrameError):
                while (payload := frames.next()) is not None:
                    self._man.answered.append(payload)
                    await self._man.from_toy(len(self._man.answered) - 1, payload)
        self.hang_up()

    # What the phone does

    async def write(self, data: bytes) -> None:
        if self._ended:
            raise LinkLost("The link to the toy was lost.")
        self._frames.feed(data)
        while (payload := self._frames.next()) is not None:
            self._waiting.put_nowait(payload)

    async def read(self) -> bytes:
        while not self._pending and not self._ended:
            self._arrived.clear()
            await self._arrived.wait()
        return self.read_nowait()

    def read_nowait(self) -> bytes:
        data = bytes(self._pending)
        self._pending.clear()
        return data

    def write_size(self) -> int:
        return self._stream.write_size()

    async def close(self) -> None:
        self.hang_up()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stream.close()
