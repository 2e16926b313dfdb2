"""The heap that the toy's day takes, of a 32-bit MicroPython that loads .mpy files."""

from __future__ import annotations

import asyncio
import contextlib
import io
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

from host_tests.day import live_a_day
from host_tests.family import family
from host_tests.messages import found
from host_tests.targets.unix import Unix
from host_tests.virtual.fixtures import run_virtual
from host_tests.virtual.toy import ToyError, VirtualToy
from hushbear_companion.errors import HushbearError

from .figures import Figure, Row

WHERE = "virtual toy"
KB = 1024
ROOM = 96  # kB
LEAST, MOST = 64, 128  # kB, between which the smallest is looked for
DAYS = 3  # what is garbage, and where, is not the same each day, as keys and ids are random
SAMPLE_S = 0.25

DAY = (
    "the toy's whole day: boot, session, receive 40 s, play them, record 10 s, send them"
    " (host_tests/day.py)"
)
SMALLEST = Figure(
    "heap, the smallest",
    "kB",
    f"{DAY}; the smallest in which {DAYS} days in a row pass, in steps of 1 kB",
    ("≤", ROOM),
)
PEAK = Figure(
    "heap, in use",
    "kB",
    f"the most that is left after a collection, looked at every {SAMPLE_S} s of the day in"
    f" {ROOM} kB; up to 5.5 kB of it belong to the virtual peripherals, which have these on top",
)
FIGURES = [SMALLEST, PEAK]


@contextlib.asynccontextmanager
async def made() -> AsyncIterator[Callable[..., VirtualToy]]:
    """Give what makes virtual toys that leave nothing behind."""
    with tempfile.TemporaryDirectory(prefix="hushbear-") as directory:
        yield lambda name="toy", **options: found(VirtualToy(Path(directory) / name, **options))


def measure() -> Iterator[Row]:
    if reason := Unix.missing():
        yield from (figure.missing(WHERE, reason) for figure in FIGURES)
        return
    bad, good = LEAST, MOST
    if not passes(good):
        raise RuntimeError(
            f"the day does not pass in {MOST} kB: run host_tests/test_toy_memory.py"
        )
    while good - bad > 1:
        middle = (bad + good) // 2
        good, bad = (middle, bad) if passes(middle) else (good, middle)
    yield SMALLEST.on(WHERE, good, f"of {ROOM} kB beside the radio on a plain ESP32")
    used = run_virtual(_watch())
    peak = max(used, key=lambda stage: used[stage])
    yield PEAK.on(
        WHERE,
        used[peak] / KB,
        f"while {peak}; " + ", ".join(f"{stage} {size / KB:.1f}" for stage, size in used.items()),
    )


def passes(size: int) -> bool:
    """Whether one day after another passes in a heap of `size` kB."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # the toy's last words
            for _ in range(DAYS):
                run_virtual(_live(size))
    except (AssertionError, HushbearError, ToyError, TimeoutError, ExceptionGroup):
        return False
    return True


async def _live(size: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        async with made() as make, family(make, heap=size * KB) as (toy, radio, link):
            await live_a_day(toy, radio, link, Path(directory))


async def _watch() -> dict[str, int]:
    """Return the most bytes in use in each part of the day."""
    used: dict[str, int] = {}
    now = ""

    def stage(name: str) -> None:
        nonlocal now
        now = name

    async def look(toy: VirtualToy) -> None:
        await asyncio.sleep(1)  # it boots
        while True:
            _, bytes_used = await toy.memory()
            used[now] = max(used.get(now, 0), bytes_used)
            await asyncio.sleep(SAMPLE_S)

    with tempfile.TemporaryDirectory() as directory:
        async with made() as make, family(make, heap=ROOM * KB) as (toy, radio, link):
            looking = asyncio.create_task(look(toy))
            await live_a_day(toy, radio, link, Path(directory), stage)
            looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await looking
    return used
