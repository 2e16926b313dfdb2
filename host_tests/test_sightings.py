"""Whoever listens all day cannot tell that it was one toy that he heard."""

from __future__ import annotations

import asyncio

import pytest
from bleak import BleakClient, BleakScanner

from host_tests.family import GOOD_AIR, MakeToy
from host_tests.virtual.radio import Phone, VirtualRadio
from hushbear import wire

pytestmark = [pytest.mark.targets("unix"), pytest.mark.virtual_time]

LONGEST = 15 * 60  # seconds that one address may be seen for
RADIO = """
import asyncio
from hushbear.link.radio import Radio

async def serve(peer):
    while peer.connected:
        await peer.arrived.wait()

asyncio.run(Radio().run(serve, lambda: None))
"""


async def sight(listener: Phone) -> tuple[str, str]:
    """Return the address and the contents of the advertisement that is in the air."""
    seen = await BleakScanner.discover(1, return_adv=True, backend=listener.scanner)
    ((device, advertisement),) = seen.values()
    return device.address, repr(advertisement._replace(rssi=0, platform_data=()))


async def test_a_day_of_sightings_cannot_be_linked(virtual_toy: MakeToy) -> None:
    sightings: dict[str, list[float]] = {}
    contents = set()
    radio = VirtualRadio(GOOD_AIR)
    async with radio, virtual_toy(air=radio, main=RADIO) as toy:
        listener = radio.phone()
        await asyncio.sleep(1)
        while toy.loop.time() < 24 * 3600:
            address, content = await sight(listener)
            sightings.setdefault(address, []).append(toy.loop.time())
            contents.add(content)
            await asyncio.sleep(119)
    assert len(contents) == 1, "what it says is the same on every toy and at every time"
    assert len(sightings) >= 24 * 4
    assert max(times[-1] - times[0] for times in sightings.values()) <= LONGEST


async def test_every_start_has_another_address(virtual_toy: MakeToy) -> None:
    addresses = set()
    radio = VirtualRadio(GOOD_AIR)
    async with radio, virtual_toy(air=radio, main=RADIO) as toy:
        listener = radio.phone()
        for _ in range(5):
            await asyncio.sleep(1)
            addresses.add((await sight(listener))[0])
            await toy.restart()
    assert len(addresses) == 5


async def test_a_phone_that_is_connected_stays_so(virtual_toy: MakeToy) -> None:
    radio = VirtualRadio(GOOD_AIR)
    async with radio, virtual_toy(air=radio, main=RADIO):
        listener, phone = radio.phone(), radio.phone()
        await asyncio.sleep(1)
        before, _ = await sight(listener)
        async with BleakClient(before, backend=phone.client) as bleak:
            await asyncio.sleep(LONGEST)
            after, _ = await sight(listener)
            await bleak.write_gatt_char(wire.TO_TOY_UUID, b"still here", response=True)
        assert before != after
        async with BleakClient(after, backend=phone.client) as bleak:
            await bleak.write_gatt_char(wire.TO_TOY_UUID, b"again", response=True)
