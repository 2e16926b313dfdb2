"""The power fails while a child or a phone does something with the whole toy.

Each scenario starts from the same flash: a message heard and one that waits, an answer fetched and
one that waits. The power fails in one operation on the flash after the other; then the toy starts
again, what was confirmed is whole, and what was not is done again and has happened once.
test_store_power.py does the same to the store alone, at more points of each operation.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import itertools
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import pytest

from host_tests.family import MakeToy, add_phone, client, family, spoken
from host_tests.key_set import KeySet, newest
from host_tests.virtual import FlashModel, ToyError, VirtualToy
from host_tests.virtual.radio import VirtualRadio
from hushbear_companion.client import Client
from hushbear_companion.errors import HushbearError, NoSuchMessage
from hushbear_companion.records import Box

pytestmark = [
    pytest.mark.targets("unix"),
    pytest.mark.virtual_time,
    pytest.mark.timeout(3600),  # for --long
]

HEARD, UNHEARD, NEW = (spoken(0.7, seed) for seed in (1, 2, 3))
PERMILLES = (0, 370, 1000)  # how much is done of the operation that the power goes in
CUTS = 14  # of a scenario with more operations, unless --long: the last ones, which confirm, and
LAST = 10  # some of the others

LOOK = """
from hashlib import sha256
import os
from hushbear.settings import Settings
from hushbear.store import Store
from hushbear.wire import INBOX, OUTBOX

problems = [name for name in os.listdir("/msg/part") if name == "recording"]
store = Store(log=problems.append)
store.boot()
boxes = []
buf = bytearray(256)
for box in (INBOX, OUTBOX):
    boxes.append([])
    for entry in store.entries(box):
        digest = sha256()
        with store.open(box, entry.id) as file:
            assert file.size == entry.size
            while n := file.readinto(buf):
                digest.update(memoryview(buf)[:n])
        boxes[-1].append((bytes(entry.id), digest.digest(), entry.done))
