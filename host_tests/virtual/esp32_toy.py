"""The toy on an emulated ESP32: the official image with its own NVS, littlefs, watchdog, timers,
RTC, pins and PWM; only radio and I2S are stand-ins, which speak over the chip's UART 2. So are
pins and PWM where the emulator has none.

    async with Esp32Toy(directory, air=radio) as toy:
        toy.press("record")

What a paw closes goes into the emulator's input register, and what the chip puts out is told, by
device/esp32_image/pins.py; the LED is seen in the emulator's trace of its LEDC. Time is real here,
while the chip's clock is what it has executed: busy, it may be faster than time, or slower. Sound
goes by the chip's clock as far as this host keeps up with it; see device/esp32_image/line.py.
"""

from __future__ import annotations

import asyncio
import json
import pathlib
import re
import select
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Mapping

from host_tests.targets.esp32_emulator import STEADY, TURNS, command

from .body import Air, Body, Cause, ToyError
from .bus import Channel, Sys
from .chip_clock import ChipClock
from .chips import CHIPS
from .esp32_flash import toy_flash
from .gpio import Op

MARK = b"\x00\xf0hushbear bus\xf1\x00"  # see device/esp32_image/line.py
CONNECT_S = 60.0
PIECE = 64  # bytes for the console at once: it holds 260 while nobody reads

_LIGHT = re.compile(rb"intensity (\d+)% -> (\d+)%")
_PROMPT = b"raw REPL; CTRL-B to exit\r\n>"
_END = b"\x04"


