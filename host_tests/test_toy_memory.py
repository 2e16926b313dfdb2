"""The toy's whole day in the heap that a plain ESP32 leaves it beside its radio."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from host_tests.day import live_a_day
from host_tests.family import family
from host_tests.virtual.toy import VirtualToy

pytestmark = pytest.mark.targets("unix")

RESERVE = 2048  # bytes free at the end of the day


@pytest.mark.virtual_time
async def test_a_day_fits_into_96_kb(
    virtual_toy: Callable[..., VirtualToy], tmp_path: Path
) -> None:
    async with family(virtual_toy, heap=96 * 1024) as (toy, radio, link):
        await live_a_day(toy, radio, link, tmp_path)
        free, _ = await toy.memory()
        assert free > RESERVE
