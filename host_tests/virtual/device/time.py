"""Stand-in for `time`: the ESP32 port's epoch of 2000, a clock that machine.RTC sets, and sleeping
that lets virtual time pass."""

import sigio
import struct

import bus
import utime
from utime import ticks_add, ticks_cpu, ticks_diff, ticks_ms, ticks_us  # noqa: F401

_EPOCH = 946684800  # 2000-01-01 in Unix time

_set_to = bus.config["rtc"]
_set_at = sigio.seconds()


def time():
    return _set_to + sigio.seconds() - _set_at


def set_time(seconds):
    """What machine.RTC does with the clock."""
    global _set_to, _set_at
    _set_to = seconds
    _set_at = sigio.seconds()
    bus.send(bus.SYS, bus.RTC, struct.pack("<I", seconds))


def time_ns():
    return time() * 1_000_000_000


def gmtime(seconds=None):
    if seconds is None:
        seconds = time()
    return utime.gmtime(seconds + _EPOCH)[:8]


localtime = gmtime  # the chip knows no time zones


def mktime(fields):
    return utime.mktime(tuple(fields[:8])) - _EPOCH


if bus.virtual:

    def sleep(seconds):
        bus.sleep_ms(int(seconds * 1000))

    sleep_ms = bus.sleep_ms
    sleep_us = bus.sleep_us
else:
    from utime import sleep, sleep_ms, sleep_us  # noqa: F401
