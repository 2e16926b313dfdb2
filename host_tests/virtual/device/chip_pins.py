"""Stand-ins for `machine.Pin` and `machine.PWM` of the ESP32 port; see gpio.py of the host.

Pin handlers are soft interrupts: they run between bytecodes, one at a time, and read the level
the pin has by then. What they raise is printed and forgotten.
"""

import struct
from micropython import const

import bus

# Ops of GPIO
_MODE = const(1)  # call: u8 pin, mode, pull; answers u8 level
_WRITE = const(2)  # u8 pin, level
_PWM = const(3)  # u8 pin, u32 Hz, u16 duty; 0 Hz: no PWM any more
_EDGE = const(4)  # from the host: u8 pin, level

_pins = {}
_levels = bytearray(64)


class Pin:
    IN = 1
    OUT = 3
    OPEN_DRAIN = 7
    PULL_DOWN = 1
    PULL_UP = 2
    IRQ_RISING = 1
    IRQ_FALLING = 2
    WAKE_LOW = 4
    WAKE_HIGH = 5
    DRIVE_0 = 0
    DRIVE_1 = 1
    DRIVE_2 = 2
    DRIVE_3 = 3

    def __new__(cls, pin, *args, **kwargs):
        if isinstance(pin, Pin):
            pin = pin._id
        if pin not in bus.config["pins"]:
            raise ValueError("invalid pin")
        if pin not in _pins:
            _pins[pin] = super().__new__(cls)
            _pins[pin]._make(pin)
        return _pins[pin]

    def __init__(self, pin, *args, **kwargs):
        if args or kwargs:
            self.init(*args, **kwargs)

    def _make(self, pin):
        self._id = pin
        self._mode = 0
        self._pull = 0
        self._handler = None
        self._trigger = 0

    def init(self, mode=None, pull=-1, *, value=None, drive=None, hold=None):
        if mode is not None:
            if mode & 2 and self._id in bus.config["input_only"]:
                raise ValueError("pin can only be input")
            self._mode = mode
        if pull != -1:
            self._pull = pull or 0
        if value is not None:
            bus.send(bus.GPIO, _WRITE, bytes((self._id, bool(value))))
        call = bytes((self._id, self._mode, self._pull))
        _levels[self._id] = bus.call(bus.GPIO, _MODE, call)[0]

    def value(self, value=None):
        if value is None:
            return _levels[self._id]
        level = 1 if value else 0
        if self._mode & 2:
            _levels[self._id] = level
        depth = bus.unlock()
        bus.send(bus.GPIO, _WRITE, bytes((self._id, level)))
        bus.lock(depth)

    def __call__(self, value=None):
        return self.value(value)

    def on(self):
        self.value(1)

    def off(self):
        self.value(0)

    def toggle(self):
        self.value(1 - _levels[self._id])

    def irq(self, handler=None, trigger=3, wake=None):
        self._handler = handler
        self._trigger = trigger if handler else 0
        return self

    def __repr__(self):
        return f"Pin({self._id})"


def _set_level(op, payload):
    if op == _EDGE:
        _levels[payload[0]] = payload[1]


def _edge(op, payload):
    pin = _pins.get(payload[0])
    if op == _EDGE and pin and pin._handler:
        if pin._trigger & (Pin.IRQ_RISING if payload[1] else Pin.IRQ_FALLING):
            bus.interrupt(pin._handler, pin)


bus.on(bus.GPIO, _edge, _set_level)


class PWM:
    def __init__(self, dest, *, freq=5000, duty=None, duty_u16=None, duty_ns=None):
        self._pin = Pin(dest)
        self._freq = 0
        self._duty = 32768
        self.init(freq=freq, duty=duty, duty_u16=duty_u16, duty_ns=duty_ns)

    def init(self, *, freq=None, duty=None, duty_u16=None, duty_ns=None):
        if freq is not None:
            if not 1 <= freq <= 40_000_000:
                raise ValueError("frequency must be from 1Hz to 40MHz")
            self._freq = freq
        if duty is not None:
            self._duty = duty * 64
        if duty_u16 is not None:
            self._duty = duty_u16
        if duty_ns is not None:
            self._duty = min(65535, duty_ns * self._freq * 65535 // 1_000_000_000)
        if not 0 <= self._duty <= 65535:
            raise ValueError("duty_u16 must be from 0 to 65535")
        self._send(self._freq)

    def _send(self, freq):
        depth = bus.unlock()
        bus.send(bus.GPIO, _PWM, struct.pack("<BIH", self._pin._id, freq, self._duty))
        bus.lock(depth)

    def freq(self, value=None):
        if value is None:
            return self._freq
        self.init(freq=value)

    def duty_u16(self, value=None):
        if value is None:
            return self._duty
        self.init(duty_u16=value)

    def duty(self, value=None):
        if value is None:
            return self._duty // 64
        self.init(duty=value)

    def deinit(self):
        self._send(0)
