"""Target `qemu-esp32`: the official ESP32 image of MicroPython under Espressif's QEMU.

Nothing is built for it: the image and the emulator are those that everybody can have. The
chip's own heap is what it is, larger than that of the other targets while the radio is off. Each
script begins with a soft reset; only one that hangs or crashes the chip costs another boot.
"""

from __future__ import annotations

import os
import pathlib
import re
import select
import subprocess
import tempfile
import time
from collections.abc import Mapping

from . import PRELUDE, DeviceError, Target, dedent, esp32_emulator, split_args
from .esp32_emulator import STEADY, command, new_flash
from .esp32_window import FLASH_SIZE, MAP, MEMORY_AT, WINDOW_AT, WINDOW_SIZE, library
from .raw_repl import RawRepl

COPIED = 4096  # bytes: arguments up to this are given as `bytes`, longer ones where they lie


class ChipCrashed(DeviceError):
    """Not the script failed but what runs it."""


class QemuEsp32(Target):
    name = "qemu-esp32"
    required = False

    @classmethod
    def missing(cls) -> str | None:
        return esp32_emulator.missing()

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._directory = tempfile.TemporaryDirectory(prefix="hushbear-")
        self._flash = pathlib.Path(self._directory.name) / "flash"
        self._flash.write_bytes(self._make_flash())

    def _make_flash(self) -> bytes:
        """Return what the flash holds: the image, an empty file system, and the library."""
        content, mount = library()
        flash = new_flash({}).ljust(FLASH_SIZE, b"\xff")
        flash[WINDOW_AT : WINDOW_AT + len(content)] = content
        self._used = len(content)
        # Without the chip's own file system, whose every access stops the emulated processors.
        self._mount = f"{mount}vfs.umount('/')\nimport gc\n"
        return bytes(flash)

    def _boot(self) -> None:
        self._received = bytearray()
        self._process = subprocess.Popen(
            [
                *command(self._flash, STEADY),
                *("-monitor", "none"),
                *("-global", "driver=timer.esp32.timg,property=wdt_disable,value=true"),
                *("-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"),
            ],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._console = self._process.stdout
        keyboard = self._process.stdin.fileno()

        def write(data: bytes) -> None:
            while data:
                data = data[os.write(keyboard, data) :]

        self._repl = RawRepl(write, self._expect)
        self._expect(b">>> ", 60)
        self._repl.enter()

    def _expect(self, mark: bytes, seconds: float) -> bytes:
        assert self._process is not None
        deadline = time.monotonic() + seconds
        searched = 0
        while (at := self._received.find(mark, searched)) < 0:
            searched = max(0, len(self._received) - len(mark))
            left = deadline - time.monotonic()
            said = self._received.decode(errors="replace")
            if left <= 0:
                raise TimeoutError(said)
            if select.select([self._console], [], [], min(left, 1.0))[0]:
                data = os.read(self._console.fileno(), 1 << 16)
                if not data:
                    raise DeviceError(f"the emulator ended\n{said}")
                self._received += data
            if re.search(rb"Guru Meditation.*Backtrace", self._received, re.DOTALL):
                raise ChipCrashed(f"the chip crashed\n{said}")
        found = bytes(self._received[:at])
        del self._received[: at + len(mark)]
        return found

    def run(
        self, source: str, *, args: Mapping[str, object] | None = None, timeout: float = 60
    ) -> object:
        script = self._place(source, args)
        fresh = self._process is None
        try:
            output = self._run(script, timeout)
        except ChipCrashed:
            # Seldom the image panics after a soft reset, in a script that runs otherwise. Why is
            # not known: 126 resets in a row, on purpose, brought none about. A chip that has run
            # nothing else tells whether the script is to blame.
            if fresh:
                raise
            output = self._run(script, timeout)
        return self.read_result(output)

    def _run(self, script: tuple[int, int], timeout: float) -> str:
        try:
            if self._process is None:
                self._boot()
            self._repl.soft_reset(60)
            return self._repl.execute(MAP + f"exec(u.bytearray_at{script})", [], timeout)
        except DeviceError as error:
            if "Traceback" not in str(error):  # it hangs, or is gone
                self._stop()
            raise

    def _place(self, source: str, args: Mapping[str, object] | None) -> tuple[int, int]:
        """Put a script and what it is given into the window; return where it begins, its size."""
        small, bulk = split_args(args)
        window = bytearray()

        def put(data: bytes) -> tuple[int, int]:
            place = MEMORY_AT + self._used + len(window), len(data)
            window.extend(data.ljust(-len(data) % 4 + len(data), b"\0"))
            return place

        main = [self._mount, PRELUDE, f"scope = { ({'__name__': '__main__', **small})!r}"]
        for name, data in bulk.items():
            kind = "bytes" if len(data) <= COPIED else ""
            main.append(f"scope[{name!r}] = {kind}(uctypes.bytearray_at{put(data)})")
        main += [
            "scope['result'] = result",
            f"code = bytes(uctypes.bytearray_at{put(dedent(source).encode())})",
            "code = compile(code, 'test.py', 'exec')",
            "gc.collect()",
            "exec(code, scope)",
        ]
        script = put("\n".join(main).encode())
        if self._used + len(window) > WINDOW_SIZE:
            raise ValueError("more than the chip can map")
        with self._flash.open("r+b") as file:
            file.seek(WINDOW_AT + self._used)
            file.write(window)
        return script

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def close(self) -> None:
        self._stop()
        self._directory.cleanup()
