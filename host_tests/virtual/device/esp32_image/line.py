"""The wire under the bus, and the chip's clock, on an emulated ESP32: its UART 2.

What a chip that was reset had said half stays on the wire, and so does what it had not heard.
Each side begins with MARK, and ignores what comes before the other's; the chip's has reset_cause()
behind it.
"""

import micropython
from micropython import const

from umachine import UART, Timer, mem32, reset_cause
from utime import ticks_add, ticks_diff, ticks_us

virtual = False

_MARK = b"\x00\xf0hushbear bus\xf1\x00"
_LOOK_MS = const(2)  # this image has no interrupt of a UART that Python could get

_uart = UART(2, baudrate=5_000_000, rx=16, tx=17, rxbuf=8192, timeout=60000)

ready = _uart.any
_looks = []
_wired = 0  # µs that reading and writing took, of which a chip with real peripherals has none


def read(n):
    """Return n bytes, waiting for them."""
    global _wired
    began = ticks_us()
    data = _uart.read(n)
    _wired = ticks_add(_wired, ticks_diff(ticks_us(), began))
    return data


def write(data):
    global _wired
    began = ticks_us()
    _uart.write(data)
    _wired = ticks_add(_wired, ticks_diff(ticks_us(), began))


def micros():
    """Return what the chip's clock would be without the wire, modulo 1 << 30."""
    return ticks_diff(ticks_us(), _wired) & 0x3FFFFFFF


def locked():
    """Return how deep the heap is locked. The image has no heap_locked(): this tries."""
    depth = 0
    while True:
        try:
            bytearray(1)
            break
        except MemoryError:
            micropython.heap_unlock()
            depth += 1
    for _ in range(depth):
        micropython.heap_lock()
    return depth


def every(look):
    """Call look() between bytecodes every few milliseconds."""
    _looks.append(look)


def watch(callback):
    """Call callback(_) between bytecodes whenever there is something to read."""

    def look():
        if ready():
            callback(0)

    every(look)


def _tick(timer):
    # Not periodic: this emulator's timers stop for good when they are served a period late.
    try:
        for look in _looks:
            look()
    finally:
        timer.init(mode=Timer.ONE_SHOT, period=_LOOK_MS, callback=_tick)


def lost():
    """The host is gone."""
    raise OSError("the bus is silent")


# The interrupt watchdog of the IDF bites a chip that the host gave no time for 0.3 s. This one is
# not the toy's, which is the task watchdog in the other timer group.
mem32[0x3FF60064] = 0x50D83AA1
mem32[0x3FF60048] = 0
mem32[0x3FF60064] = 0

write(_MARK + bytes((reset_cause(),)))
_seen = b""
while _seen != _MARK:
    _seen = (_seen + read(1))[-len(_MARK) :]
_tick(Timer(3))
