"""A toy gone bad, in bulk, and what the phone that has its key is like afterwards.

It answers as companion_toy does, but mutates what it says: frames, and records inside the seal. It
says things that nobody asked for, keeps silent, and hangs up. The same seed gives the same frames,
but for the keys of the sessions.
"""

from __future__ import annotations

import asyncio
import random
import re
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

from host_tests.companion_toy import FAMILY, QUICK, Air, Link, Toy
from hushbear import container, wire
from hushbear_companion import family, message, recordings, sealing
from hushbear_companion.client import Client
from hushbear_companion.errors import HushbearError
from hushbear_companion.records import Box

KEY = bytes(range(32))
LONGEST = 600.0  # seconds that one command may take, all attempts together
_SIZES = (47, 48, 319, 320, 321, *(container.SIZE_MAX + n for n in (-1, 0, 1)))
_EDGES = (0, 1, 512, 1440, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, *_SIZES)
_KINDS = (*range(0x80, 0x93), wire.DATA, wire.GRANT, wire.END, 0x43, 0x00, 0x01, 0xFF)
_FILES = {
    "in": re.compile(r"(\d+-\d\d-\d\d_[\d-]{8}|undated)_[0-9a-f]{8,32}\.wav"),
    "sealed": re.compile(r"\.[0-9a-f]{32}\.part|[0-9a-f]{32}\.message"),
}


def mutated(rng: random.Random, data: bytes) -> bytes:
    """Return `data` with one thing wrong."""
    out = bytearray(data)
    at = rng.randrange(len(out) or 1)
    how = rng.randrange(7)
    if how == 0 and out:
        out[at] ^= 1 << rng.randrange(8)
    elif how == 1:
        del out[at:]
    elif how == 2:
        out += rng.randbytes(rng.choice((1, 2, 16, 100, 600)))
    elif how == 3:
        out[at : at + 4] = struct.pack("<I", rng.choice(_EDGES))
    elif how == 4 and out:
        out[0] = rng.randrange(256)
    elif how == 5 and len(out) > 2:
        out[2] = rng.randrange(10)  # a status
    else:
        out[:] = rng.randbytes(rng.choice((0, 1, 2, 18, 48, 300, 700)))
    return bytes(out)


class HostileAir(Air):
    """Air on which every toy is a villain."""

    def __init__(self, toy: Toy, rng: random.Random) -> None:
        super().__init__(toy, link=lambda toy, _: HostileLink(toy, self))
        self.rng = rng
        self.said = [0, 0]  # frames before and after the handshake


class HostileLink(Link):
    air: HostileAir

    async def handle(self, kind: int, tag: int, body: bytes) -> None:
        try:
            await super().handle(kind, tag, body)
        except KeyError:  # of a message that another link of this toy has finished
            raise ConnectionError from None

    async def send(self, kind: int, tag: int, body: bytes) -> None:
        rng = self.air.rng
        while rng.random() < 0.1:
            extra = bytes([rng.choice(_KINDS), rng.choice((tag, rng.randrange(256)))])
            await self.say(extra + rng.randbytes(rng.choice((0, 1, 4, 5, 40, 516))))
        plain = bytes([kind, tag]) + body
        if rng.random() < 0.2:
            plain = mutated(rng, plain)
        if rng.random() < 0.98:
            await self.say(plain)

    async def say(self, plain: bytes) -> None:
        await self.put(bytes(self.noise.encrypt(plain)), sealed=True)

    async def put(self, payload: bytes, sealed: bool = False) -> None:
        rng = self.air.rng
        stream = struct.pack(wire.FRAME_HEAD, len(payload)) + payload
        if rng.random() < 0.02:
            stream = mutated(rng, stream)
        if rng.random() < 0.005:
            raise ConnectionError
        self.air.said[sealed] += 1
        cut = rng.randrange(len(stream) + 1)
        for piece in (stream[:cut], stream[cut:]):
            self.phone.arrived(piece)
            if rng.random() < 0.1:
                await asyncio.sleep(0.01)


def _odd_message(rng: random.Random) -> bytes:
    header = message.Header(rng.randbytes(16), rng.randbytes(8), rng.choice(_EDGES), 2)
    return sealing.seal(header, rng.randbytes(256 * rng.choice((1, 2, 9, 60))), FAMILY[2])


async def attack(seed: int, frames: int, directory: Path) -> tuple[list[int], Counter[str]]:
    """Use a hostile toy until it has said so many frames; files go into folders of `directory`.

    Returns (frames before and after the handshake, how the commands ended). Whatever is not right
    raises.
    """
    rng = random.Random(seed)
    ends: Counter[str] = Counter()
    said = [0, 0]
    for name in _FILES:
        (directory / name).mkdir()
    while sum(said) < frames:
        toy = Toy(KEY)
        toy.crashlog = rng.randbytes(rng.choice((0, 10, 2000)))
        for _ in range(rng.randrange(4)):
            toy.record(_odd_message(rng))
        air = HostileAir(toy, rng)
        operation = rng.choice(_OPERATIONS)
        began = asyncio.get_running_loop().time()
        try:
            async with Client(KEY, air, timing=QUICK) as phone:
                await operation(phone, rng, directory)
            ends["done"] += 1
        except HushbearError as error:
            assert str(error).isprintable()
            ends[type(error).__name__] += 1
        assert asyncio.get_running_loop().time() - began < LONGEST
        await asyncio.gather(*air.tasks)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        said = [before + now for before, now in zip(said, air.said, strict=True)]
        _inspect(directory)
    return said, ends


def _inspect(directory: Path) -> None:
    """See that only what belongs there is there; remove it."""
    assert {path.name for path in directory.iterdir()} == set(_FILES)
    for name, files in _FILES.items():
        for path in (directory / name).iterdir():
            assert files.fullmatch(path.name)
            assert path.stat().st_size <= message.SIZE_MAX + 64
            path.unlink()


_Operation = Callable[[Client, random.Random, Path], Awaitable[object]]


async def _fetch(phone: Client, rng: random.Random, directory: Path) -> None:
    for entry in await phone.entries(Box.OUTBOX):
        await recordings.fetch_into(phone, entry, directory / "in", directory / "sealed")


async def _configure(phone: Client, rng: random.Random, directory: Path) -> None:
    await phone.configure((await phone.settings()).changed(volume=rng.randrange(101)))


async def _phones(phone: Client, rng: random.Random, directory: Path) -> None:
    for each in await phone.phones():
        assert each.name.isprintable() and 0 <= each.slot < family.SLOTS
        await phone.rename(each.slot, "x")
    await phone.revoke(3)


_OPERATIONS: tuple[_Operation, ...] = (
    _fetch,
    _fetch,
    _configure,
    _phones,
    lambda phone, rng, _: phone.send(_odd_message(rng)),
    lambda phone, rng, _: phone.send(_odd_message(rng)),
    lambda phone, rng, _: phone.status(),
    lambda phone, rng, _: phone.crashlog(),
    lambda phone, rng, _: phone.name_size(),
    lambda phone, rng, _: phone.give_name(rng.randbytes(256 * rng.randrange(9))),
    lambda phone, rng, _: phone.clear_crashlog(),
    lambda phone, rng, _: phone.entries(Box.INBOX),
    lambda phone, rng, _: phone.delete(Box.OUTBOX, rng.randbytes(16)),
    lambda phone, rng, _: phone.fetched(rng.randbytes(16)),
)
