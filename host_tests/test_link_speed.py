"""How fast messages cross: the share of what the air can carry that they get, in virtual time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from host_tests.family import MakeToy, client, family, spoken
from host_tests.messages import speech
from host_tests.virtual.radio import AirModel
from hushbear_companion.records import Box

pytestmark = [pytest.mark.targets("unix"), pytest.mark.virtual_time]

# What a transfer costs to begin and end weighs four times as much as for a message of 40 s.
SECONDS = 10
OVERHEAD = 0.06  # bytes of values beyond those of the message, both ways together


@pytest.mark.parametrize(
    ("interval", "mtu", "loss", "share"),
    [
        (0.015, 247, 0, 0.90),
        (0.015, 517, 0, 0.90),
        (0.015, 185, 0, 0.90),
        (0.015, 23, 0, 0.90),
        (0.015, 247, 0.05, 0.75),
        (0.030, 247, 0, 0.90),
        (0.030, 185, 0.05, 0.75),
        (0.0075, 247, 0, 0.90),
    ],
)
async def test_a_message_gets_most_of_what_the_air_can_carry(
    virtual_toy: MakeToy, tmp_path: Path, interval: float, mtu: int, loss: float, share: float
) -> None:
    air = AirModel(interval=interval, packets=6, loss=loss)
    seconds = SECONDS if mtu > 23 else 3  # the air is slow enough
    content = spoken(seconds)
    async with family(virtual_toy, air) as (toy, radio, link):
        toy.mic.speak(speech(seconds + 1))
        await asyncio.sleep(1)
        await toy.hold("record", seconds)
        await asyncio.sleep(1)
        ble = radio.ble(toy)
        async with client(radio.phone(mtu=mtu), link) as phone:
            ceiling = air.throughput(min(mtu, 247))

            began, before = toy.loop.time(), ble.value_bytes
            await phone.send(content)
            assert len(content) / (toy.loop.time() - began) > share * ceiling
            assert ble.value_bytes - before < (1 + OVERHEAD) * len(content)

            (entry,) = await phone.entries(Box.OUTBOX)
            began, before = toy.loop.time(), ble.value_bytes
            answer = await phone.fetch(entry, tmp_path / "part")
            assert len(answer) / (toy.loop.time() - began) > share * ceiling
            assert ble.value_bytes - before < (1 + OVERHEAD) * len(answer)
