"""Tells the host the time of an emulated ESP32, by which sound comes and goes there.

The chip waits for the answer, and this time does not count: a host that is busy makes the sound
slower, as it makes the chip, and nothing is lost that a real chip would not have lost.
"""

from micropython import const

import bus
import line
from utime import ticks_diff

_PERIOD_US = const(8000)  # half a descriptor of the DMA ring

_told = 0


def _look():
    global _told
    now = line.micros()
    if ticks_diff(now, _told) >= _PERIOD_US:
        _told = now
        bus.call(bus.SYS, bus.TICK)


line.every(_look)
