"""The wire under the bus, and the chip's clock, on an emulated ESP32: its UART 2.

What a chip that was reset had said half stays on the wire, and so does what it had not heard.
Each side begins with MARK, and ignores what comes before the other's; the chip's has reset_cause()
behind it.
"""

import micropython
from micropython import const

from umachine import UART, Timer, mem32, reset_cause
from utime import ticks_diff, ticks_us

virtual = False

_MARK = b"\x00\xf0hushbear bus\xf1\x00"
_LOOK_MS = const(2)  # this image has no interrupt of a UART that Python could get
_BUSY_US = const(20000)
_AHEAD_US = const(32000)  # of what the host knows; a DMA ring holds 64 ms or more

_uart = UART(2, baudrate=5_000_000, rx=16, tx=17, rxbuf=8192, timeout=60000)

write = _uart.write
read = _uart.read
ready = _uart.any
_looks = []
_time = 0
_seen = ticks_us()
known = 0  # what the host has heard of the time


def micros():
    """Return the µs, modulo 1 << 30, that the chip has lived through.

    As its clock says, with two exceptions: idle, it jumps over what the emulator had no processor
    for, so that at once it counts for no more than the firmware may be busy for; and where the
    host is late, time waits for it.
    """
    # No branch in here: no callback gets into the middle.
    global _time, _seen
    now = ticks_us()
    ahead = (_time - known) & 0x3FFFFFFF
    _time = (_time + min(ticks_diff(now, _seen), _BUSY_US, _AHEAD_US - ahead)) & 0x3FFFFFFF
    _seen = now
    return _time


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
_heard = b""
while _heard != _MARK:
    _heard = (_heard + read(1))[-len(_MARK) :]
_tick(Timer(3))
