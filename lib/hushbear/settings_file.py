"""The settings on flash (settings_wire.SETTINGS_BODY). Loaded at the start, and to change them.

    load(settings, log)           have a Settings take what is there; defaults where it is damaged
    body(settings) -> bytes       what is there; OSError, ValueError if damaged
    change(settings, body)        check (ValueError; LookupError: it does not speak that
                                  language), save (OSError), then take
    kept(settings) -> (days that a message is kept, whether only until heard)

The file is "HBS2", the body, CRC-32 of both; it is replaced whole. "HBS1" had the first 12 bytes.
"""

import os
import struct
from binascii import crc32

from hushbear import settings_wire
from hushbear.atomic import read, replace

_MAGIC = b"HBS2"
_MAGIC_1 = b"HBS1"
_BODY_SIZE = struct.calcsize(settings_wire.SETTINGS_BODY)
_BODY_1_SIZE = const(12)
_MAGIC_SIZE = const(4)
_CRC_SIZE = const(4)
_FLAGS = settings_wire.QUIET_HOURS | settings_wire.UNTIL_HEARD
_LANGUAGE_AT = const(14)
_FLASHED = b"\0\0"  # the language that was flashed first: /voice. Others are /voice-de and so on.
_VOICE = "/voice"

# Volume 70 of at most 85 %, LED 60 %, quiet hours off (19:30 to 7:00), recordings of 0.3 s to
# 40 s, messages kept as long as there is room
DEFAULTS = struct.pack(
    settings_wire.SETTINGS_BODY, 70, 85, 60, 0, 19 * 60 + 30, 7 * 60, 300, 40, 0, b""
)


def load(settings, log):
    _take(settings, DEFAULTS)
    try:
        _take(settings, body(settings))
    except (OSError, ValueError) as error:
        log("settings: defaults used: %s" % error)


def body(settings):
    data = read(settings.path, _MAGIC_SIZE + _BODY_SIZE + _CRC_SIZE + 1)
    if data is None:
        return DEFAULTS
    found = data[_MAGIC_SIZE:-_CRC_SIZE]
    if struct.pack("<I", crc32(data[:-_CRC_SIZE])) != data[-_CRC_SIZE:]:
        raise ValueError("file damaged")
    if data.startswith(_MAGIC_1) and len(found) == _BODY_1_SIZE:
        found += DEFAULTS[_BODY_1_SIZE:]
    elif not data.startswith(_MAGIC):
        raise ValueError("file of another version")
    _check(found)
    return found


def change(settings, new):
    _check(new)
    try:
        old = body(settings)
    except ValueError:
        old = b""
    if new == old:
        return
    if new[_LANGUAGE_AT:] not in (old[_LANGUAGE_AT:], _FLASHED) and not _speaks(new):
        raise LookupError("no voice")
    content = _MAGIC + new
    replace(settings.path, content, struct.pack("<I", crc32(content)))
    _take(settings, new)


def kept(settings):
    values = struct.unpack(settings_wire.SETTINGS_BODY, body(settings))
    return values[8], bool(values[3] & settings_wire.UNTIL_HEARD)


def _take(settings, found):
    values = struct.unpack(settings_wire.SETTINGS_BODY, found)
    volume, volume_max, settings.brightness, flags, quiet_from, quiet_to = values[:6]
    settings.volume = min(volume, volume_max)
    quiet = flags & settings_wire.QUIET_HOURS
    settings.quiet_from, settings.quiet_to = (quiet_from, quiet_to) if quiet else (0, 0)
    settings.record_min_ms, settings.record_max_s = values[6:8]
    settings.voice = _voice(found)


def _voice(found):
    language = found[_LANGUAGE_AT:]
    return _VOICE if language == _FLASHED else _VOICE + "-" + language.decode()


def _speaks(found):
    try:
        os.stat(_voice(found))
        return True
    except OSError:
        pass
    try:
        with open(_VOICE, "rb") as file:
            return file.read(8)[6:] == found[_LANGUAGE_AT:]  # prompts.HEADER
    except OSError:
        return False


def _check(found):
    if len(found) != _BODY_SIZE:
        raise ValueError("wrong length")
    values = struct.unpack(settings_wire.SETTINGS_BODY, found)
    volume, volume_max, brightness, flags, quiet_from, quiet_to = values[:6]
    record_min, record_max, keep_days, language = values[6:]
    if max(volume, volume_max, brightness) > 100:
        raise ValueError("percentage above 100")
    if flags & ~_FLAGS:
        raise ValueError("unknown flag")
    if max(quiet_from, quiet_to) >= settings_wire.DAY_MINUTES:
        raise ValueError("no such minute of the day")
    if not settings_wire.RECORD_MIN_MS[0] <= record_min <= settings_wire.RECORD_MIN_MS[1]:
        raise ValueError("shortest recording out of range")
    if not settings_wire.RECORD_MAX_S[0] <= record_max <= settings_wire.RECORD_MAX_S[1]:
        raise ValueError("longest recording out of range")
    if record_min > record_max * 1000:
        raise ValueError("shortest recording longer than the longest")
    if keep_days > settings_wire.KEEP_DAYS_MAX:
        raise ValueError("kept for too many days")
    if language != _FLASHED and not all(97 <= letter <= 122 for letter in language):
        raise ValueError("no language")
