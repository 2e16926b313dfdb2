"""A locked toy has no REPL, and who opens it by hand finds no key."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from host_tests.virtual import FlashModel, VirtualToy
from host_tests.virtual.library import compiled_library
from host_tests.virtual.radio import VirtualRadio

pytestmark = [pytest.mark.targets("unix"), pytest.mark.virtual_time]

Make = Callable[..., VirtualToy]

PSK = bytes(range(64, 96))
NAME = b"the phone of somebody"
FAMILY = f"""
from hushbear.family import Family
from hushbear.keys import Keys
family = Family(Keys())
family.found()
family.add({PSK!r}, b"sender00", {NAME!r}, 1000)
"""
FULL = """
piece = bytes(512)
with open("/big", "wb") as file:
    try:
        while True:
            file.write(piece)
    except OSError:
        pass
"""
LOCK = "from hushbear import lock; lock.lock()"
LOCKED = {"hushbear/0/locked"}

# main.py of a toy whose app ends in each way that there is
ENDS = """
exec(open("/firmware/boot.py").read())
import machine, time
from hushbear import app
def run(board, buffers):
    {ending}
app.run = run
exec(open("/firmware/main.py").read())
"""


@contextlib.asynccontextmanager
async def locked(virtual_toy: Make, **options: Any) -> AsyncIterator[VirtualToy]:
    """A locked toy that knows a phone, without power."""
    async with virtual_toy(autostart=False, air=VirtualRadio(), **options) as toy:
        await toy.exec_repl(FAMILY + LOCK)
        assert PSK in toy.nvs.image()
        assert toy.nvs.stored().keys() > LOCKED
        yield toy


def opened(toy: VirtualToy) -> bool:
    """Whether neither the lock nor a key is left, in any byte."""
    image = toy.nvs.image()
    return PSK not in image and NAME not in image and toy.nvs.stored() == {}


async def test_a_locked_toy_lives_on(virtual_toy: Make) -> None:
    async with locked(virtual_toy) as toy:
        await toy.restart()
        await asyncio.sleep(2)
        assert toy.stopped is None
        await toy.hold("record", 1.5)
        assert len(toy.mic.opened) == 1


@pytest.mark.parametrize(
    "ending",
    ["return", "raise KeyboardInterrupt", "raise SystemExit", "raise MemoryError", "1 / 0"],
)
async def test_however_the_program_ends_it_starts_again(virtual_toy: Make, ending: str) -> None:
    async with locked(virtual_toy, main=ENDS.format(ending=ending)) as toy:
        await toy.restart()
        starts = len(toy.causes)
        await toy.wait_restart(starts + 2, timeout=120)
        assert toy.stopped is None
        assert PSK in toy.nvs.image()


@pytest.mark.parametrize("missing", ["app.mpy", "once.mpy", "mode.mpy", "pwm_light.mpy"])
async def test_a_library_that_is_not_whole_does_not_end_in_the_repl(
    virtual_toy: Make, tmp_path: Path, missing: str
) -> None:
    library = tmp_path / "lib"
    shutil.copytree(compiled_library(), library)
    async with locked(virtual_toy, lib=library) as toy:
        (library / "hushbear" / missing).unlink()
        await toy.restart()
        starts = len(toy.causes)
        await toy.wait_restart(starts + 1, timeout=120)
        assert toy.stopped is None


@pytest.mark.parametrize("board", ["esp32_devkitc", "esp32_s3", "esp32_c3"])
async def test_the_record_paw_held_at_power_up_opens_it_without_a_key(
    virtual_toy: Make, board: str
) -> None:
    async with locked(virtual_toy, board=board) as toy:
        toy.press("record")
        await toy.restart()
        starts = len(toy.causes)
        since = toy.loop.time()
        await toy.wait_restart(starts + 1)
        assert toy.loop.time() - since >= 10
        assert opened(toy)
        assert await toy.wait_stopped() == "ended"  # safe mode, the REPL
        assert toy.led.on
        assert any("safe mode" in line for line in toy.console)
        toy.release("record")
        await toy.restart()
        await asyncio.sleep(2)
        assert toy.stopped is None, "it has to live on, as new"
        assert "unlocking" not in await toy.exec_repl("import os; print(os.listdir('/'))")


async def test_the_paw_let_go_leaves_it_locked(virtual_toy: Make) -> None:
    async with locked(virtual_toy) as toy:
        toy.press("record")
        await toy.restart()
        await asyncio.sleep(8)
        assert len({light.level for light in toy.led.history}) > 1
        toy.release("record")
        await asyncio.sleep(20)
        assert toy.stopped is None
        assert PSK in toy.nvs.image()
        assert toy.nvs.stored().keys() > LOCKED


async def test_a_paw_held_while_the_toy_restarts_by_itself_opens_nothing(
    virtual_toy: Make,
) -> None:
    hangs = ENDS.format(ending="time.sleep(20); machine.reset()")
    async with locked(virtual_toy, main=hangs) as toy:
        await toy.restart()
        starts = len(toy.causes)
        await asyncio.sleep(10)
        toy.press("record")  # a child that records
        await toy.wait_restart(starts + 4, timeout=120)
        assert PSK in toy.nvs.image()
        assert toy.nvs.stored().keys() > LOCKED


@pytest.mark.parametrize("written", [False, True], ids=["before it", "after it"])
async def test_a_loss_of_power_leaves_a_lock_or_no_key(virtual_toy: Make, written: bool) -> None:
    async with locked(virtual_toy) as toy:
        image, flash = toy.nvs.image(), toy.flash_image()
        cuts = 0
        while True:
            toy.power_cut()
            toy.nvs.path.write_bytes(image)
            toy.nvs.power_off()
            toy.flash.path.write_bytes(flash)
            toy.nvs.cut_after, toy.nvs.cut_written = cuts, written
            toy.press("record")
            await toy.restart()
            starts = len(toy.causes)
            while not toy.off.is_set() and len(toy.causes) == starts:
                await asyncio.sleep(0.1)
            toy.release("record")
            if not toy.off.is_set():
                break
            cuts += 1
            # Nobody holds it now: it goes on by itself, and ends in the app.
            await toy.restart()
            await toy.wait_restart(len(toy.causes) + 1)
            await asyncio.sleep(1)
            assert toy.stopped is None
            assert opened(toy), cuts
        assert cuts > 6, "it went at every page"


async def test_it_opens_though_the_flash_is_full(virtual_toy: Make) -> None:
    async with locked(virtual_toy, flash=FlashModel(blocks=48)) as toy:
        await toy.exec_repl(FULL)
        toy.press("record")
        await toy.restart()
        await toy.wait_restart(len(toy.causes) + 1)
        assert opened(toy)


async def test_a_factory_reset_that_has_begun_locks_until_it_is_done(virtual_toy: Make) -> None:
    async with virtual_toy(autostart=False, air=VirtualRadio()) as toy:
        assert await toy.exec_repl("import board; print(board.locked)") == "False"
        await toy.exec_repl(FAMILY + "from hushbear import mode; mode.erase()")
        assert await toy.exec_repl("import board; print(board.locked)") == "True"
        await toy.restart()
        await toy.wait_restart(len(toy.causes) + 1)
        assert await toy.exec_repl("import board; print(board.locked)") == "False"
        assert opened(toy)
