"""Target `serial`: a real board with MicroPython, on the port that --port or HUSHBEAR_PORT names.

The library is put, compiled for what the board says it is, into a directory of its own. It is not
mounted from here: every script would bring all that it imports over the line anew. A toy's keys,
messages and firmware stay as they are; its app is stopped for the session and started again at the
end, when the directory goes too.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import time
from collections.abc import Mapping

import serial

from tools.flash_commands import BOARDS, explain

from . import LIB, DeviceError, Target, Unreachable
from .mpy import compiled
from .raw_repl import RawRepl

BAUD = 115200
CHUNK = 128  # bytes that a board's console holds while nobody reads
DIRECTORY = "/hushbear-test"
LOADABLE = 0x306  # form and sub-version of .mpy files that 1.23 and later load
MARCH = {board.arch: board.march for board in BOARDS.values()}
PATIENCE = 15  # seconds that a board has to start

_ABOUT = "import sys\nprint(getattr(sys.implementation, '_mpy', 0))"

# An interrupted app leaves an hour's watchdog behind, and boot.py what it imported.
_PREPARE = f"""\
import machine, sys
if hasattr(machine, "WDT"):
    machine.WDT(timeout=3600000).feed()
for name in list(sys.modules):
    if name.split(".")[0] in ("board", "hushbear"):
        del sys.modules[name]
sys.path.insert(0, "{DIRECTORY}")
"""

_REMOVE = f"""\
import os
def remove(path):
    try:
        entries = list(os.ilistdir(path))
    except OSError:
        return
    for name, kind, *_ in entries:
        name = path + "/" + name
        remove(name) if kind & 0x4000 else os.remove(name)
    os.rmdir(path)
remove("{DIRECTORY}")
"""

_STORE = """\
from hashlib import sha256
data = take({size})
m.kbd_intr(3)
if sha256(data).digest() != {digest}:
    raise ValueError("bytes got lost on the way")
with open({path!r}, "wb") as file:
    file.write(data)
"""


class Serial(Target):
    name = "serial"
    required = False

    @classmethod
    def missing(cls) -> str | None:
        if not os.environ.get("HUSHBEAR_PORT"):
            return (
                "no board: plug one in and give its port, --port /dev/ttyUSB0 or the like"
                " (`mpremote connect list` lists them), or name it in HUSHBEAR_PORT"
            )
        if "PYTEST_XDIST_WORKER" in os.environ:
            return "a board serves one process: run its tests without -n"
        return None

    def __init__(self, port: str | None = None) -> None:
        self.port = port or os.environ["HUSHBEAR_PORT"]
        self._entered = False
        self._received = bytearray()
        self._serial = self._open()
        self._repl = RawRepl(self._write, self._expect, chunk=CHUNK)
        try:
            self._enter()
            self._put_library()
        except BaseException:
            self._serial.close()
            raise

    # The line

    def _open(self) -> serial.SerialBase:
        try:
            return serial.serial_for_url(self.port, BAUD, timeout=0.1, exclusive=True)
        except (OSError, ValueError) as error:
            raise Unreachable(explain("mpremote", str(error), self.port, "")) from None

    def _gone(self) -> Unreachable:
        return Unreachable(f"{self.port}: the board is gone: plug it in and run this again")

    def _write(self, data: bytes) -> None:
        try:
            self._serial.write(data)
        except OSError:
            raise self._gone() from None

    def _expect(self, mark: bytes, seconds: float) -> bytes:
        deadline = time.monotonic() + seconds
        while (at := self._received.find(mark)) < 0:
            if time.monotonic() > deadline:
                raise TimeoutError(self._received.decode(errors="replace"))
            try:
                self._received += self._serial.read(self._serial.in_waiting or 1)
            except OSError:
                raise self._gone() from None
        found = bytes(self._received[:at])
        del self._received[: at + len(mark)]
        return found

    def _press_reset(self) -> None:
        """Do as the board's EN button, where the port has a line to it."""
        with contextlib.suppress(OSError):  # a port without such lines
            self._serial.dtr = False
            self._serial.rts = True
            time.sleep(0.1)
            self._serial.rts = False

    # The board

    def _enter(self) -> None:
        """Stop whatever runs and be in the raw REPL."""
        deadline = time.monotonic() + PATIENCE
        attempts = 0
        while True:
            self._received.clear()
            try:
                self._repl.enter(1)
                # Prompts may still come for attempts that it was slow to answer.
                self._write(b"print('<' '%d>')\x04" % attempts)
                self._expect(b"<%d>\r\n\x04\x04>" % attempts, 2)
                break
            except TimeoutError as error:
                if time.monotonic() > deadline:
                    said = [line for line in str(error).splitlines() if line.strip()]
                    raise Unreachable(
                        f"{self.port}: no MicroPython answers"
                        f" ({f'last it said {said[-1]!r}' if said else 'it says nothing'}): see"
                        " that it is the board's port, and put MicroPython on it with"
                        " tools/flash.sh"
                    ) from None
            attempts += 1
            if attempts == 3:
                self._press_reset()
        self._entered = True

    def _put_library(self) -> None:
        number = int(self._repl.execute(_ABOUT, [], 10))
        march = MARCH.get(number >> 10 & 0xF)
        if march is None or number & 0x3FF != LOADABLE:
            raise Unreachable(
                f"{self.port}: the MicroPython there loads no code for {' or '.join(BOARDS)}: put"
                " another on it with tools/flash.sh"
            )
        self._repl.soft_reset(PATIENCE)
        self._repl.execute_fed(_PREPARE + _REMOVE, [], 60)
        sources = {path: _on_board(path.parent) for path in sorted(LIB.rglob("*.py"))}
        made = [f"os.mkdir({directory!r})" for directory in sorted({DIRECTORY, *sources.values()})]
        self._put("\n".join(("import os", *made, "m.kbd_intr(3)")))
        for path, directory in sources.items():
            name, content = compiled(path, LIB, march)
            digest = hashlib.sha256(content).digest()
            place = f"{directory}/{name}"
            self._put(_STORE.format(size=len(content), digest=digest, path=place), content)

    def _put(self, source: str, *bulk: bytes) -> None:
        try:
            self._repl.execute_fed(source, [*bulk], 60)
        except Unreachable:
            raise
        except DeviceError as error:
            last = str(error).strip().splitlines()[-1]
            raise Unreachable(
                f"{self.port}: the library does not get onto the board: {last}"
            ) from None

    def run(
        self, source: str, *, args: Mapping[str, object] | None = None, timeout: float = 60
    ) -> object:
        try:
            if not self._entered:
                self._enter()
            self._repl.soft_reset(PATIENCE)
            self._repl.execute_fed(_PREPARE, [], 10)
            return self.read_result(self._repl.run(source, args, timeout))
        except TimeoutError as error:
            self._entered = False
            raise DeviceError(f"the board does not answer\n{error}") from None
        except DeviceError as error:
            if "Traceback" not in str(error):  # it hangs
                self._entered = False
            raise

    def close(self) -> None:
        """Take away what was put there, and start whatever the board starts by itself."""
        with contextlib.suppress(DeviceError, TimeoutError):
            self._enter()
            self._repl.soft_reset(PATIENCE)
            self._repl.execute_fed(_REMOVE, [], 60)
            self._write(b"import machine\nmachine.reset()\x04")
        self._serial.close()


def _on_board(directory: pathlib.Path) -> str:
    relative = directory.relative_to(LIB).as_posix()
    return DIRECTORY if relative == "." else f"{DIRECTORY}/{relative}"
