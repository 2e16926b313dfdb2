"""A man in the middle, while a phone pairs and while it sends: he forwards, delays, drops,
repeats, reorders, alters, and speaks for either side to the other."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable

import pytest

from host_tests.attacks.home import NOTHING, Home, home, tell
from host_tests.attacks.middle import Between, Man
from host_tests.family import MakeToy, spoken
from hushbear import pairing_wire, wire
from hushbear_companion import errors
from hushbear_companion.client import Client
from hushbear_companion.cpace import Initiator as CPace
from hushbear_companion.link import parse_link
from hushbear_companion.records import Box
from hushbear_companion.session import Timing

pytestmark = [pytest.mark.targets("unix"), pytest.mark.virtual_time]

PHONE, TOY = "phone", "toy"
GUESS = b"271828"


class Meddler(Man):
    """Does something to one frame: number `n` of those from `whom`."""

    def __init__(self, whom: str, n: int) -> None:
        super().__init__()
        self._target = whom, n

    async def from_phone(self, n: int, payload: bytes) -> None:
        for each in await self._out(PHONE, n, payload):
            await self.link.to_toy(each)

    async def from_toy(self, n: int, payload: bytes) -> None:
        for each in await self._out(TOY, n, payload):
            self.link.to_phone(each)

    async def _out(self, whom: str, n: int, payload: bytes) -> list[bytes]:
        return await self.meddle(payload) if (whom, n) == self._target else [payload]

    async def meddle(self, payload: bytes) -> list[bytes]:
        """Return what goes on in this frame's place."""
        raise NotImplementedError


class Alter(Meddler):
    def __init__(self, whom: str, n: int, at: int) -> None:
        super().__init__(whom, n)
        self._at = at

    async def meddle(self, payload: bytes) -> list[bytes]:
        altered = bytearray(payload)
        altered[self._at] ^= 1
        return [bytes(altered)]


class Drop(Meddler):
    async def meddle(self, payload: bytes) -> list[bytes]:
        return []


class Repeat(Meddler):
    async def meddle(self, payload: bytes) -> list[bytes]:
        return [payload, payload]


class Delay(Meddler):
    def __init__(self, whom: str, n: int, seconds: float) -> None:
        super().__init__(whom, n)
        self._seconds = seconds

    async def meddle(self, payload: bytes) -> list[bytes]:
        await asyncio.sleep(self._seconds)
        return [payload]


class Reorder(Meddler):
    """Keeps the frame until the next one from the same side has gone."""

    def __init__(self, whom: str, n: int) -> None:
        super().__init__(whom, n)
        self._kept: list[bytes] = []

    async def _out(self, whom: str, n: int, payload: bytes) -> list[bytes]:
        if (whom, n) == self._target:
            self._kept = [payload]
            return []
        kept, self._kept = self._kept if whom == self._target[0] else [], []
        return [payload, *kept]


class BothSides(Man):
    """Speaks CPace with each of the two himself, with a code that he guesses: his own shares."""

    async def from_phone(self, n: int, payload: bytes) -> None:
        if n > 0:
            await self.link.to_toy(payload)
            return
        _, sid, _ = struct.unpack(pairing_wire.HELLO, payload)
        mine = CPace(GUESS, pairing_wire.CI, sid, pairing_wire.AD_PHONE).share
        await self.link.to_toy(struct.pack(pairing_wire.HELLO, pairing_wire.VERSION, sid, mine))
        self._share = CPace(GUESS, pairing_wire.CI, sid, pairing_wire.AD_PHONE).share

    async def from_toy(self, n: int, payload: bytes) -> None:
        if n == 0:
            payload = payload[:1] + self._share
        self.link.to_phone(payload)


class Reflect(Man):
    """Gives the phone its own share for an answer."""

    async def from_toy(self, n: int, payload: bytes) -> None:
        if n == 0:
            payload = payload[:1] + self.said[0][-32:]
        self.link.to_phone(payload)


class Listener(Man):
    """Forwards as far as he needs the toy's answer, and keeps the proof: message 1."""

    async def from_phone(self, n: int, payload: bytes) -> None:
        if n == 0:
            await self.link.to_toy(payload)


WRONG, LOST, UNSURE = errors.WrongCode, errors.LinkLost, errors.PairingUnsure
UNANSWERED = (errors.WindowClosed, errors.LinkLost)
Told = type[errors.HushbearError] | tuple[type[errors.HushbearError], ...]
QUICK = Timing(scan=3, handshake=4, pairing=6, response=4)


async def meddled(here: Home, cases: list[tuple[Callable[[], Man], Told]]) -> bytes:
    """Let the parent pair past each of these men; return what they heard."""
    heard = b""
    code = await here.open_window()
    left = pairing_wire.ATTEMPTS
    for man, told in cases:
        if left == 0:
            await here.window_closes()
            code, left = await here.open_window(), pairing_wire.ATTEMPTS
        between = Between(here.air(), man)
        before = here.known()
        with pytest.raises(told):
            await here.pair(between, code, QUICK)
        heard += between.heard
        left -= any(each.answered for each in between.men)
        assert here.known() == before
    return heard


