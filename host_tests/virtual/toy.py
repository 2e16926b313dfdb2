"""The virtual toy: the unmodified firmware in a MicroPython process, with a body in this one.

    async with VirtualToy(directory) as toy:
        toy.press("record")
        toy.mic.speak(pcm)
        await asyncio.sleep(2)
        toy.release("record")

In a VirtualLoop time is virtual and a run repeats exactly; in any other loop it is real.
"""

from __future__ import annotations

import ast
import asyncio
import enum
import json
import os
import pathlib
import re
import select
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Awaitable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from host_tests.targets import ROOT
from host_tests.targets.unix import Unix

from .bus import Bus, Channel, Sys
from .gpio import Led, Paw, Pins
from .i2s import I2S, Mic, Speaker
from .library import compiled_library
from .storage import Flash, FlashModel, Nvs

if TYPE_CHECKING:
    from .radio import VirtualRadio

DEVICE = pathlib.Path(__file__).parent / "device"
HEAP = 112 * 1024  # bytes for the firmware; its day takes 96 kB, its busiest moments more
OVERHEAD = 128 * 1024  # bytes of heap for the stand-ins
BOOT_S = 0.3  # from a reset to the first instruction of Python
TAIL = 30  # console lines that a report of a crash shows,
WIDTH = 200  # and characters of each


class Cause(enum.IntEnum):
    """Why the toy started, as machine.reset_cause() says."""

    POWER_ON = 1
    RESET = 2
    WATCHDOG = 3
    DEEP_SLEEP = 4
    SOFT_RESET = 5


class ToyError(Exception):
    """The toy did what a toy must not; the text ends with what its console said last."""


class Air(Protocol):
    """What is needed of a virtual radio."""

    def attach(self, toy: VirtualToy) -> None:
        """The toy starts."""

    def detached(self, toy: VirtualToy) -> None:
        """The toy's chip was reset or lost its power."""