class Esp32Toy(Body):
    def __init__(
        self,
        directory: str | pathlib.Path,
        *,
        board: str = "esp32_devkitc",
        air: Air | None = None,
        autostart: bool = True,
        seed: int = 1,
        wired: bool = True,
        files: Mapping[str, bytes] | None = None,
    ) -> None:
        """With `wired` off the chip's pins are the stand-ins, as on an emulator that has none.

        A new toy has `files` in its root directory, by their names: its voice, as the console
        takes 2 kB/s.
        """
        clock = ChipClock()
        super().__init__(
            directory, board=board, air=air, autostart=autostart, seed=seed, clock=clock
        )
        self._wired = wired
        self._chip_clock = clock
        self.bus.on_clock = clock.heard
        self._flash = self.directory / "flash.bin"
        if not self._flash.exists():
            self._flash.write_bytes(toy_flash(board, files or {}))
        self.process: subprocess.Popen[bytes] | None = None
        self._ports: dict[str, socket.socket] = {}
        self._heard = bytearray()  # on the console, not expected yet
        self._wire = bytearray()  # the last bytes from the bus's UART,
        self._passed = 0  # and how many of them are passed on
        self._inputs: list[tuple[int, int]] = []  # pins and levels at its start
        self._inner: socket.socket | None = None  # our end of what the bus takes for the wire
        self.bus.on_system[Sys.HELLO] = self._configuration

    async def sleep(self, seconds: float) -> None:
        """Wait until so much of the chip's time has passed: while it is off, none does."""
        end = self.clock.time() + seconds
        self.clock.call_at(end, self._notice)
        while self.clock.time() < end:
            if self.off.is_set():
                raise self._error("the toy has no power")
            await self._next_change()

    async def exec_repl(self, source: str, timeout: float = 60) -> str:
        was_on = self.process is not None
        self.press("record")  # held at power-up it keeps the app from starting
        await self.restart()
        console = self._ports["console"]
        async with asyncio.timeout(timeout):
            await self._expect(b">>> ")
            self.release("record")
            console.sendall(b"\r\x01")
            await self._expect(_PROMPT)
            code = source.encode() + _END
            for at in range(0, len(code), PIECE):
                console.sendall(code[at : at + PIECE])
                await asyncio.sleep(0.02)
            await self._expect(b"OK")
            output = await self._expect(_END)
            failure = await self._expect(_END + b">")
        if was_on:
            await self.restart(Cause.RESET)
        else:
            self.power_cut()
        if failure:
            raise ToyError(f"the snippet failed on the toy:\n{(output + failure).decode()}")
        return output.decode(errors="replace").replace("\r\n", "\n")

    def type(self, keys: bytes) -> None:
        """Type on the console, whatever runs there."""
        self._ports["console"].sendall(keys)

    @property
    def prompted(self) -> bool:
        """Whether the console has said a prompt since the power came on."""
        return b">>>" in self._heard or _PROMPT in self._heard

    async def _expect(self, mark: bytes) -> bytes:
        """Return what the console says from now on up to a mark, and take it away."""
        while (at := self._heard.find(mark)) < 0:
            await self._next_change()
        said = bytes(self._heard[:at])
        del self._heard[: at + len(mark)]
        return said

    # The chip

    def _start(self, cause: Cause) -> None:
        listeners = {name: socket.create_server(("127.0.0.1", 0)) for name in ("console", "bus")}
        ends = []
        for name, listener in listeners.items():
            port = listener.getsockname()[1]
            ends += ["-chardev", f"socket,id={name},host=127.0.0.1,port={port},nodelay=on"]
        self.process = subprocess.Popen(
            [
                *(*command(self._flash, STEADY), *TURNS, "-monitor", "none", *ends),
                *("-serial", "chardev:console", "-serial", "null", "-serial", "chardev:bus"),
                *("-trace", "led_change_intensity"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for name, listener in listeners.items():
            with listener:
                if not select.select([listener], [], [], CONNECT_S)[0]:
                    raise self._error("the emulator did not connect")
                self._ports[name] = listener.accept()[0]
        self._listen(self._ports["console"], self._on_console)
        self._listen(self._ports["bus"], self._on_wire)
        self._follower = threading.Thread(target=self._follow_trace, args=(self.process,))
        self._follower.start()
        self.off.clear()

    def _listen(self, port: socket.socket, heard: Callable[[bytes], None]) -> None:
        port.settimeout(CONNECT_S)
        port.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def readable() -> None:
            try:
                data = port.recv(1 << 16)
            except OSError:
                data = b""
            if data:
                heard(data)
            else:
                self._died()

        self.loop.add_reader(port, readable)

    def _died(self) -> None:
        self._end()
        self._crash = self._error("the emulator ended")
        self.off.set()
        self._notice()

    def _configuration(self, _: bytes) -> bytes:
        own = {"spare": 0, "reserved": 0, "inputs": self._inputs, "wired": self._wired}
        return json.dumps(CHIPS["esp32"] | own).encode()

    def _end(self) -> None:
        if self.process is None:
            return
        self.process.kill()
        self.process.wait()
        self.process = None
        self._follower.join()
        for port in self._ports.values():
            self.loop.remove_reader(port)
            port.close()
        self._ports.clear()
        self._heard.clear()
        self._wire.clear()
        self._passed = 0
        self._unplug()

    def _unplug(self) -> None:
        if self._inner is not None:
            self.loop.remove_reader(self._inner)
            self._inner.close()
            self._inner = None
            self.bus.detach()
            self._silence()

    def _on_console(self, data: bytes) -> None:
        self._heard += data
        self._said(data)
        self._notice()

    def _on_wire(self, data: bytes) -> None:
        self._wire += data
        while (at := self._wire.find(MARK)) >= 0 and len(self._wire) > at + len(MARK):
            self._pass_on(at)
            cause = Cause(self._wire[at + len(MARK)])
            del self._wire[: at + len(MARK) + 1]
            self._passed = 0
            self._plug_in(cause)
        if at < 0:
            # Most of a mark at the end waits for the rest of it; a byte or two may end a frame.
            beginnings = range(len(MARK) - 1, len(MARK) // 2, -1)
            kept = next((n for n in beginnings if self._wire.endswith(MARK[:n])), 0)
            self._pass_on(len(self._wire) - kept)
            surplus = max(0, min(self._passed, len(self._wire) - len(MARK)))
            del self._wire[:surplus]
            self._passed -= surplus

    def _pass_on(self, end: int) -> None:
        if self._inner is not None and end > self._passed:
            self._inner.sendall(self._wire[self._passed : end])
        self._passed = max(self._passed, end)

    def _plug_in(self, cause: Cause) -> None:
        """The chip has started, or started again."""
        self._unplug()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._inner = socket.create_connection(listener.getsockname())
            outer, _ = listener.accept()
        self._inner.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire, inner = self._ports["bus"], self._inner
        self._inputs = []
        for paw in self.paws.values():
            # The emulator knows no pull-ups: that the paws have them is told here.
            self.bus.handle(Channel.GPIO, Op.MODE, bytes((paw.pin, 1, 2)))
            self._inputs.append((paw.pin, self.pins.level(paw.pin)))
        if (amplifier := self.facts.get("AMPLIFIER")) is not None:
            self.bus.handle(Channel.GPIO, Op.MODE, bytes((amplifier, 3, 0)))
        wire.sendall(MARK)
        self._chip_clock.started()
        self.bus.attach(outer)

        def from_bus() -> None:
            if data := inner.recv(1 << 16):
                wire.sendall(data)

        self.loop.add_reader(inner, from_bus)
        self._started(cause)

    def _follow_trace(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                if found := _LIGHT.search(line):
                    self.loop.call_soon_threadsafe(self._show, process, int(found[2]))

    def _show(self, process: subprocess.Popen[bytes], percent: int) -> None:
        if process is self.process:
            pwm = struct.pack(
                "<BIH", self.facts["LED"], 1000 if percent else 0, 65535 * percent // 100
            )
            self.bus.handle(Channel.GPIO, Op.PWM, pwm)
