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
import tempfile
from collections.abc import Mapping

from . import tool
from .unix import Unix

EMULATOR = "qemu-system-xtensa"
IMAGE_FLASH = 4 << 20  # bytes of flash that the image is made for
IMAGE_AT = 0x1000  # where esptool writes a chip's image
TABLE_AT = 0x8000
TABLE_SIZE = 0xC00
# Each of the chip's processors waits for the other around every access to the flash.
FAST = ("-accel", "tcg,thread=multi")
# The chip's clock is what it has executed, so a busy machine makes it slow, and no watchdog bites.
STEADY = ("-icount", "shift=3")
# Then the processors take turns, of half the time to the next timer, and in an access to the flash
# they wait for each other, for several turns. A timer of the emulator's own makes these short, so
# that an access takes 0.3 ms of the chip's time, and not 3.
TURNS = (
    *("-netdev", "hubport,id=nothing,hubid=0"),
    *("-object", "filter-buffer,id=turns,netdev=nothing,queue=all,interval=200"),  # µs
)

# Runs on `unix` with a directory as its argument: makes a file system in its file `flash` of what
# is in its folder `files`. To write it the chip would take most of an hour: around every access to
# the emulated flash both processors stop, and the emulator forgets what it has compiled.
FILE_SYSTEM = """\
import os, sys, vfs

class Flash:
    file = open(sys.argv[1] + "/flash", "r+b")
    start, size = int(sys.argv[2]), int(sys.argv[3])

    def readblocks(self, block, buf, offset=0):
        self.file.seek(self.start + block * 4096 + offset)
        self.file.readinto(buf)

    def writeblocks(self, block, buf, offset=0):
        self.file.seek(self.start + block * 4096 + offset)
        self.file.write(buf)

    def ioctl(self, op, arg):
        if op == 6:
            self.writeblocks(arg, b"\\xff" * 4096)
        return {4: self.size // 4096, 5: 4096}.get(op, 0)

flash = Flash()
vfs.VfsLfs2.mkfs(flash)
root = vfs.VfsLfs2(flash)

def copy(source, path):
    for name, kind, *_ in sorted(os.ilistdir(source)):
        if kind == 0x4000:
            root.mkdir(path + name)
            copy(source + "/" + name, path + name + "/")
        else:
            with open(source + "/" + name, "rb") as original, root.open(path + name, "wb") as file:
                while piece := original.read(4096):
                    file.write(piece)

copy(sys.argv[1] + "/files", "/")
flash.file.close()
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


def command(flash: pathlib.Path, pace: tuple[str, str] = FAST) -> list[str]:
    """Return how to start a chip with this flash and nothing connected to it."""
    found = emulator()
    assert found is not None
    return [
        *(found, "-machine", "esp32", *pace, "-display", "none"),
        *("-drive", f"file={flash},if=mtd,format=raw"),
    ]


def new_flash(files: Mapping[str, bytes]) -> bytearray:
    """Return what a flash holds that has the image and, on its file system, these files."""
    flash = bytearray((b"\xff" * IMAGE_AT + image().read_bytes()).ljust(IMAGE_FLASH, b"\xff"))
    with tempfile.TemporaryDirectory(prefix="hushbear-") as name:
        directory = pathlib.Path(name)
        (directory / "flash").write_bytes(flash)
        (directory / "files").mkdir()
        for path, content in files.items():
            file = directory / "files" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        script = directory / "script.py"
        script.write_text(FILE_SYSTEM)
        start, size = partition(flash, "vfs")
        subprocess.run(
            [Unix.micropython_path(), script, directory, str(start), str(size)],
            stdin=subprocess.DEVNULL, check=True, timeout=120,
        )  # fmt: skip
        return bytearray((directory / "flash").read_bytes())
