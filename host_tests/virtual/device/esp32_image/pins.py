"""What is connected to the pins of an emulated ESP32. machine.Pin and registers are the chip's.

The emulator has no wires to its inputs that a host could pull: all that ever sets a bit of the
input register is a pin that puts it out. So a level that comes in is put out for a moment. It does
not interrupt, but the firmware looks at its paws besides. What the chip puts out is told from time
to time.

Where that sets nothing, as the emulator has no pins at all, nothing here is `wired`.
"""

from micropython import const

import bus
import line
from umachine import mem32

_MODE = const(1)  # ops of GPIO, see chip_pins.py
_WRITE = const(2)
_EDGE = const(4)
_INPUT = const(1)
_PULL_UP = const(2)
_OUT = 0x3FF44004
_OUT_SET = 0x3FF44008
_OUT_CLEAR = 0x3FF4400C
_ENABLE_SET = 0x3FF44024
_ENABLE_CLEAR = 0x3FF44028
_IN = 0x3FF4403C

_told = 0


def _put_in(pin, level):
    bit = 1 << pin
    # The register follows a change of what a pin puts out, so there must be one.
    mem32[_OUT_CLEAR if level else _OUT_SET] = bit
    mem32[_ENABLE_SET] = bit
    mem32[_OUT_SET if level else _OUT_CLEAR] = bit
    mem32[_ENABLE_CLEAR] = bit
    mem32[_OUT_CLEAR] = bit
    return mem32[_IN] >> pin & 1 == level


def _edge(op, payload):
    if op == _EDGE:
        _put_in(payload[0], payload[1])


def _look():
    global _told
    out = mem32[_OUT]
    changed = out ^ _told
    if changed:
        depth = bus.unlock()
        _told = out
        for pin in range(32):
            if changed >> pin & 1:
                bus.send(bus.GPIO, _WRITE, bytes((pin, out >> pin & 1)))
        bus.lock(depth)


wired = bus.config["wired"]
for _pin, _level in bus.config["inputs"]:
    wired = wired and _put_in(_pin, not _level) and _put_in(_pin, _level)
if wired:
    bus.on(bus.GPIO, _edge)
    for _pin, _ in bus.config["inputs"]:  # they may have changed before anybody listened
        _put_in(_pin, bus.call(bus.GPIO, _MODE, bytes((_pin, _INPUT, _PULL_UP)))[0])
    line.every(_look)
