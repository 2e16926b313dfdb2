"""Pairing by voice from the phone's side, on a toy in memory: the code, attempts, lost links."""

from __future__ import annotations

import os
import struct
from typing import Any

import pytest

from host_tests.companion_toy import FAMILY, QUICK, Refused
from host_tests.pairing_toy import CODE, OpenToy, PairingAir, PairingLink
from hushbear import family_wire, pairing_wire, wire
from hushbear_companion import errors, pairing
from hushbear_companion.client import Client
from hushbear_companion.pairing import Membership

KEY = bytes(range(32))


async def pair(
    air: PairingAir, code: bytes = CODE, kept: list[Membership] | None = None
) -> Membership:
    keep = (kept if kept is not None else []).append
    sighting = pairing.choose(await pairing.open_windows(air, QUICK))
    return await pairing.pair(air, sighting, code, "Papa", keep, QUICK)


async def test_who_knows_the_code_is_in_the_family() -> None:
    toy = OpenToy(KEY)
    kept: list[Membership] = []
    membership = await pair(PairingAir(toy), kept=kept)
    assert kept == [membership] and membership.family == FAMILY
    assert toy.paired == (membership.key, membership.sender, b"Papa" + bytes(28))
    async with Client(membership.key, PairingAir(toy), timing=QUICK) as phone:
        assert phone.sender == membership.sender


async def test_each_wrong_code_is_counted_and_none_brings_a_key() -> None:
    toy = OpenToy(KEY)
    air = PairingAir(toy)
    for left in (2, 1, 0):
        kept: list[Membership] = []
        with pytest.raises(errors.WrongCode) as caught:
            await pair(air, b"493026", kept)
        assert (caught.value.left, toy.attempts, kept) == (left, left, [])
    assert "new code" in str(caught.value)
    with pytest.raises(errors.NoOpenWindow):
        await pair(air)
    assert toy.paired is None


async def test_the_toy_does_not_know_the_phone_before_its_key_is_kept() -> None:
    toy = OpenToy(KEY)

    def full(_: Membership) -> None:
        assert toy.paired is None
        raise errors.FileProblem("The disk is full.")

    air = PairingAir(toy)
    sighting = pairing.choose(await pairing.open_windows(air, QUICK))
    with pytest.raises(errors.FileProblem):
        await pairing.pair(air, sighting, CODE, "Papa", full, QUICK)
    assert toy.paired is None and toy.key == KEY


@pytest.mark.parametrize("frame", range(1, 9))
async def test_wherever_the_link_is_lost_the_phone_says_what_that_means(frame: int) -> None:
    """1 and 2 are the greeting and its answer, 3 and 4 the handshake, 5 to 8 PAIR and PAIRED."""
    toy = OpenToy(KEY)
    air = PairingAir(toy)
    air.lost = {frame}
    kept: list[Membership] = []
    with pytest.raises(errors.HushbearError) as caught:
        await pair(air, kept=kept)
    error = caught.value
    # The toy's own opinion: it has counted from its answer on, and knows the phone after PAIRED.
    assert toy.attempts == (3 if frame == 1 else 2)
    assert (toy.paired is not None) == (frame == 8)
    assert len(kept) == (frame > 6)
    if frame in (1, 2):
        assert type(error) is errors.LinkLost and "before it answered" in error.message
    elif frame in (3, 4):  # looks no different from a wrong code
        assert isinstance(error, errors.WrongCode) and error.left == 2
    elif frame in (5, 6):
        assert type(error) is errors.LinkLost and "spent: 2 attempts left" in error.message
    else:
        assert isinstance(error, errors.PairingUnsure)
    assert bool(kept) == isinstance(error, errors.PairingUnsure)


async def test_a_window_that_closes_meanwhile() -> None:
    toy = OpenToy(KEY)
    air = PairingAir(toy)
    sighting = pairing.choose(await pairing.open_windows(air, QUICK))
    toy.attempts = 0
    with pytest.raises(errors.WindowClosed):
        await pairing.pair(air, sighting, CODE, "Papa", lambda _: None, QUICK)


async def test_a_connection_that_does_not_come_up_is_tried_again_and_costs_no_attempt() -> None:
    toy = OpenToy(KEY)
    air = PairingAir(toy)
    air.failing_connects = 2
    await pair(air)
    assert toy.paired and toy.attempts == 2
    air = PairingAir(OpenToy(KEY))
    air.failing_connects = 3
    with pytest.raises(errors.LinkLost):
        await pair(air)


async def test_a_window_that_closes_while_connecting_is_said_to_have_closed() -> None:
    """To somebody who stands next to the toy, "go nearer" would be no advice."""
    toy = OpenToy(KEY)
    air = PairingAir(toy)
    air.failing_connects = 1
    sighting = pairing.choose(await pairing.open_windows(air, QUICK))
    toy.attempts = 0
    with pytest.raises(errors.WindowClosed, match="has closed"):
        await pairing.pair(air, sighting, CODE, "Papa", lambda _: None, QUICK)


async def test_several_open_windows_need_a_choice() -> None:
    toys = OpenToy(KEY), OpenToy(KEY, None), OpenToy(KEY)
    windows = await pairing.open_windows(PairingAir(*toys), QUICK)
    assert [window.address for window in windows] == ["0", "2"]
    with pytest.raises(errors.SeveralWindows, match="2 toys"):
        pairing.choose(windows)
    assert pairing.choose(windows, nearest=True).address == "0"


