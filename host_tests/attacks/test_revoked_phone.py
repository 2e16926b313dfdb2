"""A phone that the family has revoked tries to stay: with the session that it has open, with its
key, with the family key that it was given, and by being quicker than its revocation.

What it still has: the family keys up to that moment, and so every message sealed until then, if it
gets hold of one. What it does not learn: any key that came after, and anything sealed under one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from host_tests.attacks.aftermath import well
from host_tests.family import MakeToy, add_phone, client, family, firmware_with, spoken
from host_tests.messages import decode, outbox, snr, speech, stored
from host_tests.strangers import connection, hung_up, send
from host_tests.virtual import VirtualToy
from host_tests.virtual.radio import VirtualRadio
from hushbear import wire
from hushbear_companion import message, sealing
from hushbear_companion.client import Client
from hushbear_companion.errors import (
    BrokenMessage,
    HushbearError,
    LinkLost,
    NotThisToy,
    UnknownEpoch,
)
from hushbear_companion.framing import frame
from hushbear_companion.link import parse_link
from hushbear_companion.noise import Initiator
from hushbear_companion.records import Box

pytestmark = [pytest.mark.targets("unix"), pytest.mark.virtual_time]

# Each slice of the toy's arithmetic takes 2 ms, as on a chip: a handshake lasts.
ON_A_CHIP = firmware_with("""
import asyncio
sleep_ms = asyncio.sleep_ms
asyncio.sleep_ms = lambda ms: sleep_ms(ms or 2)
""")
AT_ONCE = 0.5  # s


def once(phone: Client) -> Client:
    """The same phone, but it gives up when its link ends."""
    phone._timing = replace(phone._timing, retries=0)
    return phone


@contextlib.asynccontextmanager
async def two_phones(
    virtual_toy: MakeToy, **options: Any
) -> AsyncIterator[tuple[VirtualToy, VirtualRadio, str, str]]:
    """A toy, its radio, the link of a phone that stays, and that of one that will not."""
    async with family(virtual_toy, **options) as (toy, radio, stays):
        goes = await add_phone(toy)
        await asyncio.sleep(1)
        yield toy, radio, stays, goes


async def revoke_others(phone: Client) -> None:
    for each in await phone.phones():
        if not each.here:
            await phone.revoke(each.slot)


async def test_its_open_session_ends_at_once_and_its_key_opens_no_other(
    virtual_toy: MakeToy,
) -> None:
    async with two_phones(virtual_toy) as (toy, radio, stays, goes):
        async with client(radio.phone(), stays) as parent, client(radio.phone(), goes) as revoked:
            await revoked.status()
            known = dict(revoked.family)
            listens = asyncio.create_task(revoked._session.receive(60))  # type: ignore[union-attr]
            await revoke_others(parent)
            async with asyncio.timeout(AT_ONCE):
                with pytest.raises(LinkLost):
                    await listens
            with pytest.raises(LinkLost):
                await once(revoked).status()
        for _ in range(2):
            with pytest.raises(NotThisToy):
                await client(radio.phone(), goes).connect()
            await toy.restart()
            await asyncio.sleep(1)
        assert revoked.family == known and max(parent.family) == max(known) + 1
        await well(toy, radio, stays)


async def test_an_upload_of_its_ends_and_is_never_heard(virtual_toy: MakeToy) -> None:
    content = spoken(20, 2)
    async with two_phones(virtual_toy) as (toy, radio, stays, goes):
        async with client(radio.phone(), stays) as parent, client(radio.phone(), goes) as revoked:
            sending = asyncio.create_task(once(revoked).send(content))
            await asyncio.sleep(0.4)
            assert not sending.done()
            await revoke_others(parent)
            with pytest.raises(HushbearError):
                await sending
            assert await parent.entries(Box.INBOX) == []
        await well(toy, radio, stays)


async def test_it_reads_nothing_that_is_sealed_after_and_the_family_still_hears_what_was_before(
    virtual_toy: MakeToy,
) -> None:
    before = speech(2, 3)
    async with two_phones(virtual_toy) as (toy, radio, stays, goes):
        async with client(radio.phone(), goes) as revoked:
            await revoked.send(spoken(2, 3, revoked))
            known = dict(revoked.family)
        async with client(radio.phone(), stays) as parent:
            await revoke_others(parent)
            await parent.send(spoken(1, 4, parent))
        toy.mic.speak(speech(5, 5))
        await toy.hold("record", 2)
        await asyncio.sleep(1)
        since = toy.loop.time()
        await toy.hold("play", 0.1)
        await asyncio.sleep(3)
        assert snr(toy.speaker.pcm(since)[: 2 * 16000], before) > 15
        old, new = await stored(toy, Box.INBOX)
        (answer,) = await outbox(toy)
        await asyncio.sleep(1)
        assert sealing.unseal(old, known)  # what it still knows
        for content in (new, answer):
            header = message.parse_header(content)
            assert header.epoch == max(known) + 1
            with pytest.raises(UnknownEpoch):
                sealing.unseal(content, known)
            for key in known.values():
                with pytest.raises(BrokenMessage):
                    sealing.unseal(content, {header.epoch: key})
        await well(toy, radio, stays)


async def test_what_it_seals_under_an_old_key_still_plays_once_somebody_brings_it(
    virtual_toy: MakeToy,
) -> None:
    """The old keys open old messages, so they open this one: bringing it takes a paired phone, and
    that asks a parent first."""
    async with two_phones(virtual_toy) as (toy, radio, stays, goes):
        async with client(radio.phone(), goes) as revoked:
            forged = spoken(2, 6, revoked)
        async with client(radio.phone(), stays) as parent:
            await revoke_others(parent)
            await parent.send(forged)
        since = toy.loop.time()
        await toy.hold("play", 0.1)
        await asyncio.sleep(3)
        assert snr(toy.speaker.pcm(since), decode(forged)) > 15
        await well(toy, radio, stays)


@pytest.mark.parametrize("lead", [0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0])
async def test_a_revocation_wins_against_a_handshake_that_has_begun(
    virtual_toy: MakeToy, lead: float
) -> None:
    """Whether it comes before the toy's answer, on its way, or with the first record."""
    async with two_phones(virtual_toy, main=ON_A_CHIP) as (toy, radio, stays, goes):
        async with client(radio.phone(), stays) as parent:
            slots = [each.slot for each in await parent.phones() if not each.here]
            revoked = client(radio.phone(), goes, response=2, stall=2, retries=0, handshake=4)
            connects = asyncio.create_task(revoked.connect())
            while len(radio.air.connections) < 2:
                await asyncio.sleep(0.005)
            await asyncio.sleep(lead)
            for slot in slots:
                await parent.revoke(slot)
            await asyncio.gather(connects, return_exceptions=True)
            assert max(revoked.family, default=0) < max(parent.family)
            with pytest.raises(HushbearError):
                await revoked.status()
            await revoked.close()
        await well(toy, radio, stays)


async def test_a_revocation_wins_while_the_toy_still_looks_for_the_key(
    virtual_toy: MakeToy,
) -> None:
    slow = ON_A_CHIP.replace("ms or 2", "ms or 50")  # a try of a key takes so long
    heard = bytearray()
    async with family(virtual_toy, main=slow) as (toy, radio, stays):
        await toy.exec_repl("from hushbear import setup\nfor _ in range(6): setup.add_phone()")
        goes = await add_phone(toy)
        await asyncio.sleep(1)
        key = parse_link(goes).key
        async with client(radio.phone(), stays) as parent:
            slot = max(each.slot for each in await parent.phones())
            async with connection(radio.phone(), heard) as bleak:
                await send(bleak, frame(Initiator(key, wire.PROLOGUE).write_1()))
                await asyncio.sleep(0.1)
                await parent.revoke(slot)
                assert bleak.is_connected and heard == b""
                assert await hung_up(bleak, within=60)
        assert heard == b""
        await well(toy, radio, stays)
