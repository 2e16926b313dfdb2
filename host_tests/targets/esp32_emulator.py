"""The official ESP32 image of MicroPython and the emulator that runs it, where a machine has them.

HUSHBEAR_ESP32_IMAGE names the image (ESP32_GENERIC, 1.23 or later), HUSHBEAR_QEMU_XTENSA the
emulator, unless it is in PATH.
"""

from __future__ import annotations

import functools
import os
import pathlib
import struct
import subprocess

from . import tool
from .unix import Unix

EMULATOR = "qemu-system-xtensa"
IMAGE_FLASH = 4 << 20  # bytes of flash that the image is made for
IMAGE_AT = 0x1000  # where esptool writes a chip's image
TABLE_AT = 0x8000
TABLE_SIZE = 0xC00
BLOCK = 4096
# Each of the chip's processors waits for the other around every access to the flash.
ACCEL = ("-accel", "tcg,thread=multi")

# Runs on `unix`: an empty file system, as the chip would be slow to make one.
FORMAT = """\
import vfs

class Flash:
    blocks = {}

    def readblocks(self, block, buf, offset=0):
        if block in self.blocks:
            buf[:] = self.blocks[block][offset : offset + len(buf)]

    def writeblocks(self, block, buf, offset=0):
        self.blocks[block][offset : offset + len(buf)] = buf

    def ioctl(self, op, arg):
        if op == 6:
            self.blocks[arg] = bytearray(b"\\xff" * 4096)
        return {4: count, 5: 4096}.get(op, 0)

vfs.VfsLfs2.mkfs(Flash())
result([(block, bytes(data)) for block, data in Flash.blocks.items()])
"""


@functools.cache
def _knows_esp32(emulator: str) -> bool:
    listing = subprocess.run(
        [emulator, "-machine", "help"], capture_output=True, text=True, check=False, timeout=20
    )
    return any(line.split()[:1] == ["esp32"] for line in listing.stdout.splitlines())


def partition(flash: bytes | bytearray, label: str) -> tuple[int, int]:
    """Return start and size of a partition in the contents of a whole flash."""
    for at in range(TABLE_AT, TABLE_AT + TABLE_SIZE, 32):
        magic, start, size, name = struct.unpack_from("<H2xII16s", flash, at)
        if magic == 0x50AA and name.rstrip(b"\0") == label.encode():
            return start, size
    raise ValueError(f"the image has no partition {label}")


def emulator() -> str | None:
    return tool(os.environ.get("HUSHBEAR_QEMU_XTENSA") or EMULATOR)


def image() -> pathlib.Path:
    return pathlib.Path(os.environ.get("HUSHBEAR_ESP32_IMAGE") or os.devnull)


def missing() -> str | None:
    """Return what this machine lacks to emulate an ESP32, and what to do, or None."""
    found = emulator()
    if found is None or not _knows_esp32(found):
        return (
            f"no {EMULATOR} with the machine esp32: install Espressif's QEMU, and name it in"
            " HUSHBEAR_QEMU_XTENSA unless it is in PATH"
        )
    if not image().is_file():
        return (
            "no image: get ESP32_GENERIC, 1.23 or later, from micropython.org/download, and"
            " name the file in HUSHBEAR_ESP32_IMAGE"
        )
    return Unix.missing()  # which makes the file system


def command(flash: pathlib.Path, accel: tuple[str, ...] = ACCEL) -> list[str]:
    """Return how to start a chip with this flash and nothing connected to it."""
    found = emulator()
    assert found is not None
    return [
        *(found, "-machine", "esp32", *accel, "-display", "none"),
        *("-drive", f"file={flash},if=mtd,format=raw"),
    ]


def new_flash() -> bytearray:
    """Return what a flash with the image and an empty file system holds."""
    flash = bytearray((b"\xff" * IMAGE_AT + image().read_bytes()).ljust(IMAGE_FLASH, b"\xff"))
    start, size = partition(flash, "vfs")
    blocks = Unix().run(FORMAT, args={"count": size // BLOCK})
    assert isinstance(blocks, list)
    for block, data in blocks:
        flash[start + block * BLOCK : start + (block + 1) * BLOCK] = data
    return flash
