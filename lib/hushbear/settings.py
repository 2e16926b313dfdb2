"""What the family sets: volume, brightness, quiet hours, recording limits (wire.SETTINGS_BODY).

    Settings(path="/settings.bin", log=print)   a missing or damaged file gives the defaults
    .volume .volume_max .brightness (percent) .flags .quiet_from .quiet_to (minutes of the day)
    .record_min_ms .record_max_s
    .pack() -> bytes               .apply(body): validate (ValueError), save (OSError), then take
    .quiet(clock) -> bool          .effective_volume(clock): percent, 0 in quiet hours

The file is "HBS1", the body, CRC-32 of both; it is replaced whole.
"""

import struct
from binascii import crc32

from hushbear import wire
from hushbear.atomic import read, replace
from hushbear.clock import within

_MAGIC = b"HBS1"
_BODY_SIZE = struct.calcsize(wire.SETTINGS_BODY)
_FILE_SIZE = len(_MAGIC) + _BODY_SIZE + 4
# Volume 70 of at most 85 %, LED 60 %, quiet hours off (19:30 to 7:00), 0.3 s to 40 s
_DEFAULTS = (70, 85, 60, 0, 19 * 60 + 30, 7 * 60, wire.RECORD_MIN_MS[0], 40)


class Settings:
    def __init__(self, path="/settings.bin", log=print):
        self._path = path
        self._set(_DEFAULTS)
        try:
            data = read(path, _FILE_SIZE + 1)
            if data is not None:
                self._set(_check_file(data))
        except (OSError, ValueError) as error:
            log("settings: defaults used: %s" % error)

    def pack(self):
        return struct.pack(
            wire.SETTINGS_BODY,
            self.volume,
            self.volume_max,
            self.brightness,
            self.flags,
            self.quiet_from,
            self.quiet_to,
            self.record_min_ms,
            self.record_max_s,
        )

    def apply(self, body):
        """Take new settings: ValueError if out of range, OSError if not saved."""
        values = _check(body)
        if self.pack() != body:
            content = _MAGIC + body
            replace(self._path, content, struct.pack("<I", crc32(content)))
            self._set(values)

    def quiet(self, clock):
        """Whether quiet hours silence the toy now."""
        return bool(self.flags & wire.QUIET_HOURS) and within(
            clock.minute_of_day(), self.quiet_from, self.quiet_to
        )

    def effective_volume(self, clock):
        return 0 if self.quiet(clock) else min(self.volume, self.volume_max)

    def _set(self, values):
        self.volume, self.volume_max, self.brightness, self.flags = values[:4]
        self.quiet_from, self.quiet_to, self.record_min_ms, self.record_max_s = values[4:]


def _check(body):
    if len(body) != _BODY_SIZE:
        raise ValueError("wrong length")
    values = struct.unpack(wire.SETTINGS_BODY, body)
    volume, volume_max, brightness, flags, quiet_from, quiet_to, record_min, record_max = values
    if max(volume, volume_max, brightness) > 100:
        raise ValueError("percentage above 100")
    if flags & ~wire.QUIET_HOURS:
        raise ValueError("unknown flag")
    if max(quiet_from, quiet_to) >= wire.DAY_MINUTES:
        raise ValueError("no such minute of the day")
    if not wire.RECORD_MIN_MS[0] <= record_min <= wire.RECORD_MIN_MS[1]:
        raise ValueError("shortest recording out of range")
    if not wire.RECORD_MAX_S[0] <= record_max <= wire.RECORD_MAX_S[1]:
        raise ValueError("longest recording out of range")
    if record_min > record_max * 1000:
        raise ValueError("shortest recording longer than the longest")
    return values


def _check_file(data):
    if len(data) != _FILE_SIZE or data[:4] != _MAGIC:
        raise ValueError("file damaged")
    if crc32(data[:-4]) != struct.unpack("<I", data[-4:])[0]:
        raise ValueError("file damaged")
    return _check(data[4:-4])
