"""What is in the flash of an emulated ESP32 that is a toy: the official image and the toy's files.

On the chip's own file system is the unmodified firmware, and the toy keeps there what it keeps.
The library, the board's pins and the stand-ins for what the emulator lacks are in the window:
bluetooth.mpy and machine.mpy, first in the path, win over what the image has built in. A few lines
before boot.py see to that. The root is not in the path: to look there for each module takes long.
"""

from __future__ import annotations

import pathlib
import tempfile
from collections.abc import Mapping

from host_tests.targets import LIB, ROOT
from host_tests.targets.esp32_emulator import new_flash
from host_tests.targets.esp32_window import FLASH_SIZE, MAP, MEMORY_AT, WINDOW_AT, library
from tools import compact

DEVICE = pathlib.Path(__file__).parent / "device"
STAND_INS = (
    *(DEVICE / name for name in ("ble_ops.py", "bluetooth.py", "bus.py")),
    *(DEVICE / name for name in ("chip_i2s.py", "chip_pins.py")),
    *(DEVICE / "esp32_image" / name for name in ("line.py", "machine.py", "pace.py", "pins.py")),
)
PATH = 'import sys\nsys.path[:] = ["/lib", ".frozen"]\n'


def toy_flash(board: str, files: Mapping[str, bytes]) -> bytes:
    """Return what the flash of a new toy holds, with further `files` in the root directory."""
    with tempfile.TemporaryDirectory() as directory:
        short = pathlib.Path(directory)  # as tools/flash.sh brings it onto a board
        for module, source in compact.library(LIB).items():
            path = short / compact.path_of(module, LIB)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)
        modules, mount = library([*STAND_INS, ROOT / "board" / board / "board.py"], short)
    start = (mount + PATH).encode()
    window = modules + start
    begin = f"{MAP}exec(u.bytearray_at({MEMORY_AT + len(modules)}, {len(start)}))\ndel m, u\n"
    firmware = {path.name: path.read_text() for path in (ROOT / "firmware").glob("*.py")}
    firmware["boot.py"] = begin + firmware["boot.py"]
    flash = new_flash({name: source.encode() for name, source in firmware.items()} | dict(files))
    flash = flash.ljust(FLASH_SIZE, b"\xff")
    flash[WINDOW_AT : WINDOW_AT + len(window)] = window
    return bytes(flash)