async def test_what_is_altered_while_pairing_pairs_nobody(virtual_toy: MakeToy) -> None:
    """A bit of each field of each frame. The phone says that the code was not taken, that no
    attempt was, or that the link was lost, and the toy knows the phones that it knew."""
    cases: list[tuple[Callable[[], Man], Told]] = [
        (lambda: Alter(PHONE, 0, 0), UNANSWERED),  # the version
        (lambda: Alter(PHONE, 0, 1), WRONG),  # the session id
        (lambda: Alter(PHONE, 0, 48), WRONG),  # the share
        (lambda: Alter(TOY, 0, 0), (WRONG, errors.ToyMisbehaves)),  # the attempts
        (lambda: Alter(TOY, 0, 1), WRONG),  # the share
        (lambda: Alter(PHONE, 1, 0), WRONG),  # message 1
        (lambda: Alter(TOY, 1, 40), WRONG),  # message 2
        (lambda: Alter(PHONE, 2, 5), LOST),  # PAIR
        (lambda: Alter(TOY, 2, 5), LOST),
    ]
    async with home(virtual_toy) as here:
        heard = await meddled(here, cases)
        tell("who altered", here.learned(heard))
        assert here.learned(heard) == NOTHING
        await here.is_well()


async def test_what_is_dropped_or_repeated_while_pairing_pairs_nobody_else(
    virtual_toy: MakeToy,
) -> None:
    cases: list[tuple[Callable[[], Man], Told]] = [
        (lambda: Drop(PHONE, 0), errors.HushbearError),
        (lambda: Drop(TOY, 0), errors.HushbearError),
        (Listener, (WRONG, LOST)),
        (lambda: Drop(PHONE, 2), LOST),
        (lambda: Repeat(PHONE, 1), (WRONG, LOST)),
        (lambda: Repeat(PHONE, 2), LOST),
        (lambda: Repeat(TOY, 1), LOST),
    ]
    async with home(virtual_toy) as here:
        heard = await meddled(here, cases)
        tell("who dropped and repeated", here.learned(heard))
        assert here.learned(heard) == NOTHING
        await here.is_well()


async def test_who_speaks_for_both_sides_has_the_key_of_neither(virtual_toy: MakeToy) -> None:
    """His own shares to each, with a guessed code, or the phone's own back to it: an attempt is
    spent, the parent is told that the code was not taken and how many attempts are left."""
    cases: list[tuple[Callable[[], Man], Told]] = [(BothSides, WRONG), (Reflect, WRONG)]
    async with home(virtual_toy) as here:
        heard = await meddled(here, cases)
        tell("who spoke for both sides", here.learned(heard))
        assert here.learned(heard) == NOTHING
        await here.is_well()


async def test_who_forwards_late_hears_a_pairing_and_none_of_its_keys(
    virtual_toy: MakeToy,
) -> None:
    """Slow but faithful, he cannot hinder it; at the last answer he can only leave a doubt."""
    async with home(virtual_toy) as here:
        code = await here.open_window()
        between = Between(here.air(), lambda: Delay(TOY, 0, 2))
        membership = await here.pair(between, code)
        assert membership.key in here.known()
        await here.window_closes()
        code = await here.open_window()
        doubtful = Between(here.air(), lambda: Drop(TOY, 3))
        with pytest.raises(UNSURE):
            await here.pair(doubtful, code, QUICK)
        assert len(between.men[0].said) == 4
        heard = between.heard + doubtful.heard
        tell("who forwarded", here.learned(heard))
        assert here.learned(heard + code.encode()).secrets == ("code 2",), "by ear he would"
        assert here.learned(heard) == NOTHING
        await here.is_well()


async def test_what_is_done_to_a_session_ends_it_and_the_message_arrives_once(
    virtual_toy: MakeToy,
) -> None:
    """Each connection but the last has something done to it; the parent is told each time."""
    men: list[Callable[[], Man]] = [
        lambda: Alter(PHONE, 5, 20),
        lambda: Drop(PHONE, 5),
        lambda: Repeat(PHONE, 5),
        lambda: Reorder(PHONE, 5),
        lambda: Alter(TOY, 3, 10),
        lambda: Repeat(TOY, 3),
        lambda: Delay(PHONE, 4, 60),
    ]
    told: list[str] = []
    async with home(virtual_toy) as here:
        waiting = list(men)
        between = Between(here.air(), lambda: (waiting.pop(0) if waiting else Man)())
        key = parse_link(here.link).key
        timing = Timing(retries=12, response=5, stall=5)
        phone = Client(key, between, timing=timing, waiting=told.append)
        content = spoken(1.5, 5)
        here.keep_secret("the message", content)
        await phone.connect()
        await phone.send(content)
        entries = await phone.entries(Box.INBOX)
        await phone.close()
        assert [entry.id for entry in entries] == [content[16:32]]
        assert entries[0].size == len(content)
        assert waiting == [] and len(told) >= len(men) - 1
        tell("who stood between", here.learned(between.heard))
        assert here.learned(between.heard) == NOTHING
        assert len(between.heard) > len(men) * wire.HANDSHAKE_SIZE
        assert len({man.said[0] for man in between.men}) == len(between.men)  # none tells who
        await here.is_well()
