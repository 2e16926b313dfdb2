"""Target `qemu-esp32`: the official ESP32 image of MicroPython under Espressif's QEMU.

Nothing is built for it: the image and the emulator are those that everybody can have. The
chip's own heap is what it is, larger than that of the other targets while the radio is off. Each
script begins with a soft reset; only one that hangs or crashes the chip costs another boot.
"""

from __future__ import annotations

import functools
import os
import pathlib
import select
import struct
import subprocess
import tempfile
import time
from collections.abc import Mapping

from . import LIB, DeviceError, Target, tool
from .mpy import compiled
from .raw_repl import RawRepl
from .unix import Unix

EMULATOR = "qemu-system-xtensa"
FLASH_SIZE = 4 << 20
IMAGE_AT = 0x1000  # where esptool writes a chip's image
TABLE_AT = 0x8000
TABLE_SIZE = 0xC00
# Each of the chip's processors waits for the other around every access to the flash.
ACCEL = ("-accel", "tcg,thread=multi")
BLOCK = 4096
CHUNK = 128  # bytes the chip's console can take while nobody reads

# The console's divisor of 80 MHz: as fast as an emulated wire can be.
_FASTER = "import machine\nmachine.mem32[0x3FF40014] = 20"

# The library is in the flash behind the firmware, and mapped into memory behind the firmware's
# constants, as reading a file system through the emulated flash controller takes seconds.
LIBRARY_AT = 0x1D0000
PAGE = 0x10000
PAGES = 3
MOUNT = f"""\
import io, machine, uctypes, vfs
for i in range({PAGES}):
    for table in (0x3FF10000, 0x3FF12000):
        machine.mem32[table + 4 * (60 + i)] = {LIBRARY_AT // PAGE} + i

class Library:
    memory = memoryview(uctypes.bytearray_at(0x3F400000 + 60 * {PAGE}, {PAGES * PAGE}))

    def mount(self, readonly, mkfs):
        pass

    def stat(self, path):
        if path not in _INDEX:
            raise OSError(2)
        size = _INDEX[path][1]
        return (0x8000 if size else 0x4000, 0, 0, 0, 0, 0, size, 0, 0, 0)

    def open(self, path, mode):
        if path not in _INDEX:
            raise OSError(2)
        start, size = _INDEX[path]
        return io.BytesIO(self.memory[start : start + size])

vfs.mount(Library(), "/lib")
"""

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


def partition(image: bytes, label: str) -> tuple[int, int]:
    """Return start and size of a partition in an image of the whole flash."""
    for at in range(TABLE_AT, TABLE_AT + TABLE_SIZE, 32):
        magic, start, size, name = struct.unpack_from("<H2xII16s", image, at)
        if magic == 0x50AA and name.rstrip(b"\0") == label.encode():
            return start, size
    raise ValueError(f"the image has no partition {label}")


class QemuEsp32(Target):
    name = "qemu-esp32"
    required = False

    @classmethod
    def missing(cls) -> str | None:
        emulator = cls._emulator()
        if emulator is None or not _knows_esp32(emulator):
            return (
                f"no {EMULATOR} with the machine esp32: install Espressif's QEMU, and name it in"
                " HUSHBEAR_QEMU_XTENSA unless it is in PATH"
            )
        if not cls._image().is_file():
            return (
                "no image: get ESP32_GENERIC, 1.23 or later, from micropython.org/download, and"
                " name the file in HUSHBEAR_ESP32_IMAGE"
            )
        return Unix.missing()  # which makes the file system

    @staticmethod
    def _emulator() -> str | None:
        return tool(os.environ.get("HUSHBEAR_QEMU_XTENSA") or EMULATOR)

    @staticmethod
    def _image() -> pathlib.Path:
        return pathlib.Path(os.environ.get("HUSHBEAR_ESP32_IMAGE") or os.devnull)

    def __init__(self, accel: tuple[str, ...] = ACCEL) -> None:
        self._accel = accel
        self._process: subprocess.Popen[bytes] | None = None
        self._directory = tempfile.TemporaryDirectory(prefix="hushbear-")
        self._flash = pathlib.Path(self._directory.name) / "flash"
        self._flash.write_bytes(self._make_flash())

    def _make_flash(self) -> bytes:
        """Return what the flash holds: the image, an empty file system, and the library."""
        image = (b"\xff" * IMAGE_AT + self._image().read_bytes()).ljust(FLASH_SIZE, b"\xff")
        flash = bytearray(image)
        start, size = partition(image, "vfs")
        blocks = Unix().run(FORMAT, args={"count": size // BLOCK})
        assert isinstance(blocks, list)
        for block, data in blocks:
            flash[start + block * BLOCK : start + (block + 1) * BLOCK] = data
        index: dict[str, tuple[int, int]] = {"/": (0, 0)}
        library = bytearray()
        for path in sorted(LIB.rglob("*")):
            at = "/" + path.parent.relative_to(LIB).as_posix() + "/"
            at = at.replace("/./", "/")
            if path.is_dir() and path.name != "__pycache__":
                index[at + path.name] = (0, 0)
            elif path.suffix == ".py":
                mpy, content = compiled(path, LIB, "xtensawin")
                index[at + mpy] = (len(library), len(content))
                library += content
        space = image[LIBRARY_AT : LIBRARY_AT + PAGES * PAGE]
        if len(library) > len(space) or space.strip(b"\xff"):
            raise ValueError("the library has no room behind this image")
        flash[LIBRARY_AT : LIBRARY_AT + len(library)] = library
        self._mount = f"_INDEX = {index!r}\n" + MOUNT
        return bytes(flash)

    def _boot(self) -> None:
        emulator = self._emulator()
        assert emulator is not None
        self._received = bytearray()
        self._process = subprocess.Popen(
            [
                *(emulator, "-machine", "esp32", *self._accel),
                *("-display", "none", "-monitor", "none"),
                *("-drive", f"file={self._flash},if=mtd,format=raw"),
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

        self._repl = RawRepl(write, self._expect, chunk=CHUNK)
        self._expect(b">>> ", 60)
        self._repl.enter()
        self._repl.execute(_FASTER, [], 10)

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
            if b"Guru Meditation" in self._received:
                raise DeviceError(f"the chip crashed\n{said}")
        found = bytes(self._received[:at])
        del self._received[: at + len(mark)]
        return found

    def run(
        self, source: str, *, args: Mapping[str, object] | None = None, timeout: float = 60
    ) -> object:
        try:
            if self._process is None:
                self._boot()
            self._repl.soft_reset(60)
            self._repl.execute_fed(self._mount, [], 60)
            return self.read_result(self._repl.run(source, args, timeout))
        except DeviceError as error:
            if "Traceback" not in str(error):  # it hangs, or is gone
                self._stop()
            raise

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def close(self) -> None:
        self._stop()
        self._directory.cleanup()
