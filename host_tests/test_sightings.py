"""Whoever listens all day cannot tell that it was one toy that he heard."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest
from bleak import BleakClient, BleakScanner

from host_tests.family import GOOD_AIR, MakeToy
from host_tests.virtual.radio import Phone, VirtualRadio
from host_tests.virtual.toy import VirtualToy
from hushbear import wire

pytestmark = [pytest.mark.targets("unix"), pytest.mark.virtual_time]

BITS_ALIKE = 42  # of 46: among 150 addresses a pair has more once in 380,000 days
LONGEST = 15 * 60  # seconds that one address may be seen for
RADIO = """
import asyncio
from hushbear.link.radio import Radio

async def serve(peer):
    while peer.connected:
        await peer.arrived.wait()

asyncio.run(Radio().run(serve, lambda: None))
"""


def is_random(address: str) -> bool:
    """Whether it is one that no key makes or resolves: static (Core 5.4, Vol 6, Part B, 1.3.2)."""
    return int(address[:2], 16) >> 6 == 3


def alike(one: str, other: str) -> int:
    """Return how many of the 46 random bits of two addresses are the same."""
    differ = int(one.replace(":", ""), 16) ^ int(other.replace(":", ""), 16)
    return 46 - bin(differ).count("1")


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
    assert all(is_random(address) for address in sightings)
    shared = [a for a, b in itertools.combinations(sightings, 2) if alike(a, b) > BITS_ALIKE]
    assert not shared, "an address tells of another"


async def test_two_toys_say_the_same(virtual_toy: MakeToy, tmp_path: Path) -> None:
    radio = VirtualRadio(GOOD_AIR)
    async with (
        radio,
        virtual_toy(air=radio, main=RADIO),
        VirtualToy(tmp_path / "other", air=radio, main=RADIO),
    ):
        await asyncio.sleep(1)
        seen = await BleakScanner.discover(1, return_adv=True, backend=radio.phone().scanner)
    contents = {repr(said._replace(rssi=0, platform_data=())) for _, said in seen.values()}
    assert (len(seen), len(contents)) == (2, 1)


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
