"""The time of day, once a phone has said it.

    Clock(path="/clock.bin")      machine.RTC goes on through every restart but loss of power
    .now()                        Unix seconds, 0 if not set
    .minute_of_day()              local, -1 if not set
    .uptime()                     seconds since this object was made, whatever is set
    within(minute, start, end)    whether a minute of the day is in [start, end), which may go
                                  over midnight

clock_file.py sets it.
"""

import time

from hushbear.once import once

EPOCH = 946684800 if time.gmtime(0)[0] == 2000 else 0  # Unix time of this port's time 0
EARLIEST = 1735689600  # 2025-01-01: an RTC that nobody set is far below
_DAY_MINUTES = const(1440)


class Clock:
    def __init__(self, path="/clock.bin"):
        self.path = path
        self.started = time.time()
        self.offset = once("hushbear.clock_file").offset(path)  # minutes east of UTC

    def now(self):
        unix = time.time() + EPOCH
        return unix if unix >= EARLIEST else 0

    def minute_of_day(self):
        unix = self.now()
        return (unix // 60 + self.offset) % _DAY_MINUTES if unix else -1

    def uptime(self):
        return max(0, time.time() - self.started)


def within(minute, start, end):
    if minute < 0 or start == end:
        return False
    if start < end:
        return start <= minute < end
    return minute >= start or minute < end