async def test_a_toy_with_no_place_left() -> None:
    toy = OpenToy(KEY)
    toy.phones = {slot: (os.urandom(8), 0, b"") for slot in range(family_wire.SLOTS)}
    kept: list[Membership] = []
    with pytest.raises(errors.PhonesFull):
        await pair(PairingAir(toy), kept=kept)
    assert not kept


async def test_a_toy_that_cannot_write_does_not_leave_the_phone_in_doubt() -> None:
    class Failing(OpenToy):
        def remember(self) -> None:
            raise Refused(wire.FAILED)

    with pytest.raises(errors.ToyFailed, match="remember this phone"):
        await pair(PairingAir(Failing(KEY)))


@pytest.mark.parametrize(
    "text", ["493027", " 493 027\n", "493-027", "4 9 3 0 2 7", "49\u00a03027"]
)
def test_a_code_is_read_as_people_write_it(text: str) -> None:
    assert pairing.check_code(text) == CODE


@pytest.mark.parametrize("text", ["", "49302", "4930277", "49302a", "49302²", "४९३०२७", "493.027"])
def test_what_is_no_code_is_refused_here(text: str) -> None:
    with pytest.raises(errors.BadCode, match="6 digits"):
        pairing.check_code(text)


# Something that says that it is the toy

LOW_ORDER = (bytes(32), b"\1" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f")
EPOCH = struct.pack(family_wire.EPOCH, 1, b"k" * 32)
GIVEN = b"p" * 32 + b"12345678"


@pytest.mark.parametrize(
    "answer",
    [
        *(b"\2" + point for point in LOW_ORDER),
        b"\3" + b"\t" + bytes(31),
        b"\xff" + b"\t" + bytes(31),
        b"\2" + bytes(31),
        b"x",
        bytes(300),
    ],
)
async def test_answers_that_cannot_be_are_refused(answer: bytes) -> None:
    class Impostor(PairingLink):
        def answer(self, code: bytes, sid: bytes, ya: bytes) -> bytes:
            return answer

    kept: list[Membership] = []
    with pytest.raises(errors.ToyMisbehaves):
        await pair(PairingAir(OpenToy(KEY), link=Impostor), kept=kept)
    assert not kept


async def test_who_does_not_know_the_code_is_not_taken_for_the_toy() -> None:
    class Guesser(PairingLink):
        def answer(self, code: bytes, sid: bytes, ya: bytes) -> bytes:
            return super().answer(b"000000", sid, ya)

        async def frame(self) -> bytes:
            payload = await super().frame()
            if len(payload) == wire.HANDSHAKE_SIZE:
                await self.put(os.urandom(wire.HANDSHAKE_SIZE))  # message 1 does not open
            return payload

    kept: list[Membership] = []
    with pytest.raises(errors.WrongCode):
        await pair(PairingAir(OpenToy(KEY), link=Guesser), kept=kept)
    assert not kept


async def test_the_number_of_attempts_cannot_be_altered_on_the_way() -> None:
    class Altered(PairingLink):
        async def put(self, payload: bytes) -> None:
            if len(payload) == pairing_wire.ANSWER_SIZE:
                payload = b"\1" + payload[1:]
            await super().put(payload)

    with pytest.raises(errors.WrongCode):
        await pair(PairingAir(OpenToy(KEY), link=Altered))


@pytest.mark.parametrize(
    "given",
    [
        b"",
        GIVEN[:-1],
        GIVEN,
        GIVEN + EPOCH[:-1],
        bytes(32) + b"12345678" + EPOCH,
        b"p" * 32 + bytes(8) + EPOCH,
        GIVEN + EPOCH + EPOCH,
        GIVEN + struct.pack(family_wire.EPOCH, 0, b"k" * 32),
        GIVEN + struct.pack(family_wire.EPOCH, 1, bytes(32)),
    ],
)
async def test_keys_that_cannot_be_are_not_kept(given: bytes) -> None:
    class Faithless(OpenToy):
        def pair(self, body: bytes) -> bytes:
            return given

    kept: list[Membership] = []
    with pytest.raises(errors.ToyMisbehaves):
        await pair(PairingAir(Faithless(KEY)), kept=kept)
    assert not kept


@pytest.mark.parametrize("what", ["silent", "babbling", "half"])
async def test_a_toy_that_stalls_is_given_up(what: str) -> None:
    class Stalling(PairingLink):
        async def greeting(self) -> bool:
            await self.frame()
            if what == "babbling":
                self.phone.arrived(os.urandom(40) * 1000)
            elif what == "half":
                self.phone.arrived(struct.pack("<H", pairing_wire.ANSWER_SIZE) + bytes(20))
            await self.frame()
            return False

    with pytest.raises((errors.LinkLost, errors.ToyMisbehaves)):
        await pair(PairingAir(OpenToy(KEY), link=Stalling))


def test_a_key_is_not_in_what_a_log_would_print() -> None:
    membership: Any = Membership(b"secretsecretsecretsecretsecret!!", b"12345678", {1: b"k" * 32})
    assert "secret" not in repr(membership) and "kkkk" not in repr(membership)
