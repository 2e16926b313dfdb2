"""The clock that a toy's peripherals go by: the event loop's, or that of the chip itself.

An emulated chip runs at its own pace. What it hears and says is right only by its own clock, which
its bus tells the host with every frame.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable
from typing import Protocol

RANGE = 1 << 30  # µs: after so many, MicroPython's ticks begin again


class Alarm(Protocol):
    def cancel(self) -> None:
        """Do not ring."""


class Clock(Protocol):
    """As much of an event loop as a peripheral needs."""

    def time(self) -> float:
        """Return the seconds since some moment."""

    def call_at(self, when: float, callback: Callable[[], object], /) -> Alarm:
        """Have callback() called at that time."""


class ChipClock:
    """A chip's clock as its bus tells it. It stands still while the chip is off, and never goes
    back."""

    def __init__(self) -> None:
        self._now = 0  # µs
        self._ticks: int | None = None  # the chip's, at that time
        self._alarms: list[tuple[int, int, _ChipAlarm]] = []
        self._numbers = itertools.count()

    def time(self) -> float:
        return self._now / 1e6

    def call_at(self, when: float, callback: Callable[[], object], /) -> Alarm:
        alarm = _ChipAlarm(callback)
        heapq.heappush(self._alarms, (math.ceil(when * 1e6), next(self._numbers), alarm))
        return alarm

    def started(self) -> None:
        """The chip starts: its ticks do not go on from where they were."""
        self._ticks = None

    def heard(self, ticks: int) -> None:
        """The chip says what its ticks_us() are; what was due until then is done."""
        passed = 0 if self._ticks is None else (ticks - self._ticks) % RANGE
        if passed >= RANGE // 2:
            raise ValueError("the chip's clock went back")
        self._ticks = ticks
        end = self._now + passed
        while self._alarms and self._alarms[0][0] <= end:
            when, _, alarm = heapq.heappop(self._alarms)
            self._now = max(self._now, when)
            if alarm.callback is not None:
                alarm.callback()
        self._now = end


class _ChipAlarm:
    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None
