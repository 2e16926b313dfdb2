"""An invitation over a relay in a process of its own: two who have the code, and all others."""

from __future__ import annotations

import asyncio
import os
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from host_tests.relay.running import Process, settings
from hushbear_companion import cpace, invitation
from hushbear_companion.errors import (
    BadInvitation,
    HushbearError,
    InvitationOver,
    InvitationUnsure,
    WrongInvitation,
)
from hushbear_companion.invitation import Code
from hushbear_companion.mailboxes import Mailboxes
from hushbear_companion.toy import Relative, Role, Toy
from hushbear_relay.client.http import Relay
from hushbear_relay.client.rendezvous import Rendezvous
from hushbear_relay.signing import public_bytes

BEAR = Toy("Bruno", bytes(32), b"toy here", b"parent 1", {1: b"1" * 32, 2: b"2" * 32})
THERE = b"toyThere"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    process = Process(settings(tmp_path_factory.mktemp("relay"), rendezvous_per_minute=10_000))
    process.start()
    yield process
    process.kill()


class Telephone:
    """What is said between the two: the code. And what each of them has in the end."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.code: asyncio.Future[Code] = asyncio.get_running_loop().create_future()
        self.parent, self.grandma = (Mailboxes(url, os.urandom(32)) for _ in range(2))
        self.kept: list[Toy] = []
        self.invited: list[Relative] = []
        self.keep: Callable[[Relative], None] = self.invited.append
        self.kept_there: Callable[[], object] = lambda: None

    async def invite(self, toy: Toy = BEAR) -> Relative:
        async with Relay(self.url) as relay:
            return await invitation.invite(
                relay, self.parent, toy, "Grandma", "Papa", self.code.set_result,
                self.keep,
            )  # fmt: skip

    async def join(self, code: Code | None = None) -> str:
        code = code or await self.code
        async with Relay(self.url) as relay:
            return await invitation.join(relay, self.grandma, code, THERE, self._keep)

    def _keep(self, toy: Toy, _: str) -> None:
        self.kept.append(toy)
        self.kept_there()


async def both(telephone: Telephone) -> tuple[object, object]:
    return await asyncio.gather(telephone.invite(), telephone.join(), return_exceptions=True)


def other_words(code: Code) -> Code:
    words = ("zoo", "zone") if code.words == ("abandon", "ability") else ("abandon", "ability")
    return Code(code.number, words)


async def test_who_has_the_code_is_in_the_family(server: Process) -> None:
    telephone = Telephone(server.url)
    relative, called = await asyncio.gather(telephone.invite(), telephone.join())
    (toy,) = telephone.kept
    (parent,) = toy.relatives
    assert called == relative.name == "Grandma" and relative.role is Role.RELATIVE
    assert (toy.name, toy.key, toy.id) == ("Bruno", None, THERE)
    assert toy.family == {2: b"2" * 32}, "older keys are nothing to who comes later"
    assert toy.sender == relative.sender != parent.sender == BEAR.sender
    assert (parent.name, parent.role) == ("Papa", Role.PARENT)
    assert parent.secret == relative.secret
    from hushbear_relay.names import mailbox_of

    own = mailbox_of(public_bytes(telephone.parent.key(BEAR.id, 0)))
    there = mailbox_of(public_bytes(telephone.grandma.key(THERE, 0)))
    assert (relative.mailbox, parent.mailbox) == (there, own)
    assert telephone.invited == [relative]


async def test_a_wrong_code_ends_the_invitation_on_both_sides(server: Process) -> None:
    telephone = Telephone(server.url)
    inviting = asyncio.create_task(telephone.invite())
    code = await telephone.code
    with pytest.raises(WrongInvitation, match="not the right one"):
        await telephone.join(other_words(code))
    with pytest.raises(WrongInvitation, match="did not have this code"):
        await inviting
    with pytest.raises(InvitationOver, match="no invitation of that number"):
        await telephone.join(code)  # one guess
    assert not telephone.kept


async def test_a_code_that_was_used_is_used_up(server: Process) -> None:
    telephone = Telephone(server.url)
    await asyncio.gather(telephone.invite(), telephone.join())
    with pytest.raises(InvitationOver, match="it was used"):
        await telephone.join()
    assert len(telephone.kept) == 1


async def test_a_third_one_gets_nowhere_while_two_talk(server: Process) -> None:
    telephone, third = Telephone(server.url), Telephone(server.url)
    inviting = asyncio.create_task(telephone.invite())
    code = await telephone.code
    async with Relay(server.url) as relay:
        rendezvous = Rendezvous.join(relay, code.number)
        await rendezvous.send(bytes(49))  # a guess, without what a guess takes: version 0
        with pytest.raises(InvitationOver, match="another version"):
            await inviting
        with pytest.raises(InvitationOver):
            await third.join(code)


async def test_an_invitation_that_nobody_takes_is_over_in_time(tmp_path: Path) -> None:
    process = Process(settings(tmp_path / "relay", rendezvous_seconds=1))
    process.start()
    try:
        telephone = Telephone(process.url)
        with pytest.raises(InvitationOver, match="Nobody came in time"):
            await telephone.invite()
        with pytest.raises(InvitationOver, match="its time is over"):
            await telephone.join()
        assert not telephone.kept
    finally:
        process.kill()


async def test_who_stops_inviting_ends_it(server: Process) -> None:
    telephone = Telephone(server.url)
    inviting = asyncio.create_task(telephone.invite())
    code = await telephone.code
    inviting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await inviting
    with pytest.raises(InvitationOver):
        await telephone.join(code)


async def test_the_relay_may_be_away_for_a_while(tmp_path: Path) -> None:
    process = Process(settings(tmp_path / "relay"))
    process.start()
    try:
        telephone = Telephone(process.url)
        inviting = asyncio.create_task(telephone.invite())
        await telephone.code
        process.kill()
        joining = asyncio.create_task(telephone.join())
        await asyncio.sleep(0.1)
        await asyncio.to_thread(process.start)
        relative, _ = await asyncio.gather(inviting, joining)
        assert telephone.kept[0].sender == relative.sender
    finally:
        process.kill()


async def test_who_cannot_write_the_toy_down_is_not_in_the_family(server: Process) -> None:
    telephone = Telephone(server.url)

    def full(_: Toy, __: str) -> None:
        raise OSError("no room")

    async def join() -> str:
        async with Relay(server.url) as relay:
            return await invitation.join(
                relay, telephone.grandma, await telephone.code, THERE, full
            )

    invited, joined = await asyncio.gather(telephone.invite(), join(), return_exceptions=True)
    assert isinstance(joined, OSError) and isinstance(invited, WrongInvitation)


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("bit", [0, 7, -1])
async def test_a_bit_that_the_relay_alters_ends_it(
    server: Process, place: int, bit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    telephone = Telephone(server.url)
    send, sent = Rendezvous.send, 0

    async def altered(rendezvous: Rendezvous, content: bytes) -> None:
        nonlocal sent
        if rendezvous.expires == 0 or place == 2:  # what the relative sends, or the parent
            if sent == (place if place < 2 else 1):
                index = bit // 8 if bit >= 0 else -1
                flipped = bytearray(content)
                flipped[index] ^= 1 << (bit % 8)
                content = bytes(flipped)
            sent += 1
        await send(rendezvous, content)

    monkeypatch.setattr(Rendezvous, "send", altered)
    results = await both(telephone)
    assert all(isinstance(each, WrongInvitation | InvitationOver) for each in results), results
    assert not telephone.kept


async def test_what_the_relay_sees_is_another_for_the_same_code(server: Process) -> None:
    """Nothing that depends on the words alone passes by it: the shares are fresh each time."""
    seen = set()
    for _ in range(3):
        telephone = Telephone(server.url)
        inviting = asyncio.create_task(telephone.invite())
        code = await telephone.code
        async with Relay(server.url) as relay:
            rendezvous = Rendezvous.join(relay, code.number)
            run = cpace.Initiator(b"a guess", b"CI", bytes(16), b"relative")
            await rendezvous.send(struct.pack(">B16s32s", 1, bytes(16), run.share))
            answer = await rendezvous.receive(10)
            assert len(answer) == 32 + 32 + 16
            await rendezvous.send(bytes(80))
        with pytest.raises(WrongInvitation, match="not the right one"):
            await inviting
        seen |= {run.share, answer[:32], answer[32:]}
    assert len(seen) == 9


@pytest.mark.parametrize("share", [bytes(32), b"\1" + bytes(31)])
async def test_a_share_of_small_order_ends_it(server: Process, share: bytes) -> None:
    telephone = Telephone(server.url)
    inviting = asyncio.create_task(telephone.invite())
    code = await telephone.code
    async with Relay(server.url) as relay:
        await Rendezvous.join(relay, code.number).send(
            struct.pack(">B16s32s", 1, bytes(16), share)
        )
        with pytest.raises(WrongInvitation, match="no share"):
            await inviting


@pytest.mark.parametrize(
    "text",
    [
        *("4711-abandon-zoo", " 4711 Abandon  Zoo\n", "4711, abandon, zoo.", "4711 aban zoo"),
        "4711–ABANDON–zoo",
    ],
)
def test_a_code_as_people_type_it(text: str) -> None:
    assert str(Code.parse(text.rstrip(".\n"))) == "4711-abandon-zoo"


@pytest.mark.parametrize(
    "text",
    [
        *("", "4711", "abandon zoo", "4711 abandon", "4711 abandon zoo act", "4711 aba zoo"),
        *("4711 abandon zooo", "-1 abandon zoo", "٤ abandon zo", "4711 a\0b zoo", "1" * 1000),
    ],
)
def test_a_code_that_none_is_costs_no_guess(text: str) -> None:
    with pytest.raises(BadInvitation):
        Code.parse(text)


def test_words_are_random_and_four_letters_tell_them_apart() -> None:
    words = invitation._words()
    assert len(words) == len({word[:4] for word in words}) == 2048
    assert all(re.fullmatch("[a-z]{3,8}", word) for word in words)
    codes = {Code.new(1).words for _ in range(400)}
    assert len(codes) > 390 and len({word for code in codes for word in code}) > 500


def test_errors_say_what_to_do() -> None:
    for error in (WrongInvitation("a."), InvitationOver("b."), BadInvitation("c.")):
        assert isinstance(error, HushbearError) and "hushbear invite" in error.hint


def test_each_toy_has_a_mailbox_of_its_own() -> None:
    mailboxes = Mailboxes("https://relay.example", os.urandom(32))
    keys = {public_bytes(mailboxes.key(toy, n)) for toy in (BEAR.id, THERE) for n in range(3)}
    assert len(keys) == 6
    assert isinstance(mailboxes.key(BEAR.id, 0), Ed25519PrivateKey)
    assert str(mailboxes.secret) not in repr(mailboxes)


async def test_who_is_invited_is_written_down_before_they_have_the_key(server: Process) -> None:
    telephone = Telephone(server.url)
    there: list[int] = []
    telephone.keep = lambda relative: there.append(len(telephone.kept))
    await asyncio.gather(telephone.invite(), telephone.join())
    assert there == [0] and len(telephone.kept) == 1


class SwitchedOff(Exception):
    pass


def switched_off() -> None:
    raise SwitchedOff


async def test_who_does_not_say_that_it_has_worked_may_have_joined(
    server: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    telephone = Telephone(server.url)

    async def vanish(_: Rendezvous) -> None:
        """A phone that is switched off ends nothing."""

    monkeypatch.setattr(Rendezvous, "close", vanish)
    monkeypatch.setattr(invitation, "LASTS", 4)
    telephone.kept_there = switched_off
    unsure, off = await both(telephone)
    assert isinstance(unsure, InvitationUnsure) and isinstance(off, SwitchedOff)
    assert len(telephone.kept) == len(telephone.invited) == 1
