"""What went wrong, kept on flash for the phone to fetch. Bounded; the oldest half goes first.

    CrashLog(path="/crash", half=4096, clock=None)
    .write(what)               an exception (its traceback is kept) or a line of text; never raises
    .size()                    bytes to read; .read(offset, buf) -> n, 0 at the end
    .clear()

Two files, path + ".0" (older) and path + ".1"; each entry is one append, whole or absent after a
power cut. An entry begins with the Unix time, or with "+" and seconds since the start.
"""

import io
import os
import sys

_ENTRY_MAX = const(1000)


class CrashLog:
    def __init__(self, path="/crash", half=4096, clock=None):
        self._old = path + ".0"
        self._new = path + ".1"
        self._half = half
        self.clock = clock  # may be given later: the clock's own failure has to be logged too

    def write(self, what):
        try:
            entry = self._entry(what)
            if _size(self._new) + len(entry) > self._half:
                os.rename(self._new, self._old)
            with open(self._new, "ab") as file:
                file.write(entry)
        except (OSError, MemoryError) as error:
            print("crash log:", error)  # the console is what is left

    def size(self):
        return _size(self._old) + _size(self._new)

    def read(self, offset, buf):
        old = _size(self._old)
        if offset >= old:
            path, offset = self._new, offset - old
        else:
            path = self._old
        if offset >= _size(path):
            return 0
        try:
            with open(path, "rb") as file:
                file.seek(offset)
                return file.readinto(buf)
        except OSError:
            return 0

    def clear(self):
        for path in (self._old, self._new):
            try:
                os.remove(path)
            except OSError:
                pass

    def _entry(self, what):
        text = io.StringIO()
        clock = self.clock
        if clock is not None:
            now = clock.now()
            text.write("%d " % now if now else "+%d " % clock.uptime())
        if isinstance(what, BaseException):
            sys.print_exception(what, text)
        else:
            text.write(str(what))
        # A traceback's last line says what happened, its end is worth more than its beginning.
        entry = text.getvalue().strip().encode()
        if len(entry) > _ENTRY_MAX:
            entry = entry[: _ENTRY_MAX // 4] + b" ... " + entry[-3 * _ENTRY_MAX // 4 :]
        return entry + b"\n"


def _size(path):
    try:
        return os.stat(path)[6]
    except OSError:
        return 0
