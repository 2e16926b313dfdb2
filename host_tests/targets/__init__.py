"""Where the toy's Python can run: a class for each target, with all that differs between them.

A target runs MicroPython source with the device library importable and hands back a value. Tests
get it as the fixture `target`; see plugin.py.
"""

from __future__ import annotations

import ast
import pathlib
import re
import shutil
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIB = ROOT / "lib"
BUILD = ROOT / "build"  # what tools/setup has built, a directory for each target
HEAP = 160 * 1024  # bytes for the script and what it imports; what it is given comes on top
BULK = 512  # bytes objects longer than this travel outside the source text

_MARK = "<<result>>"
_RESULT = re.compile(rf"{_MARK}(\(.*\))\s*$", re.MULTILINE)

# Runs on the device. A tuple prints as its repr, piece by piece: no second copy in memory.
PRELUDE = f"""\
def result(value):
    if isinstance(value, (bytearray, memoryview)):
        value = bytes(value)
    print("\\n{_MARK}", end="")
    print((value,))
"""


class DeviceError(Exception):
    """The script failed on the device; the text is what the device said, with its traceback."""


class Unreachable(DeviceError):
    """There is no target to speak to (any more); the text says in a line why, and what to do."""


class Target(ABC):
    """A MicroPython to run code on. Made once a test session; `close` ends it."""

    name: ClassVar[str]
    required: ClassVar[bool] = True  # part of `all`: CI must have it
    output: str = ""  # what the last script printed

    @classmethod
    @abstractmethod
    def missing(cls) -> str | None:
        """Return why this target cannot run on this machine and what to do, or None if it can."""

    @abstractmethod
    def run(
        self, source: str, *, args: Mapping[str, object] | None = None, timeout: float = 60
    ) -> object:
        """Run `source` with `args` as variables; return what it passed to `result(value)`.

        Every call starts afresh. Values travel as their repr: ints, floats, str, bytes, lists,
        tuples, dicts. Raises DeviceError when the script raises, or does not end in `timeout` s.
        """

    def close(self) -> None:  # noqa: B027 - not every target has something to stop
        """Stop whatever runs for this target."""

    def read_result(self, output: str) -> object:
        """Return the value of the last result() in `output`, None if there is none."""
        self.output = output
        found = _RESULT.findall(output)
        return ast.literal_eval(found[-1])[0] if found else None


def split_args(args: Mapping[str, object] | None) -> tuple[dict[str, object], dict[str, bytes]]:
    """Return (values that go into the source, bytes that travel by themselves)."""
    small: dict[str, object] = {}
    bulk: dict[str, bytes] = {}
    for name, value in (args or {}).items():
        if isinstance(value, (bytes, bytearray)) and len(value) > BULK:
            bulk[name] = bytes(value)
        else:
            small[name] = value
    return small, bulk


def dedent(source: str) -> str:
    """Return `source` as a module, whatever the indentation of the test it stands in."""
    return textwrap.dedent(source).lstrip("\n")


def tool(name: str) -> str | None:
    """Return the path of an installed program, None if there is none."""
    return shutil.which(name)
