"""Flash and NVS of the virtual toy, with little scripts as its firmware."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from host_tests.virtual.storage import FlashModel
from host_tests.virtual.toy import Cause, VirtualToy

pytestmark = [pytest.mark.targets("unix"), pytest.mark.virtual_time]

Make = Callable[..., VirtualToy]

WRITE = """
import os
data = bytes(range(256)) * 8
for i in range(6):
    with open("/new", "wb") as f:
        f.write(b"%d:" % i)
        f.write(data)
    os.rename("/new", "/kept")
    print("confirmed", i)
"""
CHECK = """
import os
print(sorted(n for n in os.listdir("/") if "." not in n))
with open("/kept", "rb") as f:
    kept = f.read()
i, data = kept.split(b":", 1)
print("kept", int(i), data == bytes(range(256)) * 8)
"""


async def test_files_are_there_after_a_power_cut(virtual_toy: Make) -> None:
    async with virtual_toy(main=WRITE) as toy:
        assert await toy.wait_stopped() == "ended"
        counts = await toy.flash.counts()
        assert counts.violations == 0
        assert counts.programs > 0 and counts.erases > 0
        assert bytes(range(256)) in toy.flash_image()
        toy.power_cut()
        assert not toy.running
        await asyncio.sleep(5)
        await toy.restart()
        await toy.wait_stopped()
        assert toy.console.count("confirmed 5") == 2
    async with virtual_toy(main=CHECK) as toy:  # the same directory: the same toy
        await toy.wait_stopped()
        assert toy.console[-1] == "kept 5 True"


@pytest.mark.parametrize("permille", [0, 370, 1000])
async def test_power_lost_in_any_flash_operation_leaves_whole_files(
    virtual_toy: Make, permille: int
) -> None:
    async with virtual_toy("whole", main=WRITE) as toy:
        await toy.wait_stopped()
        counts = await toy.flash.counts()
        operations = counts.programs + counts.erases
    for cut in range(5, operations, 7):
        model = FlashModel(cut_after=cut, cut_permille=permille)
        async with virtual_toy(f"cut{cut}", main=WRITE, flash=model) as toy:
            await toy.off.wait()
            done = [int(x.split()[1]) for x in toy.console if x.startswith("confirmed")]
            assert toy.flash.last_counts is not None
            assert toy.flash.last_counts.programs + toy.flash.last_counts.erases == cut
        async with virtual_toy(f"cut{cut}", main=CHECK) as toy:
            how = await toy.wait_stopped()
            if done:
                assert how == "ended"
                _, last, good = toy.console[-1].split()
                assert good == "True"
                assert int(last) - done[-1] in (0, 1)


async def test_programming_does_not_set_bits(virtual_toy: Make) -> None:
    script = """
from esp32 import Partition
part = Partition.find(Partition.TYPE_DATA, label="vfs")[0]
buf = bytearray(4)
part.ioctl(6, 400)
part.readblocks(400, buf, 0)
print(buf)
part.writeblocks(400, b"\\x0f\\xf0\\xff\\x00", 0)
part.writeblocks(400, b"\\xff\\x30\\x55\\x00", 0)
part.readblocks(400, buf, 0)
print(buf, part.info()[3], part.ioctl(4, 0), part.ioctl(5, 0))
"""
    async with virtual_toy(main=script) as toy:
        assert await toy.wait_stopped() == "ended"
        assert toy.console == [
            "bytearray(b'\\xff\\xff\\xff\\xff')",
            "bytearray(b'\\x0f0U\\x00') 2097152 512 4096",
        ]
        assert (await toy.flash.counts()).violations == 1


async def test_a_slow_flash_holds_everything_up(virtual_toy: Make) -> None:
    script = """
import machine, time
times = []
machine.Timer(0, period=10, callback=lambda t: times.append(time.ticks_ms()))
time.sleep_ms(55)
with open("/x", "wb") as f:
    f.write(bytes(8192))
print(max(b - a for a, b in zip(times, times[1:])))
"""
    async with virtual_toy(main=script, flash=FlashModel(erase_ms=80, program_ms=1)) as toy:
        assert await toy.wait_stopped() == "ended"
        assert int(toy.console[-1]) >= 80


async def test_a_worn_out_flash_is_an_error_the_firmware_sees(virtual_toy: Make) -> None:
    script = """
import time
with open("/x", "wb") as f:
    f.write(b"x")
time.sleep(1)
try:
    with open("/y", "wb") as f:
        f.write(bytes(9000))
except OSError as e:
    print("errno", e.errno)
"""
    async with virtual_toy(main=script) as toy:
        await asyncio.sleep(0.5)
        toy.flash.model.fail_after = 0
        await toy.flash.apply()
        await toy.wait_stopped()
        assert toy.console[-1] == "errno 5"


NVS = """
import machine, time
from esp32 import NVS
nvs = NVS("test")
buf = bytearray(8)
def show(key):
    try:
        n = nvs.get_blob(key, buf)
        return bytes(buf[:n])
    except OSError as e:
        return e.args
print(show("a"), show("b"))
nvs.set_blob("a", b"first")
nvs.set_i32("n", -5)
nvs.commit()
nvs.set_blob("a", b"second")
nvs.set_blob("b", b"long enough to fail")
print(show("a"), show("b"), nvs.get_i32("n"))
nvs.erase_key("n")
try:
    nvs.get_i32("n")
except OSError as e:
    print(e.args)
print("uncommitted")
time.sleep(100)
"""


async def test_nvs_keeps_what_was_committed_and_no_more(virtual_toy: Make) -> None:
    missing = "(-4354, 'ESP_ERR_NVS_NOT_FOUND')"
    async with virtual_toy(main=NVS, founded=False) as toy:
        await toy.wait_console("uncommitted")
        toy.power_cut()
        assert toy.console == [
            f"{missing} {missing}",
            "b'second' (-4364, 'ESP_ERR_NVS_INVALID_LENGTH') -5",
            missing,
            "uncommitted",
        ]
        assert toy.nvs.stored() == {"test/1/a": b"first", "test/0/n": b"\xfb\xff\xff\xff"}
        await toy.restart(Cause.POWER_ON)
        await toy.wait_console(r"^b'first' ")


async def test_the_firmware_has_the_heap_it_was_given(virtual_toy: Make) -> None:
    script = "import time\nkept = bytearray(20000)\ntime.sleep(1)"
    async with virtual_toy(main="import time; time.sleep(1)", heap=64 * 1024) as toy:
        await asyncio.sleep(0.1)
        free, _ = await toy.memory()
        assert 60_000 < free < 67_000
    async with virtual_toy(main=script, heap=64 * 1024) as toy:
        await asyncio.sleep(0.1)
        after, used = await toy.memory()
        assert 20_000 < free - after < 20_600
        assert used > 20_000
