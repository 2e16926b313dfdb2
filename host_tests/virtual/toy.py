"""The virtual toy: the unmodified firmware in a MicroPython process, with a body in this one.

    async with VirtualToy(directory) as toy:
        toy.press("record")
        toy.mic.speak(pcm)
        await asyncio.sleep(2)
        toy.release("record")

In a VirtualLoop time is virtual and a run repeats exactly; in any other loop it is real.
"""

from __future__ import annotations

import asyncio
import json
import os
import pathlib
import select
import shutil
import socket
import struct
import subprocess
import time

from host_tests.targets import ROOT
from host_tests.targets.unix import Unix

from .body import Air, Body, Cause, ToyError
from .bus import Channel, Sys
from .chips import CHIPS
from .library import compiled_library
from .storage import Flash, FlashModel, Nvs

__all__ = ["Cause", "ToyError", "VirtualToy"]

DEVICE = pathlib.Path(__file__).parent / "device"
HEAP = 112 * 1024  # bytes for the firmware; its day takes 96 kB, its busiest moments more
OVERHEAD = 128 * 1024  # bytes of heap for the stand-ins
BOOT_S = 0.3  # from a reset to the first instruction of Python


class VirtualToy(Body):
    def __init__(
        self,
        directory: str | pathlib.Path,
        *,
        board: str = "esp32_devkitc",
        air: Air | None = None,
        heap: int = HEAP,
        flash: FlashModel | None = None,
        main: str | None = None,
        autostart: bool = True,
        lib: pathlib.Path | None = None,
        micropython: pathlib.Path | None = None,
        seed: int = 1,
    ) -> None:
        """`directory` keeps the flash and NVS: another toy made there later is the same toy.

        `lib` is the device library to use in place of the compiled one, `heap` what the firmware
        has in bytes, `main` a script to run in place of its boot.py and main.py. With
        `autostart` off the toy is without power until `restart()`.
        """
        super().__init__(directory, board=board, air=air, autostart=autostart, seed=seed)
        self.heap_size = heap
        self.stopped: str | None = None  # "ended" or "failed" once main.py is over
        self._lib = lib or compiled_library()
        self._lent: pathlib.Path | None = None
        self._main = main
        self._micropython = micropython or Unix.micropython_path()
        self._seed = seed
        self.process: subprocess.Popen[bytes] | None = None
        self._boot: asyncio.TimerHandle | None = None
        self._rtc = (0, 0.0)  # seconds since 2000, and when they were set
        self._watchdog: asyncio.TimerHandle | None = None
        self._watchdog_s = 0.0
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self.bus.on_gone = self._died
        self.bus.on_console = self._read_console
        self.bus.cpu_time = self._cpu_time
        self.flash = Flash(self.bus, self.directory / "flash.bin", flash or FlashModel())
        self.nvs = Nvs(self.bus, self.directory / "nvs.bin")
        self.nvs.on_cut = self.power_cut
        self.bus.on(Channel.WDT, self._on_watchdog)
        self.bus.on_system |= {
            Sys.STOPPED: self._on_stopped,
            Sys.RESET: self._on_reset,
            Sys.RTC: self._on_rtc,
            Sys.TIMER: self._on_timer,
            Sys.CUT: self._on_cut,
        }

    def power_cut(self) -> None:
        super().power_cut()
        self._rtc = (0, self.loop.time())

    async def wait_stopped(self, timeout: float = 60) -> str:
        """Wait until main.py is over; return "ended" or "failed"."""
        try:
            async with asyncio.timeout(timeout):
                while self.stopped is None:
                    await self._next_change()
        except TimeoutError:
            raise self._error("main.py did not end") from None
        return self.stopped

    async def exec_repl(self, source: str, timeout: float = 60) -> str:
        was_running = self.running
        self._end()
        first = len(self.console)
        self._start(Cause.SOFT_RESET, repl=source)
        how = await self.wait_stopped(timeout)
        self._end()
        output = "\n".join(self.console[first:])
        self.stopped = None
        if was_running:
            self._start(Cause.SOFT_RESET)
        else:
            self.off.set()
        if how != "ended":
            raise ToyError(f"the snippet failed on the toy:\n{output}")
        return output

    def lend(self, file: pathlib.Path) -> None:
        """Let the toy read a file of this computer in /lent, from its next start on."""
        self._lent = file.parent

    def flash_image(self) -> bytes:
        """Return every byte of the flash chip, the file system's and those it has forgotten."""
        return self.flash.image()

    # The process

    def _start(self, cause: Cause, repl: str | None = None) -> None:
        self._boot = None
        self.stopped = None
        if cause == Cause.POWER_ON:
            self._rtc = (0, self.loop.time())
        self._started(cause)
        listener = socket.create_server(("127.0.0.1", 0))
        console, console_end = os.pipe()
        os.set_blocking(console, False)
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "TZ": "UTC",
            "HUSHBEAR_BUS": "{}:{}".format(*listener.getsockname()),
            "HUSHBEAR_TIME": "virtual" if self.bus.virtual else "real",
            "HUSHBEAR_DEVICE": str(DEVICE),
        }
        self._write_scripts(repl)
        self.bus.on_system[Sys.HELLO] = lambda _: self._configuration(cause, repl)
        self.process = subprocess.Popen(
            [
                str(self._micropython),
                "-X",
                f"heapsize={self.heap_size + OVERHEAD}",
                str(DEVICE / "start.py"),
            ],
            cwd=self.directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=console_end,
            stderr=console_end,
        )
        os.close(console_end)
        self.bus.console_fd = console
        with listener:
            if not select.select([listener], [], [], 30)[0]:
                self._read_console()
                raise self._error("the toy's process did not connect")
            stream, _ = listener.accept()
        self.bus.attach(stream)
        self._notice()

    def _write_scripts(self, repl: str | None) -> None:
        scripts = self.directory / "scripts"
        shutil.rmtree(scripts, ignore_errors=True)
        scripts.mkdir()
        # Copies: VfsPosix lets a toy remove files from what is mounted read-only.
        for name, source in (
            ("firmware", ROOT / "firmware"),
            ("variant", ROOT / "board" / self.board),
        ):
            shutil.copytree(source, scripts / name)
        if self._main is not None:
            (scripts / "main.py").write_text(self._main)
        if repl is not None:
            (scripts / "repl.py").write_text(repl)

    def _configuration(self, cause: Cause, repl: str | None) -> bytes:
        chip = CHIPS["c3" if "c3" in self.board else "s3" if "s3" in self.board else "esp32"]
        scripts = self.directory / "scripts"
        run = ["/firmware/boot.py", "/firmware/main.py"]
        if self._main is not None:
            run = ["/scripts/main.py"]
        if repl is not None:
            run[-1] = "/scripts/repl.py"
        mounts = {
            "/lib": self._lib,
            "/variant": scripts / "variant",
            "/firmware": scripts / "firmware",
            "/scripts": scripts,
        }
        if self._lent:
            mounts["/lent"] = self._lent
        seconds, since = self._rtc
        configuration = {
            **chip,
            "cause": int(cause),
            "heap": self.heap_size,
            "unique_id": f"{0x7C9EBD000000 + self._seed:012x}",
            "rtc": seconds + int(self.loop.time() - since),
            "flash": self.flash.settings(),
            "mounts": [(k, str(v.resolve())) for k, v in mounts.items() if v.is_dir()],
            "run": run,
        }
        return json.dumps(configuration).encode()

    def _end(self) -> None:
        """Whatever ends a run of the chip: the process is gone, the peripherals are silent."""
        if self._boot:
            self._boot.cancel()
            self._boot = None
        if self.process is None:
            return
        self.process.kill()
        self.process.wait()
        self.process = None
        self.bus.detach()
        self._read_console()
        if self.bus.console_fd is not None:
            os.close(self.bus.console_fd)
            self.bus.console_fd = None
        for timer in (self._watchdog, *self._timers.values()):
            if timer:
                timer.cancel()
        self._watchdog = None
        self._timers.clear()
        self.nvs.power_off()
        self._silence()

    def _reset(self, cause: Cause) -> None:
        self._end()
        self._boot = self.loop.call_later(BOOT_S, self._start, cause)
        self._notice()

    def _died(self) -> None:
        """The process ended by itself: MicroPython crashed, which a chip would answer with a
        reset. Here it is an error, reported at the latest when the toy is put away."""
        if self.process is None:
            return
        try:
            status = self.process.wait(5)
        except subprocess.TimeoutExpired:
            status = None
        self._end()
        self._crash = self._error(f"the toy's process ended with status {status}")
        self.off.set()
        self._notice()

    def _cpu_time(self) -> float:
        if self.process is None:
            return 0.0
        try:
            stat = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text()
        except OSError:
            return time.monotonic()
        user, system = stat.rsplit(")", 1)[1].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def _read_console(self) -> None:
        if self.bus.console_fd is None:
            return
        try:
            while data := os.read(self.bus.console_fd, 65536):
                self._said(data)
        except BlockingIOError:
            return
        # Nobody holds the other end any more: only a look at the bus can tell what happened.
        if not self.bus.virtual:
            self.loop.remove_reader(self.bus.console_fd)

    # What the chip says

    def _on_stopped(self, payload: bytes) -> None:
        self._read_console()
        self.stopped = payload.decode()
        self._notice()

    def _on_reset(self, payload: bytes) -> None:
        self._reset(Cause(payload[0]))

    def _on_cut(self, payload: bytes) -> None:
        self.flash.cut(payload)
        self.power_cut()

    def _on_rtc(self, payload: bytes) -> None:
        self._rtc = (struct.unpack("<I", payload)[0], self.loop.time())

    def _on_timer(self, payload: bytes) -> None:
        number, periodic, us = struct.unpack("<BBI", payload)
        if timer := self._timers.pop(number, None):
            timer.cancel()
        if us:
            self._arm_timer(number, bool(periodic), us / 1e6, self.loop.time())

    def _arm_timer(self, number: int, periodic: bool, period: float, last: float) -> None:
        def fire() -> None:
            self.bus.send(Channel.SYS, Sys.TIMER, bytes((number,)))
            if periodic:
                self._arm_timer(number, periodic, period, last + period)

        self._timers[number] = self.loop.call_at(last + period, fire)

    def _on_watchdog(self, op: int, payload: bytes) -> None:
        if op == 1:
            (ms,) = struct.unpack("<I", payload)
            self._watchdog_s = ms / 1000
        if self._watchdog:
            self._watchdog.cancel()
        self._watchdog = self.loop.call_later(self._watchdog_s, self._reset, Cause.WATCHDOG)
