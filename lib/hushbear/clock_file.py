"""Where the toy is on Earth, on flash, and the clock when a phone sets it. Loaded for that only.

offset(path) -> minutes east of UTC; 0 where the file is missing or damaged
set(clock, rtc, unix, offset_minutes)    rtc: machine.RTC(). ValueError if implausible
"""

import struct
import time

from hushbear.atomic import read, replace
from hushbear.clock import EARLIEST, EPOCH

_LATEST = (1 << 31) + EPOCH  # where the port's 32-bit time ends
_OFFSET = "<h"
_OFFSET_MAX = const(840)


def offset(path):
    try:
        data = read(path, struct.calcsize(_OFFSET) + 1)
    except OSError:
        return 0
    if data is None or len(data) != struct.calcsize(_OFFSET):
        return 0
    minutes = struct.unpack(_OFFSET, data)[0]
    return minutes if abs(minutes) <= _OFFSET_MAX else 0


def set(clock, rtc, unix, offset_minutes):
    if not EARLIEST <= unix < _LATEST:
        raise ValueError("implausible time")
    if abs(offset_minutes) > _OFFSET_MAX:
        raise ValueError("implausible offset from UTC")
    before = time.time()
    year, month, day, hour, minute, second, weekday = time.gmtime(unix - EPOCH)[:7]
    rtc.datetime((year, month, day, weekday, hour, minute, second, 0))
    clock.started += time.time() - before
    if offset_minutes != clock.offset:  # seldom: the file outlives restarts, as the RTC does
        clock.offset = offset_minutes
        replace(clock.path, struct.pack(_OFFSET, offset_minutes))
