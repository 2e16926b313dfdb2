"""What went wrong, kept on flash for the phone to fetch. Bounded; the oldest half goes first.

    CrashLog(path="/crash", half=4096, clock=None)
    .write(what)               an exception (its traceback is kept) or a line of text; never raises

Two files, .old (path + ".0") and .new (path + ".1"), which takes its place once `half` bytes
long. Each entry is one append, whole or absent after a power cut. It begins with the Unix time, or
with "+" and seconds since the start, and says how many before it could not be written.
crashlog_file.py reads and clears it.
"""

import os
import sys

_LINE_MAX = const(1000)
_PROBLEMS = (OSError, MemoryError)  # made now: there may be no memory for a tuple later


class CrashLog:
    def __init__(self, path="/crash", half=4096, clock=None):
        self.old = path + ".0"
        self.new = path + ".1"
        self._half = half
        self._lost = 0  # entries since the last one that was written
        self.clock = clock  # may be given later: the clock's own failure has to be logged too

    def write(self, what):
        try:
            if self._full():
                os.rename(self.new, self.old)
            with open(self.new, "ab") as file:
                self._write(file, what)
            self._lost = 0
        except _PROBLEMS as error:
            self._lost += 1
            print("crash log:", error)  # the console is what is left

    def _full(self):
        try:
            return os.stat(self.new)[6] >= self._half
        except OSError:  # there is none yet
            return False

    def _write(self, file, what):
        # Straight to the file's own buffer: memory may be what went wrong.
        clock = self.clock
        if clock is not None:
            now = clock.now()
            file.write("%d " % now if now else "+%d " % clock.uptime())
        if self._lost:
            file.write("(%d lost) " % self._lost)
        if isinstance(what, BaseException):
            sys.print_exception(what, file)
            return
        what = what.strip()
        if len(what) > _LINE_MAX:  # the end is worth more than the beginning
            file.write(what[: _LINE_MAX // 4])
            file.write(" ... ")
            what = what[-3 * _LINE_MAX // 4 :]
        file.write(what)
        file.write("\n")
