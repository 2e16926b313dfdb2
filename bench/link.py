"""How fast a message crosses the air, and what the protocol adds to it.

Virtual time: the air, the flash and the toy's waiting take theirs, its computing takes none. What
that costs is in the figures of cryptography.
"""

from __future__ import annotations

import asyncio
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from host_tests.family import family, spoken
from host_tests.messages import speech
from host_tests.targets.unix import Unix
from host_tests.virtual.fixtures import run_virtual
from host_tests.virtual.radio import AirModel, Phone
from hushbear_companion.client import Client
from hushbear_companion.link import parse_link
from hushbear_companion.records import Box
from hushbear_companion.session import Stream
from hushbear_companion.transport import Radio, Sighting

from .figures import Figure, Row
from .heap import WHERE, made

SECONDS = 40
MTU = 247  # a value of 244 bytes, which fills a packet


@dataclasses.dataclass(frozen=True)
class Condition:
    name: str
    target: float
    interval: float = 0.015
    loss: float = 0.0
    mtu: int = MTU


CONDITIONS = (
    Condition("15 ms × 6 packets of 244 B", 90),
    Condition("15 ms, 5 % loss", 75, loss=0.05),
    Condition("30 ms", 90, interval=0.03),
    Condition("MTU 185", 90, mtu=185),
    Condition("MTU 23", 90, mtu=23),
)
_HOW = (
    f"a message of {SECONDS} s from request to confirmation in an open session, as a share of"
    " AirModel.throughput"
)
TO_TOY = {
    each: Figure(f"to the toy: {each.name}", "% of the air", _HOW, ("≥", each.target))
    for each in CONDITIONS
}
TO_PHONE = {
    each: Figure(f"to the phone: {each.name}", "% of the air", _HOW, ("≥", each.target))
    for each in CONDITIONS
}
_BYTES = "bytes of characteristic values, both ways, beyond those of the message"
ADDED_TO_TOY = Figure("protocol overhead, to the toy", "%", _BYTES, ("≤", 6))
ADDED_TO_PHONE = Figure("protocol overhead, to the phone", "%", _BYTES, ("≤", 6))
FIGURES = [*TO_TOY.values(), *TO_PHONE.values(), ADDED_TO_TOY, ADDED_TO_PHONE]


def measure() -> Iterator[Row]:
    if reason := Unix.missing():
        yield from (figure.missing(WHERE, reason) for figure in FIGURES)
    else:
        yield from run_virtual(_transfers())


class _Counted:
    """A stream that counts what goes through it."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.bytes = 0

    async def write(self, data: bytes) -> None:
        self.bytes += len(data)
        await self._stream.write(data)

    async def read(self) -> bytes:
        return self._count(await self._stream.read())

    def read_nowait(self) -> bytes:
        return self._count(self._stream.read_nowait())

    def write_size(self) -> int:
        return self._stream.write_size()

    async def close(self) -> None:
        await self._stream.close()

    def _count(self, data: bytes) -> bytes:
        self.bytes += len(data)
        return data


class _CountingRadio(Radio):
    def __init__(self, phone: Phone) -> None:
        super().__init__(scanner=phone.scanner, client=phone.client)
        self.streams: list[_Counted] = []

    async def open(self, sighting: Sighting, seconds: float) -> Stream:
        self.streams.append(_Counted(await super().open(sighting, seconds)))
        return self.streams[-1]

    @property
    def bytes(self) -> int:
        return sum(stream.bytes for stream in self.streams)


async def _transfers() -> list[Row]:
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as directory:
        async with made() as make, family(make) as (toy, radio, link):
            await asyncio.sleep(2)
            toy.mic.speak(speech(SECONDS + 1))
            await toy.hold("record", SECONDS + 0.4)  # the beep takes some of it
            await asyncio.sleep(2)
            key = parse_link(link).key
            for each in CONDITIONS:
                radio.model.interval, radio.model.loss = each.interval, each.loss
                air = _CountingRadio(radio.phone(mtu=each.mtu))
                content = spoken(SECONDS)
                async with Client(key, air) as phone:
                    taken = await _timed(air, phone.send(content))
                    rows += _rows(TO_TOY, ADDED_TO_TOY, each, radio.model, len(content), *taken)
                    (entry,) = await phone.entries(Box.OUTBOX)
                    part = Path(directory) / each.name.replace(" ", "-")
                    taken = await _timed(air, phone.fetch(entry, part))
                    rows += _rows(TO_PHONE, ADDED_TO_PHONE, each, radio.model, entry.size, *taken)
                    await phone.delete(Box.INBOX, content[16:32])
    return rows


async def _timed(air: _CountingRadio, transfer: Any) -> tuple[float, int]:
    """Return the seconds and the bytes that `transfer` takes."""
    loop = asyncio.get_running_loop()
    began, before = loop.time(), air.bytes
    await transfer
    return loop.time() - began, air.bytes - before


def _rows(
    share: dict[Condition, Figure],
    added: Figure,
    condition: Condition,
    model: AirModel,
    size: int,
    seconds: float,
    carried: int,
) -> Iterator[Row]:
    possible = model.throughput(condition.mtu)
    told = f"{seconds:.2f} s, {size / seconds / 1000:.1f} of {possible / 1000:.1f} kB/s"
    yield share[condition].on(WHERE, 100 * size / seconds / possible, told)
    if condition is CONDITIONS[0]:
        yield added.on(WHERE, 100 * (carried / size - 1), f"{carried} bytes for {size}")