problems += [name for name in os.listdir("/") if name.startswith("crash")]
volume = Settings(log=problems.append).volume
print("found", (boxes[0], boxes[1], volume, problems, os.statvfs("/")[3]))
"""

Message = tuple[bytes, bytes, int]  # id, SHA-256 of what is on flash, done


@dataclass(frozen=True)
class Seen:
    """What is on the flash."""

    inbox: list[Message]
    outbox: list[Message]
    volume: int
    problems: list[str]  # what the store and the settings complained of, and crash logs
    free: int  # blocks

    def counted(self, known: list[Message]) -> Seen:
        """Return the same with recordings whose ids nobody knew before as a number of Nones."""
        ids = {each[0] for each in known}
        outbox = [each if each[0] in ids else (b"", b"", each[2]) for each in self.outbox]
        return replace(self, outbox=outbox, free=0)


class Home:
    """A toy whose flash can be put back to what it was, and a phone."""

    def __init__(self, toy: VirtualToy, radio: VirtualRadio, link: str) -> None:
        self.toy = toy
        self._link = link
        self._device = radio.phone()
        self._image = b""

    def phone(self) -> Client:
        return client(self._device, self._link, retries=0, scan=2, response=3)

    async def live(self) -> Seen:
        """Let happen what every scenario begins with; return what is there then."""
        toy = self.toy
        async with self.phone() as phone:
            await phone.send(HEARD)
            await toy.hold("play", 0.1)
            await asyncio.sleep(2)
            await phone.send(UNHEARD)
            await toy.hold("record", 1)
            await asyncio.sleep(1)
            (answer,) = await phone.entries(Box.OUTBOX)
            await phone.fetched(answer.id)
            await toy.hold("record", 1)
            await asyncio.sleep(1)
        seen = await self.look()
        self._image = toy.flash.image()
        return seen

    async def start_again(self, cut_after: int | None = None, permille: int = 500) -> None:
        """Put the flash back to what it was and switch the toy on."""
        self.toy.power_cut()
        self.toy.flash.path.write_bytes(self._image)
        self.toy.flash.model = FlashModel(cut_after=cut_after, cut_permille=permille)
        await self.start()

    async def start(self) -> None:
        await self.toy.restart()
        await asyncio.sleep(0.5)
        assert self.toy.running and self.toy.stopped is None

    async def look(self) -> Seen:
        self.toy.power_cut()
        output = await self.toy.exec_repl(LOOK)
        found = next(line for line in output.splitlines() if line.startswith("found "))
        return Seen(*ast.literal_eval(found.removeprefix("found ")))


Act = Callable[[Home], Awaitable[None]]


async def receive(home: Home) -> None:
    async with home.phone() as phone:
        await phone.send(NEW)


async def record(home: Home) -> None:
    await home.toy.hold("record", 0.9)
    await asyncio.sleep(0.5)


async def hear(home: Home) -> None:
    await home.toy.hold("play", 0.1)
    await asyncio.sleep(1.5)


async def delete_heard(home: Home) -> None:
    async with home.phone() as phone:
        await phone.delete(Box.INBOX, HEARD[16:32])


async def delete_answers(home: Home) -> None:
    async with home.phone() as phone:
        for entry in await phone.entries(Box.OUTBOX):
            if not entry.done:
                await phone.delete(Box.OUTBOX, entry.id)


async def take_answers(home: Home) -> None:
    async with home.phone() as phone:
        for entry in await phone.entries(Box.OUTBOX):
            await phone.fetched(entry.id)


async def set_the_volume(home: Home) -> None:
    async with home.phone() as phone:
        await phone.configure((await phone.settings()).changed(volume=33))


def cuts(operations: int, long: bool) -> list[tuple[int, int]]:
    """Return in which operations to cut, and after how many permille of it: each operation if
    there are few, else some that a seed chooses; with `long` each at each share."""
    if long:
        return [(cut, permille) for cut in range(operations) for permille in PERMILLES]
    chosen = list(range(operations))
    if operations > CUTS:
        early = random.Random(operations).sample(range(operations - LAST), CUTS - LAST)
        chosen = sorted(early) + list(range(operations - LAST, operations))
    return [(cut, PERMILLES[n % len(PERMILLES)]) for n, cut in enumerate(chosen)]


@pytest.mark.parametrize(
    "act",
    [receive, record, hear, delete_heard, delete_answers, take_answers, set_the_volume],
    ids=lambda act: act.__name__,
)
async def test_a_power_cut_at_any_operation(virtual_toy: MakeToy, act: Act, long: bool) -> None:
    async with family(virtual_toy) as (toy, radio, link):
        home = Home(toy, radio, link)
        before = await home.live()
        known = before.outbox
        await home.start_again()
        await act(home)
        operations = await toy.flash.counts()
        after = await home.look()
        assert after.counted(known) != before.counted(known)

        for cut, permille in cuts(operations.programs + operations.erases, long):
            await home.start_again(cut, permille)
            with contextlib.suppress(HushbearError):
                await act(home)
            assert toy.off.is_set(), f"operation {cut} was never reached"
            await home.start()
            found = (await home.look()).counted(known)
            assert found in (before.counted(known), after.counted(known)), cut
            await home.start()
            if act is not record or found != after.counted(known):
                with contextlib.suppress(NoSuchMessage):
                    await act(home)
            now = await home.look()
            assert now.counted(known) == after.counted(known), cut
            # A directory may have grown: two blocks.
            assert abs(now.free - after.free) <= 2, cut


ADD = "from hushbear import setup; setup.add_phone()"
REMOVE = """\
from hushbear.family import Family
from hushbear.keys import Keys
keys = Keys()
Family(keys).remove(keys.psks()[0][0])
"""


def keys_of(toy: VirtualToy) -> KeySet:
    prefix = "hushbear/1/"
    stored = toy.nvs.stored().items()
    return newest({k.removeprefix(prefix): v for k, v in stored if k.startswith(prefix)})


@pytest.mark.parametrize("written", [False, True], ids=["nothing written", "all written"])
@pytest.mark.parametrize(("source", "change"), [(ADD, 1), (REMOVE, -1)], ids=["add", "remove"])
async def test_a_power_cut_at_any_change_of_the_keys(
    virtual_toy: MakeToy, source: str, change: int, written: bool
) -> None:
    async with family(virtual_toy) as (toy, radio, _):
        for _ in range(3):
            link = await add_phone(toy)
        image = toy.nvs.path.read_bytes()
        start = keys_of(toy)
        seen = set()
        for cut in itertools.count():
            toy.power_cut()
            toy.nvs.path.write_bytes(image)
            toy.nvs.power_off()
            toy.nvs.cut_after, toy.nvs.cut_written = cut, written
            try:
                await toy.exec_repl(source, timeout=5)
            except ToyError:
                pass
            else:
                break  # it changes no more than this
            assert toy.off.is_set()
            now = keys_of(toy)
            assert len(now.psks) - len(start.psks) in (0, change)
            assert len(now.psks.items() & start.psks.items()) >= len(start.psks) - (change < 0)
            assert start.epochs.items() <= now.epochs.items()
            seen.add(len(now.psks))
            if now == start:
                await toy.exec_repl(source)
                assert len(keys_of(toy).psks) == len(start.psks) + change
        assert cut > 1 and (len(start.psks) + change in seen or not written)
        toy.nvs.cut_after = None
        await toy.restart()
        async with client(radio.phone(), link) as phone:  # nobody else's key was touched
            assert await phone.crashlog() == ""
