"""The companion has the toy make a family key when somebody was removed who has the newest one."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable

import pytest

from host_tests.companion_toy import FAMILY, QUICK, SENDER, Air, Link, Refused, Toy
from host_tests.companion_toy import make_message as make
from host_tests.family import MakeToy, add_phone, client, family, spoken
from host_tests.messages import decode, outbox, speech
from host_tests.virtual.radio import Phone as VirtualPhone
from hushbear import family_wire, wire
from hushbear_companion import errors, message
from hushbear_companion.client import Client
from hushbear_companion.link import parse_link
from hushbear_companion.records import Box
from hushbear_companion.transport import Radio

KEY = bytes(range(32))
NEWEST = max(FAMILY)


class Phone:
    """Clients of one phone: each knows what those before it have learned."""

    def __init__(self, air: Air, family: dict[int, bytes] = FAMILY) -> None:
        self.air = air
        self.family = dict(family)
        self.told: list[str] = []

    def client(self, renew: int = NEWEST) -> Client:
        return Client(
            KEY, self.air, timing=QUICK, waiting=self.told.append, sender=SENDER,
            family_keys=self.family, learned=self._learned, renew=renew,
        )  # fmt: skip

    def _learned(self, client: Client) -> None:
        self.family |= client.family


def renewals(toy: Toy) -> int:
    return toy.asked.count(family_wire.RENEW)


async def test_a_key_is_made_once_for_who_was_removed() -> None:
    toy = Toy(KEY)
    phone = Phone(Air(toy))
    async with phone.client() as client:
        assert client.epoch == NEWEST + 1 and client.family == toy.family == phone.family
        assert client.family[client.epoch] not in FAMILY.values()
    async with phone.client() as client:
        assert client.epoch == NEWEST + 1
    assert renewals(toy) == 1 and not phone.told
    async with phone.client(NEWEST + 1) as client:  # somebody else goes
        assert client.epoch == NEWEST + 2
    assert renewals(toy) == 2


@pytest.mark.parametrize("known", [{}, {1: FAMILY[1]}], ids=["nothing", "less"])
async def test_a_phone_that_knew_less_than_the_toy_asks_for_what_is_above(
    known: dict[int, bytes],
) -> None:
    toy = Toy(KEY)
    async with Phone(Air(toy), known).client() as client:
        assert client.epoch == NEWEST + 1 and client.family == toy.family
    toy = Toy(KEY)
    toy.add_epoch()  # for another phone: who was removed does not have it
    async with Phone(Air(toy), known).client() as client:
        assert client.epoch == NEWEST + 1
    assert not renewals(toy)


async def test_where_nobody_was_removed_no_key_is_made() -> None:
    toy = Toy(KEY)
    async with Phone(Air(toy)).client(0) as client:
        assert client.epoch == NEWEST
    toy.family.clear()  # a liar: there is always one
    async with Phone(Air(toy), {}).client(0) as client:
        assert client.epoch == 0
    assert not renewals(toy)


@pytest.mark.parametrize("lost", range(1, 12))
async def test_a_link_that_is_lost_makes_one_key_in_the_end(lost: int) -> None:
    toy = Toy(KEY)
    air = Air(toy)
    air.lost = {lost}
    phone = Phone(air)
    async with phone.client() as client:
        await client.status()
    async with phone.client() as client:
        assert client.epoch == NEWEST + 1 and max(toy.family) == NEWEST + 1
    assert phone.family == toy.family


async def test_the_answer_is_lost_and_the_next_command_learns_the_key() -> None:
    class Dropping(Link):
        async def send(self, kind: int, tag: int, body: bytes) -> None:
            if kind == family_wire.RENEW | wire.RESPONSE:
                raise ConnectionError
            await super().send(kind, tag, body)

    toy = Toy(KEY)
    phone = Phone(Air(toy, link=Dropping))
    async with phone.client():  # its second round learns what the first has had made
        pass
    assert max(toy.family) == NEWEST + 1 and renewals(toy) == 1
    assert phone.family == toy.family


async def test_what_another_phone_had_made_meanwhile_is_taken() -> None:
    class Racing(Toy):
        async def answer(self, link: Link, kind: int, tag: int, body: bytes) -> bytes:
            if kind == family_wire.RENEW and max(self.family) == NEWEST:
                self.add_epoch()
            return await super().answer(link, kind, tag, body)

    toy = Racing(KEY)
    async with Phone(Air(toy)).client() as client:
        assert client.epoch == NEWEST + 1 and client.family == toy.family


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (wire.UNKNOWN, "update its firmware"),
        (wire.FULL, "let it be heard and fetched"),
        (wire.BUSY, "busy"),
        (wire.FAILED, "could not make a new family key"),
        (0x55, "could not make a new family key"),
    ],
)
async def test_a_toy_that_cannot_make_a_key_now_is_of_use_with_the_old_one(
    status: int, told: str
) -> None:
    class Unable(Toy):
        unable = True

        async def answer(self, link: Link, kind: int, tag: int, body: bytes) -> bytes:
            if kind == family_wire.RENEW and self.unable:
                self.asked.append(kind)
                raise Refused(status)
            return await super().answer(link, kind, tag, body)

    toy = Unable(KEY)
    air = Air(toy)
    phone = Phone(air)
    content = make(40)
    async with phone.client() as client:
        air.lost = {air.frames + 5}
        await client.send(content)  # with a second greeting
        assert client.epoch == NEWEST and len(air.opened) == 2
    assert renewals(toy) == 1 and toy.inbox() == [content]
    (line,) = [each for each in phone.told if "family key stays" in each]
    assert told in line and "\n" not in line
    toy.unable = False
    async with phone.client() as client:
        assert client.epoch == NEWEST + 1


async def test_a_key_that_a_message_waits_for_is_kept_until_it_was_heard() -> None:
    toy = Toy(KEY)
    phone = Phone(Air(toy))
    content = make()
    async with phone.client(0) as client:
        await client.send(content)
    for _ in range(family_wire.EPOCHS_MAX - 1):
        async with phone.client(max(toy.family)) as client:
            await client.status()
    assert len(toy.family) == family_wire.EPOCHS_MAX and NEWEST in toy.family and not phone.told
    before = dict(toy.family)
    async with phone.client(max(toy.family)) as client:
        assert client.epoch == max(before) and toy.family == before
        (entry,) = await client.entries(Box.INBOX)
    assert len(phone.told) == 1
    toy.find(wire.INBOX, entry.id).done = True
    async with phone.client(max(toy.family)) as client:
        assert client.epoch == max(before) + 1 and NEWEST not in toy.family


async def test_a_toy_that_knows_older_keys_only_is_told_of() -> None:
    toy = Toy(KEY)
    phone = Phone(Air(toy), FAMILY | {9: b"9" * 32})
    async with phone.client(9) as client:
        assert client.epoch == 9
    assert len(phone.told) == 1 and "older ones" in phone.told[0]
    assert toy.family == FAMILY


def epoch(number: int, key: bytes = b"k" * 32) -> bytes:
    return struct.pack(family_wire.EPOCH, number, key)


@pytest.mark.parametrize(
    "answer",
    [
        lambda: b"",
        lambda: epoch(NEWEST),
        lambda: epoch(NEWEST + 1, bytes(32)),
        lambda: epoch(NEWEST + 1)[:-1],
        lambda: epoch(NEWEST + 2) + epoch(NEWEST + 1),
        lambda: b"".join(epoch(NEWEST + n) for n in range(1, 10)),
        lambda: os.urandom(700),
    ],
    ids=["none", "the old one", "zeros", "cut", "falling", "too many", "rubbish"],
)
async def test_what_is_no_new_key_is_not_taken(answer: Callable[[], bytes]) -> None:
    class Liar(Toy):
        async def answer(self, link: Link, kind: int, tag: int, body: bytes) -> bytes:
            if kind == family_wire.RENEW:
                return answer()
            return await super().answer(link, kind, tag, body)

    phone = Phone(Air(Liar(KEY)))
    with pytest.raises(errors.ToyMisbehaves):
        await phone.client().connect()
    assert phone.family == FAMILY


def renewing(phone: VirtualPhone, link: str, renew: int) -> Client:
    radio = Radio(scanner=phone.scanner, client=phone.client)
    return Client(parse_link(link).key, radio, renew=renew)


@pytest.mark.targets("unix")
@pytest.mark.virtual_time
async def test_the_whole_family_gets_the_key_and_who_has_the_old_one_only_hears_no_more(
    virtual_toy: MakeToy,
) -> None:
    async with family(virtual_toy) as (toy, radio, link):
        other = await add_phone(toy)
        await toy.sleep(1)
        async with client(radio.phone(), link) as parent:
            before = spoken(1, 3, parent)
            await parent.send(before)
            known = dict(parent.family)
        for _ in range(2):  # the second time there is nothing to do
            async with renewing(radio.phone(), link, max(known)) as parent:
                assert max(parent.family) == max(known) + 1
        async with client(radio.phone(), other) as grandpa:  # who has not asked for it
            assert grandpa.family == parent.family
        toy.mic.speak(speech(3, 5))
        since = toy.loop.time()
        await toy.hold("play", 0.1)
        await toy.sleep(2)
        assert len(toy.speaker.pcm(since)) and decode(before, known).any()
        await toy.hold("record", 2)
        await toy.sleep(1)
        (answer,) = await outbox(toy)
        assert message.parse_header(answer).epoch == max(known) + 1
        with pytest.raises(errors.UnknownEpoch):
            decode(answer, known)
        assert len(decode(answer, parent.family))
        async with client(radio.phone(), link) as phone:
            assert [entry.done for entry in await phone.entries(Box.INBOX)] == [True]


@pytest.mark.targets("unix")
@pytest.mark.virtual_time
async def test_a_stranger_gets_no_key_made(virtual_toy: MakeToy) -> None:
    async with family(virtual_toy) as (_, radio, link):
        async with client(radio.phone(), link) as parent:
            known = dict(parent.family)
        other = "hushbear://toy/" + "A" * 42 + "E?v=1"
        with pytest.raises((errors.NotThisToy, errors.LinkLost)):
            await renewing(radio.phone(), other, max(known)).connect()
        async with client(radio.phone(), link) as parent:
            assert parent.family == known
