"""Strangers with radios: what they can do to the toy and its family, which is next to nothing."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator

import pytest
from bleak import BleakClient, BleakScanner
from bleak.exc import BleakError

from host_tests.family import MakeToy, client, family, spoken
from host_tests.virtual.radio import Phone, VirtualRadio
from hushbear import wire
from hushbear_companion.framing import frame
from hushbear_companion.noise import Initiator
from hushbear_companion.records import Box

pytestmark = [pytest.mark.targets("unix"), pytest.mark.virtual_time]


@contextlib.asynccontextmanager
async def connection(phone: Phone, heard: bytearray) -> AsyncIterator[BleakClient]:
    """A stranger's connection, whose notifications gather in `heard`."""
    device = await BleakScanner.find_device_by_filter(
        lambda _, seen: wire.SERVICE_UUID in seen.service_uuids, backend=phone.scanner
    )
    assert device, "no toy advertises"
    async with BleakClient(device, backend=phone.client) as bleak:
        await bleak.start_notify(wire.TO_PHONE_UUID, lambda _, data: heard.extend(data))
        yield bleak


async def hung_up(bleak: BleakClient, within: float) -> bool:
    """Wait for the toy to end the connection; return whether it did in time."""
    for _ in range(round(within * 100)):
        if not bleak.is_connected:
            return True
        await asyncio.sleep(0.01)
    return False


async def send(bleak: BleakClient, data: bytes) -> None:
    with contextlib.suppress(BleakError):  # the toy may have hung up
        await bleak.write_gatt_char(wire.TO_TOY_UUID, data, response=False)


async def test_the_advertisement_says_what_it_is_and_not_who(virtual_toy: MakeToy) -> None:
    async with family(virtual_toy) as (_, radio, _link):
        seen = await BleakScanner.discover(5, return_adv=True, backend=radio.phone().scanner)
    ((_, advertisement),) = seen.values()
    assert advertisement.service_uuids == [wire.SERVICE_UUID]
    assert not advertisement.local_name
    assert not advertisement.manufacturer_data and not advertisement.service_data


async def test_whoever_says_nothing_is_dropped_after_five_seconds(virtual_toy: MakeToy) -> None:
    heard = bytearray()
    async with family(virtual_toy) as (toy, radio, _), connection(radio.phone(), heard) as bleak:
        began = toy.loop.time()
        assert await hung_up(bleak, within=10)
        assert 4 < toy.loop.time() - began < 6
        assert heard == b""


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


async def test_who_holds_every_connection_holds_them_for_seconds(virtual_toy: MakeToy) -> None:
    async with family(virtual_toy) as (toy, radio, link):
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(3):
                await stack.enter_async_context(connection(radio.phone(), bytearray()))
            await asyncio.sleep(7)
            async with client(radio.phone(), link) as phone:
                assert (await phone.status()).crashlog == 0
        assert toy.running


async def test_noise_on_the_link_leaves_the_toy_well(virtual_toy: MakeToy) -> None:
    """Every connection ends, by what was sent or by the clock, and nothing is answered."""
    random_ = random.Random(2017)
    heard = bytearray()
    async with family(virtual_toy) as (toy, radio, link):
        for _ in range(60):
            async with connection(radio.phone(mtu=random_.choice((23, 185, 517))), heard) as bleak:
                for _ in range(random_.randint(1, 4)):
                    await send(bleak, random_.randbytes(random_.choice((1, 2, 3, 18, 20, 50))))
                assert await hung_up(bleak, within=7)
        assert heard == b""
        async with client(radio.phone(), link) as phone:
            assert (await phone.status()).crashlog == 0
        assert len(toy.causes) <= 3, "the toy was restarted"