class VirtualToy:
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
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.board = board
        self.facts = board_facts(ROOT / "board" / board / "board.py")
        self.heap_size = heap
        self.autostart = autostart
        self.console: list[str] = []  # whole lines
        self.causes: list[Cause] = []  # of every start so far
        self.stopped: str | None = None  # "ended" or "failed" once main.py is over
        self.off = asyncio.Event()  # it has no power
        self._air = air
        self._lib = lib or compiled_library()
        self._main = main
        self._micropython = micropython or Unix.micropython_path()
        self._seed = seed
        self.process: subprocess.Popen[bytes] | None = None
        self._line = b""
        self._own_air: VirtualRadio | None = None
        self._crash: ToyError | None = None
        self._changed = asyncio.Event()  # console or state
        self._boot: asyncio.TimerHandle | None = None
        self._rtc = (0, 0.0)  # seconds since 2000, and when they were set
        self._watchdog: asyncio.TimerHandle | None = None
        self._watchdog_s = 0.0
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._memory: asyncio.Future[tuple[int, int]] | None = None

        self.bus = Bus()
        self.loop = self.bus.loop
        self.bus.on_gone = self._died
        self.bus.on_error = self._broke
        self.bus.on_console = self._read_console
        self.bus.cpu_time = self._cpu_time
        self.pins = Pins(self.bus)
        self.led = Led(self.bus, self.pins, self.facts["LED"])
        self.mic = Mic(self.loop, seed)
        self.speaker = Speaker()
        if (amplifier := self.facts.get("AMPLIFIER")) is not None:
            self.speaker.muted = lambda: not self.pins.level(amplifier)
        self.i2s = I2S(self.bus, self.speaker, self.mic)
        self.flash = Flash(self.bus, self.directory / "flash.bin", flash or FlashModel())
        self.nvs = Nvs(self.bus, self.directory / "nvs.json")
        self.paws = {"record": Paw(self.pins, self.facts["RECORD_PAW"], seed)}
        if self.facts.get("PLAY_PAW") is not None:
            self.paws["play"] = Paw(self.pins, self.facts["PLAY_PAW"], seed)
        self.bus.on(Channel.WDT, self._on_watchdog)
        self.bus.on(Channel.BLE, self._on_radio)
        self.bus.on_system |= {
            Sys.STOPPED: self._on_stopped,
            Sys.RESET: self._on_reset,
            Sys.RTC: self._on_rtc,
            Sys.TIMER: self._on_timer,
            Sys.CUT: self._on_cut,
            Sys.MEMORY | 0x80: self._on_memory,
        }

    # Hands on the toy

    def press(self, paw: str, bounce: int = 0) -> None:
        """Press a paw, "record" or "play", and keep it down."""
        self._paw(paw).press(bounce)

    def release(self, paw: str, bounce: int = 0) -> None:
        """Let go of a paw."""
        self._paw(paw).release(bounce)

    async def hold(self, paw: str, seconds: float, bounce: int = 0) -> None:
        """Press a paw for so long."""
        self.press(paw, bounce)
        await asyncio.sleep(seconds)
        self.release(paw, bounce)

    def _paw(self, name: str) -> Paw:
        # On a board with one paw it does both.
        return self.paws.get(name) or self.paws["record"]

    # Power

    async def __aenter__(self) -> VirtualToy:
        if self.autostart:
            self._start(Cause.POWER_ON)
        else:
            self.off.set()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.power_cut()
        if self._own_air is not None:
            await self._own_air.close()
        if exc is not None and self.console:  # pytest shows it with the failure
            print(f"{self.directory.name}: the console's last lines\n{self._tail()}")
        if self._crash is not None and exc is not self._crash:
            raise self._crash from (self._crash.__cause__ or exc)

    @property
    def running(self) -> bool:
        return self.bus.connected

    def power_cut(self) -> None:
        """Take the power away, now, whatever the toy is doing."""
        self._end()
        self._rtc = (0, self.loop.time())
        self.off.set()
        self._notice()

    async def restart(self, cause: Cause = Cause.POWER_ON) -> None:
        """Switch it off if it is on, and on."""
        self._end()
        if cause == Cause.POWER_ON:
            self._rtc = (0, self.loop.time())
        self._start(cause)
        await asyncio.sleep(0)

    # Looking inside

    async def wait_console(self, pattern: str, timeout: float = 10) -> re.Match[str]:
        """Wait until a line of the console matches; raise ToyError if none does in time."""
        seen = 0
        try:
            async with asyncio.timeout(timeout):
                while True:
                    for line in self.console[seen:]:
                        if match := re.search(pattern, line):
                            return match
                    seen = len(self.console)
                    await self._next_change()
        except TimeoutError:
            raise self._error(f"the console never said {pattern!r}") from None

    async def wait_stopped(self, timeout: float = 60) -> str:
        """Wait until main.py is over; return "ended" or "failed"."""
        try:
            async with asyncio.timeout(timeout):
                while self.stopped is None:
                    await self._next_change()
        except TimeoutError:
            raise self._error("main.py did not end") from None
        return self.stopped

    async def wait_restart(self, starts: int, timeout: float = 30) -> Cause:
        """Wait until it has been started so many times; return why it was the last time."""
        try:
            async with asyncio.timeout(timeout):
                while len(self.causes) < starts:
                    await self._next_change()
        except TimeoutError:
            raise self._error("the toy did not restart") from None
        return self.causes[-1]

    async def exec_repl(self, source: str, timeout: float = 60) -> str:
        """Run a snippet on the board instead of main.py, as `mpremote exec` does; return what
        it prints. A toy that was running is reset for it, and again after it."""
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

    async def memory(self) -> tuple[int, int]:
        """Return the firmware's heap after a collection: (bytes free, bytes in use)."""
        self._memory = self.loop.create_future()
        self.bus.send(Channel.SYS, Sys.MEMORY)
        return await asyncio.wait_for(self._memory, 30)

    def flash_image(self) -> bytes:
        """Return every byte of the flash chip, the file system's and those it has forgotten."""
        return self.flash.image()

    # The process

    def _start(self, cause: Cause, repl: str | None = None) -> None:
        self._boot = None
        self.stopped = None
        self.off.clear()
        self.causes.append(cause)
        if self._air is not None:
            self._air.attach(self)
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
        if self._main is not None:
            (scripts / "main.py").write_text(self._main)
        if repl is not None:
            (scripts / "repl.py").write_text(repl)

    def _configuration(self, cause: Cause, repl: str | None) -> bytes:
        chip = _CHIPS["c3" if "c3" in self.board else "s3" if "s3" in self.board else "esp32"]
        firmware = ROOT / "firmware"
        run = ["/firmware/boot.py", "/firmware/main.py"]
        if self._main is not None:
            run = ["/scripts/main.py"]
        if repl is not None:
            run[-1] = "/scripts/repl.py"
        mounts = {
            "/lib": self._lib,
            "/variant": ROOT / "board" / self.board,
            "/firmware": firmware,
            "/scripts": self.directory / "scripts",
        }
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
        self.i2s.power_off()
        self.pins.power_off()
        self.led.power_off()
        self.nvs.power_off()
        if self._air is not None:
            self._air.detached(self)

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

    def _broke(self, error: Exception) -> None:
        """A peripheral here raised: the fault is not the toy's, and it cannot go on."""
        self._end()
        self._crash = self._error(f"a virtual peripheral failed: {error!r}")
        self._crash.__cause__ = error
        self.off.set()
        self._notice()

    def _error(self, what: str) -> ToyError:
        tail = self._tail()
        return ToyError(f"{what}. Its console:\n{tail}" if tail else f"{what}; it said nothing.")

    def _tail(self) -> str:
        return "\n".join(line[:WIDTH] for line in self.console[-TAIL:])

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
                *lines, self._line = (self._line + data).split(b"\n")
                if lines:
                    self.console += [x.decode(errors="replace").rstrip("\r") for x in lines]
                    self._notice()
        except BlockingIOError:
            return
        # Nobody holds the other end any more: only a look at the bus can tell what happened.
        if not self.bus.virtual:
            self.loop.remove_reader(self.bus.console_fd)

    def _notice(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _next_change(self) -> None:
        if self._crash is not None:
            raise self._crash
        await self._changed.wait()

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

    def _on_memory(self, payload: bytes) -> None:
        free, used, _ = struct.unpack("<III", payload)
        if self._memory and not self._memory.done():
            self._memory.set_result((free, used))

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

    def _on_radio(self, op: int, payload: bytes) -> bytes | Awaitable[bytes] | None:
        """It uses its radio and no air was given: it gets one with nobody else on it."""
        from .radio import VirtualRadio  # slow to import, and most scripts have no use for it

        self._air = self._own_air = VirtualRadio()
        self._air.attach(self)
        return self.bus.handle(Channel.BLE, op, payload)

    def _on_watchdog(self, op: int, payload: bytes) -> None:
        if op == 1:
            (ms,) = struct.unpack("<I", payload)
            self._watchdog_s = ms / 1000
        if self._watchdog:
            self._watchdog.cancel()
        self._watchdog = self.loop.call_later(self._watchdog_s, self._reset, Cause.WATCHDOG)


_CHIPS: dict[str, dict[str, Any]] = {
    "esp32": {
        "i2s": 2,
        "pins": [*range(6), *range(9, 11), *range(12, 24), *range(25, 28), *range(32, 40)],
        "input_only": [34, 35, 36, 37, 38, 39],
    },
    "s3": {"i2s": 2, "pins": [*range(22), *range(26, 49)], "input_only": []},
    "c3": {"i2s": 1, "pins": [*range(11), *range(12, 22)], "input_only": []},
}


def board_facts(path: pathlib.Path) -> dict[str, Any]:
    """Return the constants of a board file, which only a chip can import."""
    facts: dict[str, Any] = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                facts[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue
    return facts
