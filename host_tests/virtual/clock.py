"""An event loop whose clock jumps: an hour of timers passes as fast as they can be served.

Nothing moves the clock while anything can run. When no callback is ready, each participant (the
bus to a toy's process) takes its turn; when nobody has one, the clock jumps to the next timer or
participant's wake-up time. One thread and strict turns: the same run takes the same course.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import Protocol


class Participant(Protocol):
    """Something outside the loop that lives by its clock."""

    def due(self, now_us: int) -> bool:
        """Whether it has anything to do now."""

    def turn(self) -> None:
        """Do it; return when only the passage of time, or the loop, can bring more."""

    def wake_us(self) -> int | None:
        """When it wants to go on by itself; None for never."""


class _JumpingSelector(selectors.DefaultSelector):
    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if events or (timeout is not None and timeout <= 0):
            return events
        if self.loop.take_turns() or self.loop.jump(timeout):
            return []
        return super().select(None)  # no timer anywhere: only the outside world can go on


class VirtualLoop(asyncio.SelectorEventLoop):
    """The event loop of virtual time. `time()` begins at 0."""

    def __init__(self) -> None:
        self._participants: list[Participant] = []
        self.now_us = 0
        selector = _JumpingSelector()
        selector.loop = self
        super().__init__(selector)
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self.now_us / 1e6

    def join(self, participant: Participant) -> None:
        """Give it turns from now on."""
        self._participants.append(participant)

    def leave(self, participant: Participant) -> None:
        """Give it no more turns."""
        self._participants.remove(participant)

    def take_turns(self) -> bool:
        """Give one turn to everybody who has one; return whether anybody had."""
        due = [each for each in self._participants if each.due(self.now_us)]
        for each in due:
            each.turn()
        return bool(due)

    def jump(self, timeout: float | None) -> bool:
        """Set the clock to when the next thing happens; return False if nothing ever will."""
        times = [us for each in self._participants if (us := each.wake_us()) is not None]
        if timeout is not None:
            times.append(self.now_us + max(1, round(timeout * 1e6)))
        if not times:
            return False
        self.now_us = max(self.now_us, min(times))
        return True


def now_us(loop: asyncio.AbstractEventLoop) -> int:
    """Return the loop's clock in whole microseconds."""
    return loop.now_us if isinstance(loop, VirtualLoop) else round(loop.time() * 1e6)
