"""The clock: set by a phone, kept by the RTC, the same whatever epoch the port has."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from host_tests.ram_flash import SOURCE
from host_tests.targets import Target, dedent
from host_tests.virtual.toy import Cause, VirtualToy

# A board of either epoch, whose RTC begins at 2000-01-01 as the ESP32's does.
BOARD = """
import sys
import time as real

UNIX_2000 = 946684800


def shift(seconds):  # from the board's epoch to that of the machine that runs this
    real_epoch = UNIX_2000 if real.gmtime(0)[0] == 2000 else 0
    return seconds + epoch - real_epoch


class time:
    now = UNIX_2000 - epoch

    @staticmethod
    def time():
        return time.now

    @staticmethod
    def gmtime(seconds):
        return real.gmtime(shift(seconds))


class Rtc:
    def datetime(self, fields):
        year, month, day, weekday, hour, minute, second, _ = fields
        time.now = real.mktime((year, month, day, hour, minute, second, 0, 0)) - shift(0)


sys.modules["time"] = time
from hushbear import clock_file
from hushbear.clock import Clock, within

flash = new_flash(16)


def clock():
    return Clock("/flash/clock.bin")


def set_clock(clock, unix, offset_minutes):
    clock_file.set(clock, Rtc(), unix, offset_minutes)
"""


def run(target: Target, source: str, epoch: int = 946684800, **args: object) -> Any:
    return target.run(SOURCE + BOARD + dedent(source), args={"epoch": epoch, **args})


@pytest.mark.parametrize("epoch", [0, 946684800], ids=["1970", "2000"])
def test_a_phone_sets_the_time(target: Target, epoch: int) -> None:
    noon = 1795219200 + 12 * 3600  # 2026-11-21 12:00 UTC
    assert run(
        target,
        """
        first = clock()
        unset = first.now(), first.minute_of_day(), first.uptime()
        time.now += 100
        set_clock(first, noon, 60)
        just = first.now(), first.minute_of_day(), first.uptime()
        time.now += 3599
        later = first.now(), first.minute_of_day(), first.uptime()
        set_clock(first, noon, -720)
        back = first.now(), first.minute_of_day(), first.uptime()
        result((unset, just, later, back))
        """,
        epoch=epoch,
        noon=noon,
    ) == (
        (0, -1, 0),
        (noon, 13 * 60, 100),
        (noon + 3599, 13 * 60 + 59, 3699),
        (noon, 0, 3699),
    )


def test_the_time_outlives_a_restart_but_not_the_power(target: Target) -> None:
    assert run(
        target,
        """
        set_clock(clock(), 1795219200, 90)
        restart(flash)
        again = clock()
        kept = again.now(), again.minute_of_day(), again.uptime()
        time.now = 5  # the power was off
        dark = clock()
        result((kept, (dark.now(), dark.minute_of_day())))
        """,
    ) == ((1795219200, 90, 0), (0, -1))


@pytest.mark.parametrize("epoch", [0, 946684800], ids=["1970", "2000"])
def test_an_implausible_time_is_refused_and_quiet_hours_go_on(target: Target, epoch: int) -> None:
    assert run(
        target,
        """
        first = clock()
        set_clock(first, 1795219200, 90)
        refused = 0
        for unix, offset in (
            (0, 0), (-5, 0), (1735689599, 0), ((1 << 31) + epoch, 0), (0xFFFFFFFF, 0),
            (1795219200, 841), (1795219200, -841),
        ):
            try:
                set_clock(first, unix, offset)
            except ValueError:
                refused += 1
        quiet = within(first.minute_of_day(), 80, 100)
        set_clock(first, (1 << 31) - 1, 840)
        result((refused, quiet, first.now()))
        """,
        epoch=epoch,
    ) == (7, True, (1 << 31) - 1)


def test_a_damaged_offset_file_means_utc(target: Target) -> None:
    assert run(
        target,
        """
        found = []
        for data in (b"", b"1", b"123", bytes([255, 127])):
            with open("/flash/clock.bin", "wb") as file:
                file.write(data)
            first = clock()
            time.now = 1795219200 - epoch
            found.append(first.minute_of_day())
        result(found)
        """,
    ) == [0, 0, 0, 0]


def test_quiet_hours_go_over_midnight(target: Target) -> None:
    spans = [(1200, 360), (60, 120), (0, 0), (1439, 0), (0, 1439)]
    minutes = [-1, 0, 59, 60, 119, 120, 359, 360, 1199, 1200, 1438, 1439]
    assert run(
        target,
        "result([[m for m in minutes if within(m, *span)] for span in spans])",
        spans=spans,
        minutes=minutes,
    ) == [
        [0, 59, 60, 119, 120, 359, 1200, 1438, 1439],
        [60, 119],
        [],
        [1439],
        [0, 59, 60, 119, 120, 359, 360, 1199, 1200, 1438],
    ]


@pytest.mark.targets("unix")
@pytest.mark.virtual_time
async def test_on_a_whole_toy_the_time_outlives_all_but_the_power(
    virtual_toy: Callable[..., VirtualToy],
) -> None:
    main = """
import machine
from hushbear import clock_file
from hushbear.clock import Clock

clock = Clock()
print("now", clock.now(), clock.minute_of_day())
if machine.reset_cause() == machine.PWRON_RESET:
    clock_file.set(clock, machine.RTC(), 1795219200, 120)
    print("set", clock.now(), clock.minute_of_day())
"""
    async with virtual_toy(main=main) as toy:
        await toy.wait_stopped()
        await asyncio.sleep(3600)
        await toy.restart(Cause.WATCHDOG)
        await toy.wait_stopped()
        await toy.restart()
        await toy.wait_stopped()
        first, just, later, dark, *_ = [line for line in toy.console if line[:3] in ("now", "set")]
    assert first == dark == "now 0 -1"
    assert just == "set 1795219200 120"
    assert later in [f"now {1795219200 + seconds} 180" for seconds in (3600, 3601, 3602)]
