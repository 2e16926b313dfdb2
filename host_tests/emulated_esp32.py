"""An emulated ESP32 on a serial port, with the chip's own ROM, whose loader esptool speaks to."""

from __future__ import annotations

import pathlib
import threading

from host_tests.emulated_port import BOOT_S, EmulatedBoard
from host_tests.targets.esp32_emulator import IMAGE_FLASH, command

# How the pins that the chip looks at when it starts are read, as Espressif's QEMU documents it
FLASH_BOOT = 0x12
DOWNLOAD_BOOT = 0x0F
LOADER_READY = b"_BOOT(UART0"  # the last that the loader says before it listens


class EmulatedEsp32(EmulatedBoard):
    def __init__(self, flash: pathlib.Path) -> None:
        """`flash` keeps what is written; it is made, erased, if it is not there."""
        super().__init__()
        if not flash.exists():
            flash.write_bytes(b"\xff" * IMAGE_FLASH)
        self._flash = flash
        self._said = b""
        self._loader_ready = threading.Event()

    def command(self, io0: bool) -> list[str]:
        self._loader_ready.clear()
        strapping = FLASH_BOOT if io0 else DOWNLOAD_BOOT
        return [
            *command(self._flash),
            *("-monitor", "none"),
            *("-global", f"driver=esp32.gpio,property=strap_mode,value={strapping:#x}"),
            *("-global", "driver=timer.esp32.timg,property=wdt_disable,value=true"),
            *("-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"),
        ]

    def booted(self, io0: bool) -> None:
        if not io0:
            self._loader_ready.wait(BOOT_S)

    def said(self, data: bytes) -> bytes:
        self._said = self._said[-len(LOADER_READY) :] + data
        if LOADER_READY in self._said:
            self._loader_ready.set()
        return data
