"""Shorter names for the toy's memory: the same behaviour, and a crash log that can be read."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from host_tests.targets import LIB, ROOT
from tools import compact

# Each ends with `result`. What it is must not change.
TRICKY = {
    "arguments and locals": """
def add(first, second=2, *rest, third=3):
    a, b = first, second
    return a + b + sum(rest) + third
result = add(1), add(1, 5), add(1, 5, 6), add(1, third=9)
""",
    "passed by name": """
def name(first, second):
    return first, second
result = name(second=1, first=2)
""",
    "inner functions": """
def outer(value, other):
    def inner(value, factor=other):
        return value * factor + other
    return [inner(value), (lambda other: other + value)(5), [value for value in (1, 2)], value]
result = outer(3, 4)
""",
    "globals and exceptions": """
a = 7
def look(thing, error):
    global b
    b = a
    try:
        raise ValueError(thing)
    except ValueError as error:
        return str(error), a, b
result = look("x", None)
""",
    "private names": """
class _Base:
    _shared = 1
    def __init__(self, board):
        self._board = board
        self.board = board + 1
    def _take(self, _a):
        return self._board, self.board, self._shared, _a
class Child(_Base):
    def _take(self, _a):
        return super()._take(_a) + (self._board,)
def _free(child):
    return child._take(9)
result = _free(Child(3)), hasattr(_Base, "__init__")
""",
}


def result_of(source: str) -> object:
    namespace: dict[str, object] = {}
    exec(source, namespace)
    return namespace["result"]


@pytest.mark.parametrize("name", TRICKY)
def test_the_effect_is_the_same(name: str) -> None:
    source = TRICKY[name]
    short = compact.compact(source, compact.keywords([source]))
    assert result_of(short) == result_of(source)


def test_names_become_shorter_and_are_used_again(tmp_path: Path) -> None:
    short = compact.library(LIB)
    before, after = compact.read(LIB), {}
    for module, source in short.items():
        after[module] = source
        assert compile(source, module, "exec")

    def private(sources: dict[str, str]) -> set[str]:
        return {name for source in sources.values() for name in compact._private_names(
            ast.parse(source))}  # fmt: skip

    assert len(private(after)) < len(private(before)) / 4


def test_constants_take_the_place_of_their_names(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "wire.py").write_text(
        '"""Numbers."""\nBUSY = 5\nHEAD = b"HB"\nBOTH = (BUSY, HEAD)\n'
    )
    (package / "user.py").write_text(
        "from package import wire\nfrom package.wire import BOTH, HEAD\n"
        "def answer():\n    return wire.BUSY, HEAD, BOTH\nresult = answer()\n"
    )
    short = compact.library(tmp_path)["package.user"]
    assert "wire" not in short and "import" not in short
    assert result_of(short) == (5, b"HB", (5, b"HB"))


def test_names_of_a_class_and_one_that_extends_it_stay_apart(tmp_path: Path) -> None:
    (tmp_path / "base.py").write_text(
        "class Base:\n    def __init__(self):\n        self._z = 1\n        self._own = 2\n"
    )
    (tmp_path / "child.py").write_text(
        "from base import Base\nclass Child(Base):\n    def both(self):\n"
        "        self._a_new = 3\n        return self._z + self._a_new\n"
    )
    short = compact.library(tmp_path)
    assert "self._z" in short["base"] and "self._z" in short["child"]
    assert "_own" not in short["base"], "only the base knows it"
    assert "_a_new" in short["child"], "it could become what _own is in the base"


def test_what_is_no_python_is_left_for_the_compiler_to_report(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def (:\n")
    assert compact.library(tmp_path) == {"broken": "def (:\n"}


def test_a_crash_log_gets_its_names_back() -> None:
    names = compact.short_names(LIB, "hushbear.app")
    log = f'  File "hushbear.app", line 1, in {names["_record"]}\nOSError: 5 in _a\n'
    done = subprocess.run(
        [sys.executable, "-m", "tools.compact"],
        cwd=ROOT, input=log, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == '  File "hushbear.app", line 1, in _record\nOSError: 5 in _a\n'
