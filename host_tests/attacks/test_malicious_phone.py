"""A phone that the family has paired means harm: it says what no phone says, a hundred thousand
times, takes names that steer terminals, and revokes everybody.

What it learns: what a phone of the family may know, and of nothing else a byte. What it can do:
all that a phone may, revoking the others and itself too. A hand on the toy gets the family back
in, and its messages are still there.
"""

from __future__ import annotations

import struct

import pytest

from host_tests.attacks.aftermath import well
from host_tests.family import MakeToy, add_phone, client, family, spoken
from host_tests.hostile_phone import attack
from host_tests.messages import snr, speech
from host_tests.targets import Target
from hushbear import family_wire, upkeep_wire, wire
from hushbear_companion.errors import HushbearError, LinkLost, NotThisToy
from hushbear_companion.records import Box, StatusError
from hushbear_companion.session import Session

pytestmark = pytest.mark.targets("unix")

FRAMES = 100_000
REQUESTS = (
    *range(upkeep_wire.STATUS, wire.CANCEL + 1),
    *range(family_wire.FAMILY, family_wire.RENEW + 1),
)
REFUSALS = range(wire.UNKNOWN, wire.FAILED)  # FAILED would be the toy's fault


def test_whatever_phones_say_the_toy_stays_well(target: Target) -> None:
    """Before the handshake and after it: each is answered or hung up on, no message is lost,
    altered or half there, nothing gets into the crash log, and an honest phone is served."""
    outcome = attack(target, seed=2017, frames=FRAMES, strangers=5)
    assert outcome.before > FRAMES // 5
    assert outcome.after > FRAMES // 2
    # The villains got far enough to matter: each request was carried out, each refusal heard.
    carried_out = {kind: outcome.statuses.get((kind, wire.OK), 0) for kind in REQUESTS}
    assert min(carried_out.values()) > 10, carried_out
    assert {status for _, status in outcome.statuses} == {wire.OK, *REFUSALS}
    assert max(outcome.heap[5:]) < max(outcome.heap[:5]) + 512, "the heap grows"


NAMES = {
    "steers a terminal": b"\x1b[2J\x1b]0;x\x07",
    "has a line break": b"Oma\r\n",
    "has a zero in it": b"Oma\0Opa",
    "has a DEL in it": b"Oma\x7f",
    "is no UTF-8": b"\xff\xfe",
    "ends within a character": b"x" * 31 + b"\xc3",
}


@pytest.mark.virtual_time
async def test_names_are_names_or_refused(virtual_toy: MakeToy) -> None:
    async with family(virtual_toy) as (toy, radio, link):
        async with client(radio.phone(), link) as phone:
            session = phone._session
            assert isinstance(session, Session)
            (before,) = await phone.phones()
            for what, name in NAMES.items():
                body = struct.pack(family_wire.RENAME_REQUEST, before.slot, name)
                with pytest.raises(StatusError) as refusal:
                    await session.request(family_wire.RENAME, body, "take a name")
                assert refusal.value.status == wire.MALFORMED, what
            for slot in (1, 7, 8, 0x80, 0xFF):
                for kind, body in (
                    (family_wire.RENAME, struct.pack(family_wire.RENAME_REQUEST, slot, b"x")),
                    (family_wire.REVOKE, struct.pack(family_wire.REVOKE_REQUEST, slot)),
                ):
                    with pytest.raises(StatusError) as refusal:
                        await session.request(kind, body, "change a phone that is not there")
                    assert refusal.value.status == wire.NOT_FOUND, slot
            assert await phone.phones() == [before]
        await well(toy, radio, link)


@pytest.mark.virtual_time
async def test_revoking_everybody_leaves_the_family_its_messages(virtual_toy: MakeToy) -> None:
    async with family(virtual_toy) as (toy, radio, link):
        parents = await add_phone(toy)
        await toy.sleep(1)
        async with client(radio.phone(), parents) as parent:
            await parent.send(spoken(2, 3, parent))
            async with client(radio.phone(), link, retries=0) as phone:
                phones = sorted(await phone.phones(), key=lambda each: each.here)
                assert [each.here for each in phones] == [False, True]
                await phone.revoke(phones[0].slot)
                with pytest.raises(HushbearError):  # the toy has hung up on it
                    await phone.revoke(phones[1].slot)
        for each in (link, parents):
            with pytest.raises((NotThisToy, LinkLost)):
                await client(radio.phone(), each).connect()
        link = await add_phone(toy)  # by hand, at the toy
        await toy.sleep(1)
        since = toy.loop.time()
        await toy.hold("play", 0.1)
        await toy.sleep(3)
        assert snr(toy.speaker.pcm(since), speech(2, 3)) > 15
        async with client(radio.phone(), link) as parent:
            assert len(await parent.entries(Box.INBOX)) == 1
            assert len(parent.family) == 3, "the keys of before, for what is still there"
        assert toy.mic.opened == []
        await well(toy, radio, link)


@pytest.mark.virtual_time
async def test_new_family_keys_alone_take_no_message_away_and_a_lost_one_is_in_nobodys_way(
    virtual_toy: MakeToy,
) -> None:
    async with family(virtual_toy) as (toy, radio, link):
        parents = await add_phone(toy)
        await toy.sleep(1)
        async with client(radio.phone(), parents) as parent:
            await parent.send(spoken(2, 3, parent))
        async with client(radio.phone(), link) as phone:
            session = phone._session
            assert isinstance(session, Session)
            statuses = []
            for epoch in range(1, 12):
                body = struct.pack(family_wire.RENEW_REQUEST, epoch)
                try:
                    await session.request(family_wire.RENEW, body, "push the others out")
                except StatusError as refusal:
                    statuses.append(refusal.status)
            # The ninth would take the place of the message's; those after it are too high.
            assert statuses == [wire.FULL] + 3 * [wire.MALFORMED]
            (victim,) = [each for each in await phone.phones() if not each.here]
            await phone.revoke(victim.slot)
            await phone.send(spoken(1, 4, phone))
        await toy.hold("play", 0.1)  # it says that this one is broken
        await toy.sleep(12)  # sooner, the paw would ask for the same again
        since = toy.loop.time()
        await toy.hold("play", 0.1)
        await toy.sleep(3)
        assert snr(toy.speaker.pcm(since), speech(1, 4)) > 15
        async with client(radio.phone(), link) as phone:
            assert [entry.done for entry in await phone.entries(Box.INBOX)] == [True, True]
            assert "no key of epoch 1" in await phone.crashlog()
            await phone.clear_crashlog()
        await well(toy, radio, link)
