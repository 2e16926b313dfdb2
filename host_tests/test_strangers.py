"""Strangers with radios: what they can do to the toy and its family, which is next to nothing."""

from __future__ import annotations

import random

import pytest
from bleak import BleakScanner

from host_tests.family import MakeToy, client, family
from host_tests.strangers import connection, hung_up, send
from hushbear import wire

pytestmark = [pytest.mark.targets("unix"), pytest.mark.virtual_time]


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
