"""What is soldered to the toy's pins: paws, and an LED."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import random
import struct
from collections.abc import Callable

from .bus import Bus, Channel

_PULL_DOWN, _PULL_UP = 1, 2
_OUTPUT = 2
_CLOSED = 0  # a paw is a switch to ground
_BOUNCE_S = 0.005  # how long contacts bounce


class Op(enum.IntEnum):
    MODE = 1
    WRITE = 2
    PWM = 3
    EDGE = 4


class Pins:
    """The chip's pins as seen from outside."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._outside: dict[int, int] = {}  # what is connected; a pin left out floats
        self.watchers: list[Callable[[int, float, float], None]] = []  # (pin, duty, blinks in Hz)
        self.power_off()
        bus.on(Channel.GPIO, self._handle)

    def power_off(self) -> None:
        """The chip forgets how it was configured; what is connected stays."""
        self._mode: dict[int, int] = {}
        self._pull: dict[int, int] = {}
        self._output: dict[int, int] = {}

    def level(self, pin: int) -> int:
        """What a look at the pin says."""
        if pin in self._outside:
            return self._outside[pin]
        if self._mode.get(pin, 0) & _OUTPUT:
            return self._output.get(pin, 0)
        return 1 if self._pull.get(pin, 0) & _PULL_UP else 0

    def connect(self, pin: int, level: int | None) -> None:
        """Connect a pin to ground (0) or the supply (1), or let it float (None)."""
        before = self.level(pin)
        if level is None:
            self._outside.pop(pin, None)
        else:
            self._outside[pin] = level
        if self.level(pin) != before:
            self._bus.send(Channel.GPIO, Op.EDGE, bytes((pin, self.level(pin))))

    def _handle(self, op: int, payload: bytes) -> bytes | None:
        pin = payload[0]
        if op == Op.MODE:
            self._mode[pin], self._pull[pin] = payload[1], payload[2]
            return bytes((self.level(pin),))
        if op == Op.WRITE:
            self._output[pin] = payload[1]
            self._tell(pin, float(payload[1]), 0.0)
        elif op == Op.PWM:
            _, hz, duty = struct.unpack("<BIH", payload)
            self._tell(pin, duty / 65535 if hz else 0.0, float(hz) if 0 < hz < 20 else 0.0)
        return None

    def _tell(self, pin: int, duty: float, blink_hz: float) -> None:
        for watcher in self.watchers:
            watcher(pin, duty, blink_hz)


class Paw:
    """A switch under plush. Its contacts bounce when told so."""

    def __init__(self, pins: Pins, pin: int, seed: int) -> None:
        self._pins = pins
        self.pin = pin
        self._random = random.Random(seed + pin)

    def press(self, bounce: int = 0) -> None:
        """Close it; before it stays closed it opens again `bounce` times within 5 ms."""
        self._change(_CLOSED, bounce)

    def release(self, bounce: int = 0) -> None:
        """Open it."""
        self._change(None, bounce)

    def _change(self, to: int | None, bounce: int) -> None:
        loop = asyncio.get_running_loop()
        other = None if to == _CLOSED else _CLOSED
        times = sorted(self._random.uniform(0.0001, _BOUNCE_S) for _ in range(2 * bounce))
        self._pins.connect(self.pin, to)
        for i, after in enumerate(times):
            loop.call_later(after, self._pins.connect, self.pin, to if i % 2 else other)


@dataclasses.dataclass(frozen=True)
class Light:
    """How the LED looks from `time` on."""

    time: float  # s on the loop's clock
    level: float  # 0 dark … 1 as bright as it goes
    colour: tuple[int, ...] | None = None  # of a NeoPixel
    blink_hz: float = 0.0  # slow PWM: it blinks by itself


class Led:
    """The toy's LED, whichever kind the board has, and everything it ever showed."""

    def __init__(self, bus: Bus, pins: Pins, pin: int) -> None:
        self._loop = bus.loop
        self._pin = pin
        self._waiting: set[asyncio.Future[None]] = set()
        self.history: list[Light] = [Light(self._loop.time(), 0.0)]
        pins.watchers.append(self._duty)
        bus.on(Channel.NEOPIXEL, self._pixel)

    @property
    def now(self) -> Light:
        return self.history[-1]

    @property
    def on(self) -> bool:
        return self.now.level > 0

    def at(self, time: float) -> Light:
        """Return what it showed at a time."""
        return next((x for x in reversed(self.history) if x.time <= time), self.history[0])

    def lit(self, start: float, end: float) -> float:
        """Return the share of a span of time in which it was on."""
        changes = [self.at(start), *(x for x in self.history if start < x.time < end)]
        ends = [x.time for x in changes[1:]] + [end]
        lit = sum(
            stop - max(x.time, start) for x, stop in zip(changes, ends, strict=True) if x.level
        )
        return lit / (end - start)

    async def wait_for(
        self, condition: Callable[[Light], bool], timeout: float | None = 10
    ) -> Light:
        """Wait until what it shows meets the condition; raise TimeoutError if it never does."""
        async with asyncio.timeout(timeout):
            while not condition(self.now):
                waiter = self._loop.create_future()
                self._waiting.add(waiter)
                try:
                    await waiter
                finally:
                    self._waiting.discard(waiter)
        return self.now

    def power_off(self) -> None:
        self._show(Light(self._loop.time(), 0.0))

    def _duty(self, pin: int, duty: float, blink_hz: float) -> None:
        if pin == self._pin:
            self._show(Light(self._loop.time(), duty, None, blink_hz))

    def _pixel(self, op: int, payload: bytes) -> None:
        if payload[0] == self._pin:
            green, red, blue = payload[2:5]
            colour = (red, green, blue)
            self._show(Light(self._loop.time(), max(colour) / 255, colour))

    def _show(self, light: Light) -> None:
        if (light.level, light.colour, light.blink_hz) != (
            self.now.level, self.now.colour, self.now.blink_hz,
        ):  # fmt: skip
            self.history.append(light)
            for waiter in self._waiting:
                if not waiter.done():
                    waiter.set_result(None)
