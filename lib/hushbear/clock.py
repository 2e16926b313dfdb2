"""The time of day, once a phone has said it.

Clock(rtc, path="/clock.bin")  rtc: machine.RTC(), which goes on through every restart but
                               loss of power
.set(unix, offset_minutes)     ValueError if implausible; offset east of UTC
.now()                         Unix seconds, 0 if not set
.minute_of_day()               local, -1 if not set
.uptime()                      seconds since this object was made, whatever is set
within(minute, start, end)     whether a minute of the day is in [start, end), which may go
                               over midnight
"""

import struct
import time

from hushbear.atomic import read, replace
from hushbear.wire import DAY_MINUTES

_EPOCH = 946684800 if time.gmtime(0)[0] == 2000 else 0  # Unix time of this port's time 0
# From 2025-01-01 (an RTC that nobody set is far below) to where the port's 32-bit time ends.
_PLAUSIBLE = 1735689600, (1 << 31) + _EPOCH
_OFFSETS = -14 * 60, 14 * 60


class Clock:
    def __init__(self, rtc, path="/clock.bin"):
        self._rtc = rtc
        self._path = path
        self._started = time.time()
        self._offset = _read_offset(path)

    def set(self, unix, offset_minutes):
        if not _PLAUSIBLE[0] <= unix < _PLAUSIBLE[1]:
            raise ValueError("implausible time")
        if not _OFFSETS[0] <= offset_minutes <= _OFFSETS[1]:
            raise ValueError("implausible offset from UTC")
        before = time.time()
        year, month, day, hour, minute, second, weekday = time.gmtime(unix - _EPOCH)[:7]
        self._rtc.datetime((year, month, day, weekday, hour, minute, second, 0))
        self._started += time.time() - before
        if offset_minutes != self._offset:  # seldom: the file outlives restarts, as the RTC does
            self._offset = offset_minutes
            replace(self._path, struct.pack("<h", offset_minutes))

    def now(self):
        unix = time.time() + _EPOCH
        return unix if unix >= _PLAUSIBLE[0] else 0

    def minute_of_day(self):
        unix = self.now()
        return (unix // 60 + self._offset) % DAY_MINUTES if unix else -1

    def uptime(self):
        return max(0, time.time() - self._started)


def within(minute, start, end):
    if minute < 0 or start == end:
        return False
    if start < end:
        return start <= minute < end
    return minute >= start or minute < end


def _read_offset(path):
    try:
        data = read(path, 3)
    except OSError:
        return 0
    if data is None or len(data) != 2:
        return 0
    offset = struct.unpack("<h", data)[0]
    return offset if _OFFSETS[0] <= offset <= _OFFSETS[1] else 0
