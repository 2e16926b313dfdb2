"""The window: flash behind what the official image uses, mapped into an emulated ESP32's memory.

The device library is read from there, as a frozen one would be: reading it from littlefs through
the emulated flash controller takes minutes.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterable

from . import LIB
from .esp32_emulator import IMAGE_FLASH
from .mpy import compiled

FLASH_SIZE = 2 * IMAGE_FLASH
WINDOW_AT = IMAGE_FLASH
PAGE = 0x10000
FIRST_PAGE, PAGES = 24, 40  # of the 64 there are for constants; the firmware's own are before
WINDOW_SIZE = PAGES * PAGE
MEMORY_AT = 0x3F400000 + FIRST_PAGE * PAGE

# Both processors' tables; and flushing their caches has the file read anew. Typed into a REPL.
MAP = f"""\
import machine as m,uctypes as u
for t in 0x3FF10000,0x3FF12000:
 for i in range({PAGES}):m.mem32[t+{4 * FIRST_PAGE}+4*i]={WINDOW_AT // PAGE}+i
for r in 0x3FF00040,0x3FF00058:m.mem32[r]|=16
"""

# A file system that reads from memory.
_LIBRARY = """\
import io, uctypes, vfs

class Library:
    def mount(self, readonly, mkfs):
        pass

    def stat(self, path):
        if path not in INDEX:
            raise OSError(2)
        at, size = INDEX[path]
        return (0x8000 if at else 0x4000, 0, 0, 0, 0, 0, size, 0, 0, 0)

    def open(self, path, mode):
        if path not in INDEX:
            raise OSError(2)
        return io.BytesIO(memoryview(uctypes.bytearray_at(*INDEX[path])))

"""


def library(beside: Iterable[pathlib.Path] = (), lib: pathlib.Path = LIB) -> tuple[bytes, str]:
    """Return what the window begins with, and a script that mounts it at /lib: the device library
    in `lib`, and `beside` it modules from elsewhere."""
    index: dict[str, tuple[int, int]] = {"/": (0, 0)}  # address, size; no address: a folder
    content = bytearray()
    modules = [(path, lib) for path in sorted(lib.rglob("*"))]
    for path, root in [*modules, *((path, path.parent) for path in beside)]:
        at = "/" + path.parent.relative_to(root).as_posix() + "/"
        at = at.replace("/./", "/")
        if path.is_dir() and path.name != "__pycache__":
            index[at + path.name] = (0, 0)
        elif path.suffix == ".py":
            name, code = compiled(path, root, "xtensawin")
            index[at + name] = (MEMORY_AT + len(content), len(code))
            content += code
    content += bytes(-len(content) % 4)
    return bytes(content), f"INDEX = {index!r}\n{_LIBRARY}vfs.mount(Library(), '/lib')\n"
