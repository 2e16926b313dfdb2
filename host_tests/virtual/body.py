"""A toy as its surroundings know it: hands on its paws, what it shows and says, its power.

The peripherals are in this process. Where the firmware runs is a subclass's affair: in a process
(toy.py) or on an emulated chip (esp32_toy.py). It says how to `_start` and `_end` a run of the
firmware, and how a snippet runs in its place.
"""

from __future__ import annotations

import ast
import asyncio
import enum
import pathlib
import re
import struct
from abc import ABC, abstractmethod
from collections.abc import Awaitable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from host_tests.targets import ROOT

from .bus import Bus, Channel, Sys
from .chip_clock import Clock
from .gpio import Led, Paw, Pins
from .i2s import I2S, Mic, Speaker

if TYPE_CHECKING:
    from .radio import VirtualRadio

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

    def attach(self, toy: Body) -> None:
        """The toy starts."""

    def detached(self, toy: Body) -> None:
        """The toy's chip was reset or lost its power."""


class Body(ABC):
    def __init__(
        self,
        directory: str | pathlib.Path,
        *,
        board: str,
        air: Air | None,
        autostart: bool,
        seed: int,
        clock: Clock | None = None,
    ) -> None:
        """`directory` keeps the flash: another toy made there later is the same toy. With
        `autostart` off the toy is without power until `restart()`."""
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.board = board
        self.facts = board_facts(ROOT / "board" / board / "board.py")
        self.autostart = autostart
        self.console: list[str] = []  # whole lines
        self.causes: list[Cause] = []  # of every start so far
        self.off = asyncio.Event()  # it has no power
        self._air = air
        self._own_air: VirtualRadio | None = None
        self._line = b""
        self._crash: ToyError | None = None
        self._changed = asyncio.Event()  # console or state
        self._memory: asyncio.Future[tuple[int, int]] | None = None

        self.bus = Bus()
        self.loop = self.bus.loop
        self.bus.on_error = self._broke
        self.pins = Pins(self.bus)
        self.led = Led(self.bus, self.pins, self.facts["LED"])
        self.clock = clock or self.loop
        self.mic = Mic(self.clock, seed)
        self.speaker = Speaker()
        if (amplifier := self.facts.get("AMPLIFIER")) is not None:
            self.speaker.muted = lambda: not self.pins.level(amplifier)
        self.i2s = I2S(self.bus, self.clock, self.speaker, self.mic)
        self.paws = {"record": Paw(self.pins, self.facts["RECORD_PAW"], seed)}
        if self.facts.get("PLAY_PAW") is not None:
            self.paws["play"] = Paw(self.pins, self.facts["PLAY_PAW"], seed)
        self.bus.on(Channel.BLE, self._on_radio)
        self.bus.on_system[Sys.MEMORY | 0x80] = self._on_memory

    # Where the firmware runs

    @abstractmethod
    def _start(self, cause: Cause) -> None:
        """Begin a run of the firmware."""

    @abstractmethod
    def _end(self) -> None:
        """End it, whatever it is doing. Harmless when there is none."""

    @abstractmethod
    async def exec_repl(self, source: str, timeout: float = 60) -> str:
        """Run a snippet on the board instead of main.py, as `mpremote exec` does; return what
        it prints. A toy that was running is reset for it, and again after it."""

    def _started(self, cause: Cause) -> None:
        self.off.clear()
        self.causes.append(cause)
        if self._air is not None:
            self._air.attach(self)
        self._notice()

    def _silence(self) -> None:
        """The chip is no more, or is reset: so are its peripherals."""
        self.i2s.power_off()
        self.pins.power_off()
        self.led.power_off()
        if self._air is not None:
            self._air.detached(self)

    # Hands on the toy

    def press(self, paw: str, bounce: int = 0) -> None:
        """Press a paw, "record" or "play", and keep it down."""
        self._paw(paw).press(bounce)

    def release(self, paw: str, bounce: int = 0) -> None:
        """Let go of a paw."""
        self._paw(paw).release(bounce)

    async def hold(self, paw: str, seconds: float, bounce: int = 0) -> None:
        """Press a paw for so long, by the toy's clock."""
        self.press(paw, bounce)
        await self.sleep(seconds)
        self.release(paw, bounce)

    def _paw(self, name: str) -> Paw:
        # On a board with one paw it does both.
        return self.paws.get(name) or self.paws["record"]

    # Power

    async def __aenter__(self) -> Self:
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
        self.off.set()
        self._notice()

    async def restart(self, cause: Cause = Cause.POWER_ON) -> None:
        """Switch it off if it is on, and on."""
        self._end()
        self._start(cause)
        await asyncio.sleep(0)

    async def sleep(self, seconds: float) -> None:
        """Wait until so much of the toy's time has passed."""
        await asyncio.sleep(seconds)

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

    async def wait_restart(self, starts: int, timeout: float = 30) -> Cause:
        """Wait until it has been started so many times; return why it was the last time."""
        try:
            async with asyncio.timeout(timeout):
                while len(self.causes) < starts:
                    await self._next_change()
        except TimeoutError:
            raise self._error("the toy did not restart") from None
        return self.causes[-1]

    async def memory(self) -> tuple[int, int]:
        """Return the firmware's heap after a collection: (bytes free, bytes in use)."""
        self._memory = self.loop.create_future()
        self.bus.send(Channel.SYS, Sys.MEMORY)
        return await asyncio.wait_for(self._memory, 30)

    # What it says

    def _said(self, data: bytes) -> None:
        *lines, self._line = (self._line + data).split(b"\n")
        if lines:
            self.console += [x.decode(errors="replace").rstrip("\r") for x in lines]
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

    def _notice(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _next_change(self) -> None:
        if self._crash is not None:
            raise self._crash
        await self._changed.wait()

    def _on_radio(self, op: int, payload: bytes) -> bytes | Awaitable[bytes] | None:
        """It uses its radio and no air was given: it gets one with nobody else on it."""
        from .radio import VirtualRadio  # slow to import, and most scripts have no use for it

        self._air = self._own_air = VirtualRadio()
        self._air.attach(self)
        return self.bus.handle(Channel.BLE, op, payload)

    def _on_memory(self, payload: bytes) -> None:
        free, used, _ = struct.unpack("<III", payload)
        if self._memory and not self._memory.done():
            self._memory.set_result((free, used))


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
