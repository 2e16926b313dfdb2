"""Stand-in for `machine` of the ESP32 port: watchdog, clock, timers, resets; I2S, pins and PWM are
in modules of their own.
"""

import binascii
import struct
import time
from micropython import const

import bus
from chip_i2s import I2S  # noqa: F401
from chip_pins import PWM, Pin  # noqa: F401
from umachine import Signal  # noqa: F401

PWRON_RESET = const(1)
HARD_RESET = const(2)
WDT_RESET = const(3)
DEEPSLEEP_RESET = const(4)
SOFT_RESET = const(5)


class WDT:
    """The task watchdog: once started it cannot be stopped; a new timeout replaces the old."""

    def __init__(self, id=0, timeout=5000):
        if id != 0:
            raise ValueError
        if timeout <= 0:
            raise ValueError("WDT timeout too short")
        bus.send(bus.WDT, 1, struct.pack("<I", timeout))

    def feed(self):
        bus.send(bus.WDT, 2)


class RTC:
    def datetime(self, fields=None):
        if fields is not None:
            self._set(fields[:3], fields[4:7])
            return
        year, month, day, hour, minute, second, weekday, _ = time.gmtime()
        return year, month, day, weekday, hour, minute, second, 0

    def init(self, fields):
        self._set(fields[:3], fields[3:6])

    def _set(self, date, clock):
        time.set_time(time.mktime(tuple(date) + tuple(clock) + (0, 0)))

    def memory(self, data=None):
        raise NotImplementedError


class Timer:
    ONE_SHOT = 0
    PERIODIC = 1

    def __init__(self, id, **kwargs):
        if not 0 <= id < 4:
            raise ValueError("invalid Timer number")
        self._id = id
        self._callback = None
        if kwargs:
            self.init(**kwargs)

    def init(self, *, mode=PERIODIC, callback=None, period=0xFFFFFFFF, freq=None):
        us = int(1_000_000 / freq) if freq else period * 1000
        self._callback = callback
        _timers[self._id] = self
        bus.send(bus.SYS, bus.TIMER, struct.pack("<BBI", self._id, mode, us))

    def deinit(self):
        self._callback = None
        bus.send(bus.SYS, bus.TIMER, struct.pack("<BBI", self._id, 0, 0))

    def value(self):
        raise NotImplementedError


_timers = {}


def _timer(payload):
    timer = _timers.get(payload[0])
    if timer and timer._callback:
        bus.interrupt(timer._callback, timer)


bus.system[bus.TIMER] = _timer


def reset():
    bus.call(bus.SYS, bus.RESET, bytes((HARD_RESET,)))


def soft_reset():
    bus.call(bus.SYS, bus.RESET, bytes((SOFT_RESET,)))


def reset_cause():
    return bus.config["cause"]


def unique_id():
    return binascii.unhexlify(bus.config["unique_id"])


def freq(hz=None):
    if hz is None:
        return 160_000_000
    if hz not in (20_000_000, 40_000_000, 80_000_000, 160_000_000, 240_000_000):
        raise ValueError("frequency must be 20MHz, 40MHz, 80Mhz, 160MHz or 240MHz")


def idle():
    time.sleep_ms(1)


def lightsleep(ms=0):
    time.sleep_ms(ms)


def disable_irq():
    return bus.mask(True)


def enable_irq(state):
    bus.mask(state)
