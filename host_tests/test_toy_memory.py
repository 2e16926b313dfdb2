"""The toy's whole day in the heap that a plain ESP32 leaves it beside its radio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from host_tests.family import client, family, spoken
from host_tests.messages import speech
from host_tests.virtual.toy import VirtualToy
from hushbear_companion.records import Box

pytestmark = pytest.mark.targets("unix")

RESERVE = 2048  # bytes free at the end of the day


@pytest.mark.virtual_time
async def test_a_day_fits_into_96_kb(
    virtual_toy: Callable[..., VirtualToy], tmp_path: Path
) -> None:
    content = spoken(40)
    async with family(virtual_toy, heap=96 * 1024) as (toy, radio, link):
        await asyncio.sleep(2)
        async with client(radio.phone(), link) as phone:
            await phone.send(content)

        await toy.hold("play", 0.3)
        await asyncio.sleep(42)
        assert toy.speaker.underruns == 0

        toy.mic.speak(speech(12))
        await toy.hold("record", 10)
        await asyncio.sleep(2)

        async with client(radio.phone(), link) as phone:
            status = await phone.status()
            assert (status.inbox, status.unheard, status.outbox) == (1, 0, 1)
            (entry,) = await phone.entries(Box.OUTBOX)
            assert len(await phone.fetch(entry, tmp_path / "part")) == entry.size
            await phone.fetched(entry.id)
            assert await phone.crashlog() == ""
        await asyncio.sleep(2)
        free, _ = await toy.memory()
        assert free > RESERVE
