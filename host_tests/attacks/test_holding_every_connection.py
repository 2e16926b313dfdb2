"""Somebody takes the toy's three connections, so that the family gets none.

What comes of it: the family waits for seconds. What is learned: nothing, not a byte.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from bleak import BleakClient
from bleak.exc import BleakError

from host_tests.attacks.aftermath import well
from host_tests.family import MakeToy, client, family, spoken
from host_tests.strangers import connection, hung_up, send
from host_tests.virtual.radio import VirtualRadio
from hushbear import wire
from hushbear_companion.framing import frame
from hushbear_companion.link import parse_link
from hushbear_companion.noise import Initiator
from hushbear_companion.records import Box

pytestmark = [pytest.mark.targets("unix"), pytest.mark.virtual_time]

BOUND = 30  # s: some rounds of the 5 s that a handshake may take

Hold = Callable[[BleakClient, bytes], Awaitable[None]]


async def silent(bleak: BleakClient, hello: bytes) -> None:
    await hung_up(bleak, within=60)


async def dripping(bleak: BleakClient, hello: bytes) -> None:
    """A byte now and then: there is always one more to come."""
    for at in range(len(hello)):
        await send(bleak, hello[at : at + 1])
        if await hung_up(bleak, within=0.25):
            return
    await hung_up(bleak, within=60)


async def replaying(bleak: BleakClient, hello: bytes) -> None:
    """A handshake of the family's, recorded: the toy answers, and waits for a record."""
    await send(bleak, hello)
    await silent(bleak, hello)


@contextlib.asynccontextmanager
async def held(radio: VirtualRadio, hold: Hold, hello: bytes) -> AsyncIterator[bytearray]:
    """Every connection is taken, and taken again whenever it becomes free. Yields what the toy
    says to them."""
    heard = bytearray()
    taken = [asyncio.Event() for _ in range(3)]

    async def take(event: asyncio.Event) -> None:
        phone = radio.phone()
        while True:
            with contextlib.suppress(BleakError, AssertionError, TimeoutError):
                async with connection(phone, heard) as bleak:
                    event.set()
                    await hold(bleak, hello)

    tasks = [asyncio.create_task(take(event)) for event in taken]
    try:
        for event in taken:
            await event.wait()
        yield heard
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("hold", [silent, dripping, replaying])
async def test_who_holds_every_connection_holds_them_for_seconds(
    virtual_toy: MakeToy, hold: Hold
) -> None:
    """And who takes them again has to win against the family's phone each time."""
    waited = []
    async with family(virtual_toy) as (toy, radio, link):
        recorded = frame(Initiator(parse_link(link).key, wire.PROLOGUE).write_1())
        async with held(radio, hold, recorded) as heard:
            for _ in range(3):
                began = toy.loop.time()
                async with client(radio.phone(), link) as phone:
                    waited.append(toy.loop.time() - began)
                    await phone.send(spoken(0.2, len(waited)))
                await asyncio.sleep(10)
        assert max(waited) < BOUND, waited
        answers, rest = divmod(len(heard), 2 + wire.HANDSHAKE_SIZE)
        assert rest == 0 and (answers > 0) == (hold is replaying)
        assert toy.mic.opened == []
        await well(toy, radio, link)


async def test_strangers_on_two_connections_do_not_lock_the_family_out(
    virtual_toy: MakeToy,
) -> None:
    async def sit(radio: VirtualRadio) -> None:
        phone = radio.phone()
        while True:
            with contextlib.suppress(BleakError, AssertionError, TimeoutError):
                async with connection(phone, bytearray()) as bleak:
                    await send(bleak, frame(Initiator(bytes(32), wire.PROLOGUE).write_1())[:9])
                    await hung_up(bleak, within=60)

    async with family(virtual_toy) as (_, radio, link):
        strangers = [asyncio.create_task(sit(radio)) for _ in range(2)]
        await asyncio.sleep(20)
        async with client(radio.phone(), link) as phone:
            await phone.send(spoken(2))
            assert len(await phone.entries(Box.INBOX)) == 1
        for stranger in strangers:
            stranger.cancel()
        await asyncio.gather(*strangers, return_exceptions=True)
