"""A day in fast time: three phones that come and go, a child, strangers, bad air, a small flash.

With --long the day has 500 messages, both ways together; without, it is a short one. Everything
is chosen from one seed, and time is virtual.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from pathlib import Path

import numpy as np
import pytest

from host_tests.family import MakeToy, add_phone, client, family
from host_tests.messages import FAMILY, Pcm, speech
from host_tests.virtual import FlashModel, VirtualToy
from host_tests.virtual.radio import AirModel, VirtualRadio
from hushbear_companion import errors, message, sealing
from hushbear_companion.client import Client
from hushbear_companion.records import Box, Entry
from tools.stranger import Stranger

pytestmark = [
    pytest.mark.targets("unix"),
    pytest.mark.virtual_time,
    pytest.mark.timeout(3600),  # for --long
]

MESSAGES = 500, 40  # of a long day, and a short one
SEED = 1
AIR = AirModel(interval=0.03, packets=6, loss=0.1, latency=0.01)
FLASH = FlashModel(blocks=72, erase_ms=20, program_ms=0.5)  # 48 blocks for messages: 190 kB

CODES = 150  # messages that can be told apart by ear
STEP = 200  # blocks of each
QUIETEST = 1000
STOP_MS = 150  # the sound that says that a recording is kept


def flat(number: int, seconds: float, rng: random.Random) -> bytes:
    """Return a message that can be recognised exactly when it is played: block k of message n
    is one level, QUIETEST + n * STEP + k."""
    level = QUIETEST + number % CODES * STEP
    blocks = round(seconds * message.RATE / message.BLOCK_SAMPLES)
    body = b"".join((level + k).to_bytes(2, "little") + bytes(254) for k in range(blocks))
    header = message.Header(rng.randbytes(16), b"family\0\0", 1_790_000_000, max(FAMILY))
    return sealing.seal(header, body, FAMILY[header.epoch])


def played(pcm: Pcm) -> tuple[int, int] | None:
    """Return (code, blocks) of the flat message in a sound, in order from its first; None if the
    sound is none."""
    steps = np.flatnonzero(np.diff(pcm, prepend=0, append=0))
    runs = [(int(pcm[a]), int(b - a)) for a, b in itertools.pairwise(steps)]
    runs = [(level, length) for level, length in runs if level >= QUIETEST]
    if not runs or runs[0][1] < message.BLOCK_SAMPLES:
        return None
    code, first = divmod(runs[0][0] - QUIETEST, STEP)
    levels = [level for level, _ in runs]
    assert first == 0
    assert levels == list(range(levels[0], levels[0] + len(levels)))
    assert all(length == message.BLOCK_SAMPLES for _, length in runs[:-1])
    return code, len(runs)


class Day:
    """What happened, and what everybody knows of it."""

    def __init__(self, toy: VirtualToy, radio: VirtualRadio, part: Path) -> None:
        self.toy = toy
        self.radio = radio
        self.part = part
        self.rng = random.Random(SEED)
        self.sequences: dict[bytes, int] = {}  # by message id, of both boxes
        self.numbers: dict[int, bytes] = {}  # what has a sequence number
        self.confirmed: dict[bytes, int] = {}  # id: code, of what phones have sent
        self.blocks: dict[int, int] = {}  # of the latest message with a code
        self.answers: dict[bytes, bytes] = {}  # what was fetched
        self.recorded = 0
        self.listened: list[tuple[int, bool]] = []  # code, whether to the end
        self.full = 0
        self.lost_links = 0

    async def see(self, phone: Client, box: Box) -> list[Entry]:
        """List a box: no message is there twice, none has moved."""
        entries = await phone.entries(box)
        for entry in entries:
            assert self.sequences.setdefault(entry.id, entry.sequence) == entry.sequence
            assert self.numbers.setdefault(entry.sequence, entry.id) == entry.id
        return entries


class Family:
    """One phone: what it has to send, and when it is there."""

    def __init__(self, day: Day, link: str, queue: list[tuple[int, bytes]]) -> None:
        self.day = day
        self.queue = queue
        self.device = day.radio.phone()
        self.link = link

    async def come_and_go(self, until: int = 0) -> None:
        """Visit until no more than `until` messages wait to be sent."""
        rng = self.day.rng
        while len(self.queue) > until:
            await asyncio.sleep(rng.uniform(5, 40))
            trouble = asyncio.create_task(self.trouble()) if rng.random() < 0.5 else None
            try:
                async with client(self.device, self.link) as phone:
                    await self.visit(phone)
            except (errors.LinkLost, errors.NoToyInSight, errors.NotThisToy):
                self.day.lost_links += 1
            finally:
                if trouble:
                    await trouble

    async def trouble(self) -> None:
        """The phone is carried out of range in the middle of something, or the link drops."""
        rng, radio = self.day.rng, self.day.radio
        await asyncio.sleep(rng.uniform(1, 4))
        if rng.random() < 0.5:
            radio.drop(self.device, after=rng.randrange(60))
            return
        radio.out_of_range(self.device)
        await asyncio.sleep(rng.uniform(1, 40))
        radio.in_range(self.device)

    async def visit(self, phone: Client) -> None:
        day, rng = self.day, self.day.rng
        await day.see(phone, Box.INBOX)
        for _ in range(rng.randint(1, 3)):
            if not self.queue:
                break
            number, content = self.queue[0]
            try:
                await phone.send(content)
            except (errors.ToyFull, errors.ToyBusy):
                day.full += 1
                break
            self.queue.pop(0)
            day.confirmed[content[16:32]] = number
            if rng.random() < 0.2:  # this phone never heard that it arrived: it comes again
                self.queue.insert(min(1, len(self.queue)), (number, content))
            day.blocks[number % CODES] = message.blocks_in(len(content))
        await self.fetch(phone)
        heard = [entry for entry in await day.see(phone, Box.INBOX) if entry.done]
        if heard and rng.random() < 0.2:
            with contextlib.suppress(errors.NoSuchMessage, errors.ToyBusy):
                await phone.delete(Box.INBOX, rng.choice(heard).id)

    async def fetch(self, phone: Client) -> None:
        day = self.day
        for entry in await day.see(phone, Box.OUTBOX):
            if entry.done:
                continue
            part = day.part / f"{id(self)}-{entry.id.hex()}"
            try:
                content = await phone.fetch(entry, part)
                await phone.fetched(entry.id)
            except errors.NoSuchMessage:
                continue  # another phone was here, and it has made room since
            assert len(content) == entry.size
            assert day.answers.setdefault(entry.id, content) == content

    async def clear(self, phone: Client) -> None:
        """Delete all that was heard and fetched."""
        for box in Box:
            for entry in await self.day.see(phone, box):
                if entry.done:
                    await phone.delete(box, entry.id)


class Child:
    def __init__(self, day: Day) -> None:
        self.day = day
        self.toy = day.toy

    async def play_and_answer(self, answers: int) -> None:
        """Record so many messages, and listen to what comes, for as long as any comes."""
        rng, day = self.day.rng, self.day
        goal = day.recorded + answers
        while True:
            await asyncio.sleep(rng.uniform(0.2, 8))
            what = rng.random()
            if what < 0.35 and day.recorded < goal:
                await self.record()
            elif what < 0.5:
                await self.listen(skip=True)
            else:
                if rng.random() < 0.7:
                    await asyncio.sleep(11)  # else it says "again"
                await self.listen(skip=False)

    async def record(self) -> None:
        rng, toy = self.day.rng, self.toy
        toy.press("record")
        await asyncio.sleep(0.3)
        seconds = rng.uniform(0.5, 3)
        toy.mic.speak(speech(seconds, rng.randrange(8)))
        await asyncio.sleep(seconds)
        toy.release("record")
        await asyncio.sleep(2.5)  # to make room may take a while
        sound = np.flatnonzero(toy.speaker.sounds[-1].pcm)
        ms = (sound[-1] - sound[0]) / 16 if len(sound) else 0
        self.day.recorded += abs(ms - STOP_MS) < 8

    async def listen(self, skip: bool) -> None:
        rng, toy = self.day.rng, self.toy
        first = len(toy.speaker.sounds)
        await toy.hold("play", 0.95 if skip else rng.uniform(0.06, 0.2))
        await asyncio.sleep(rng.choice((0.5, 4, 4)))
        for sound in toy.speaker.sounds[first:]:
            if found := played(sound.pcm):
                code, blocks = found
                self.day.listened.append((code, blocks == self.day.blocks.get(code)))


async def strangers(radio: VirtualRadio, rng: random.Random) -> None:
    """Somebody in the next room, every few minutes."""
    stranger = Stranger(radio.phone())
    while True:
        await asyncio.sleep(rng.uniform(60, 200))
        with contextlib.suppress(RuntimeError):  # no toy advertises: three phones are there
            async for outcome in stranger.attempts():
                assert not outcome.learned
                await asyncio.sleep(rng.uniform(5, 60))


async def half_a_day(day: Day, phones: list[Family], answers: int, until: int) -> tuple[int, int]:
    """Let them all go about it; return bytes free: (of the heap, of the flash), at rest."""
    child = asyncio.create_task(Child(day).play_and_answer(answers))
    goal = day.recorded + answers
    async with asyncio.TaskGroup() as group:
        for each in phones:
            group.create_task(each.come_and_go(until))
    parent = phones[0]
    async with client(parent.device, parent.link) as phone:
        for _ in range(200):  # until the child has heard and said all
            await asyncio.sleep(20)
            await parent.fetch(phone)
            status = await phone.status()
            if not status.unheard and not status.unfetched and day.recorded >= goal:
                break
        child.cancel()
        await asyncio.sleep(5)
        await parent.fetch(phone)
        await parent.clear(phone)
        status = await phone.status()
        assert (status.inbox, status.outbox) == (0, 0)
    await asyncio.sleep(5)
    free, _ = await day.toy.memory()
    return free, status.free


async def test_a_day(virtual_toy: MakeToy, tmp_path: Path, long: bool) -> None:
    inbound = answers = MESSAGES[not long] // 2
    async with family(virtual_toy, AIR, flash=FLASH) as (toy, radio, link):
        links = [link, await add_phone(toy), await add_phone(toy)]
        day = Day(toy, radio, tmp_path)
        queue = [(n, flat(n, day.rng.uniform(0.5, 3), day.rng)) for n in range(inbound)]
        phones = [Family(day, each, queue[n::3]) for n, each in enumerate(links)]
        async with client(phones[0].device, link) as phone:
            settings = await phone.settings()
            await phone.configure(settings.changed(volume=100, volume_max=100))
            morning = (await phone.status()).free
        next_door = asyncio.create_task(strangers(radio, random.Random(SEED)))

        noon = await half_a_day(day, phones, answers // 2, until=len(phones[0].queue) // 2)
        evening = await half_a_day(day, phones, answers - answers // 2, until=0)
        next_door.cancel()

        print(f"{toy.loop.time():.0f} s, heap free at noon {noon[0]}, in the evening {evening[0]}")
        print(
            f"{day.full} times full, {day.lost_links} visits cut short, {len(toy.causes)} starts"
        )
        # Nothing lost: all that was sent was played, all that was recorded was fetched …
        assert {code for code, _ in day.listened} == {n % CODES for n in day.confirmed.values()}
        assert len(day.confirmed) == inbound
        # (and those, too, that a full flash ended, which sound otherwise)
        assert len(day.answers) >= day.recorded >= answers
        # … nothing twice: each has one sequence number, and no number is missing.
        assert set(day.sequences) <= set(day.confirmed) | set(day.answers)
        assert max(day.numbers) == inbound + len(day.answers)
        assert noon[1] == evening[1] == morning
        assert abs(noon[0] - evening[0]) < 512
        assert len(toy.causes) == 7  # power on, and two for each key: nothing restarted it
        async with client(phones[0].device, link) as phone:
            lines = (await phone.crashlog()).splitlines()
            assert all("voice: /voice, full" in line for line in lines)  # it was given none
