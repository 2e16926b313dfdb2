"""Target `unix`: a 32-bit MicroPython process on this machine, a new one for every script."""

from __future__ import annotations

import os
import pathlib
import subprocess
import tempfile
from collections.abc import Mapping

from . import BUILD, HEAP, LIB, PRELUDE, DeviceError, Target, dedent, split_args


class Unix(Target):
    name = "unix"

    @classmethod
    def micropython_path(cls) -> pathlib.Path:
        """Return where the program is, whether or not it is there."""
        override = os.environ.get("HUSHBEAR_MICROPYTHON")
        return pathlib.Path(override) if override else BUILD / "unix/micropython"

    @classmethod
    def missing(cls) -> str | None:
        if os.access(cls.micropython_path(), os.X_OK):
            return None
        return "the 32-bit MicroPython is not built: run tools/setup"

    def __init__(self) -> None:
        self.micropython = self.micropython_path()

    def run(
        self, source: str, *, args: Mapping[str, object] | None = None, timeout: float = 60
    ) -> object:
        small, bulk = split_args(args)
        heap = HEAP + sum(len(value) for value in bulk.values())
        with tempfile.TemporaryDirectory(prefix="hushbear-") as name:
            directory = pathlib.Path(name)
            scope = {"__name__": "__main__", **small}
            main = [PRELUDE, f"scope = {scope!r}", "scope['result'] = result"]
            for key, value in bulk.items():
                (directory / f"{key}.bin").write_bytes(value)
                main.append(f"scope[{key!r}] = open('{key}.bin', 'rb').read({len(value)})")
            main.append("exec(compile(open('test.py').read(), 'test.py', 'exec'), scope)")
            (directory / "test.py").write_text(dedent(source))
            (directory / "main.py").write_text("\n".join(main))
            try:
                process = subprocess.run(
                    [self.micropython, "-X", f"heapsize={heap}", "main.py"],
                    cwd=directory,
                    env={**os.environ, "MICROPYPATH": f".frozen:{LIB}"},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    timeout=timeout,
                    check=False,
                )
            except subprocess.TimeoutExpired as error:
                said = (error.stdout or b"").decode(errors="replace")
                raise DeviceError(f"not done after {timeout:g} s\n{said}") from None
        output = process.stdout.decode(errors="replace")
        if process.returncode:
            raise DeviceError(output or f"ended with status {process.returncode}")
        return self.read_result(output)
