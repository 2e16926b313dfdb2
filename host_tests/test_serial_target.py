"""Target `serial` against an emulated board on a port: what a session does to a board, and what it
says when there is none."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import pty
import re
import subprocess
import sys
import threading
import tty
from collections.abc import Iterator

import pytest
import serial

from host_tests.emulated_riscv import EmulatedRiscv
from host_tests.targets import ROOT, Unreachable
from host_tests.targets import serial as module
from host_tests.targets.serial import Serial
from tools import check_toy

pytestmark = pytest.mark.targets("qemu-riscv")


@pytest.fixture
def board(tmp_path: pathlib.Path) -> Iterator[EmulatedRiscv]:
    with EmulatedRiscv(tmp_path) as board:
        yield board


@pytest.fixture
def other_device() -> Iterator[tuple[str, int]]:
    """A port at which something else is, and its other end."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    yield os.ttyname(theirs), ours
    os.close(theirs)
    os.close(ours)


def refusal(port: str) -> str:
    """Return the line with which a port is refused."""
    with pytest.raises(Unreachable) as refused:
        Serial(port)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def mpremote(port: str, source: str) -> str:
    """Run `source` on the board with the tool that everybody has; return what it printed."""
    program = pathlib.Path(sys.executable).parent / "mpremote"
    return subprocess.run(
        [program, "connect", port, "exec", source],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout.strip()


TOY = """
import os
for directory in ("/lib", "/lib/hushbear", "/msg"):
    os.mkdir(directory)
for path in ("/lib/hushbear/__init__.py", "/msg/1", "/nvs/hushbear.set0", "/main.py"):
    with open(path, "w") as file:
        file.write("of_the_toy = 1")
"""
LIST = """
import os
def show(path):
    for name, kind, *_ in sorted(os.ilistdir(path)):
        if kind & 0x4000:
            name == "rom" or show(path + name + "/")
        else:
            print(path + name, open(path + name).read())
show("/")
"""


def test_a_toy_is_as_it_was_after_a_session(board: EmulatedRiscv) -> None:
    mpremote(board.port, TOY)
    before = mpremote(board.port, LIST)
    assert len(before.splitlines()) == 4
    board.type(b"\x02while True: pass\r\r")  # its app
    target = Serial(board.port)
    where = target.run("import hushbear.ring\nresult(hushbear.ring.__file__)")
    assert where == "/hushbear-test/hushbear/ring.mpy"
    starts = board.starts
    target.close()
    assert mpremote(board.port, LIST) == before
    assert board.starts == starts + 1  # and its app runs again


def test_the_library_tests_run_on_it(board: EmulatedRiscv) -> None:
    said = pytest_on(board.port, "viper or sha256 or endless or share or importable or traceback")
    assert said.returncode == 0, said.stdout
    assert re.search(r"^6 passed", said.stdout, re.MULTILINE), said.stdout


def pytest_on(port: str, which: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "--target", "serial", "--port", port]
    # A run of its own, whatever this one is part of.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    return subprocess.run(
        [*command, "-k", f"serial and ({which})", "host_tests/test_targets.py"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # pyserial's socket
def test_a_board_that_is_unplugged_ends_the_session_in_a_line(board: EmulatedRiscv) -> None:
    target = Serial(board.port)
    threading.Timer(0.5, board.unplug).start()
    with pytest.raises(Unreachable, match="the board is gone: plug it in and run this again"):
        target.run("while True:\n    pass")
    with pytest.raises(Unreachable):
        target.run("result(1)")
    target.close()
    target = Serial(board.port)
    assert target.run("import hushbear.wire\nresult(1)") == 1
    target.close()


def test_a_busy_port_is_told(other_device: tuple[str, int]) -> None:
    port, _ = other_device
    with serial.Serial(port, exclusive=True):
        assert f"{port} is busy: close the program that has it open" in refusal(port)


def test_a_port_that_is_not_there_ends_the_run_in_a_line() -> None:
    said = pytest_on("/dev/ttyBEAR", "viper or sha256")
    assert said.returncode == 1
    assert "Exit: /dev/ttyBEAR is not there (any more): plug the board in" in said.stdout
    assert "passed" not in said.stdout


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"", "it says nothing"),
        (b"rst:0x10\r\ninvalid header\r\n", "last it said 'invalid header'"),
    ],
    ids=["silent", "talks"],
)
def test_a_port_without_micropython_is_told(
    answer: bytes, told: str, other_device: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 1)
    port, other_end = other_device

    def talk() -> None:
        with contextlib.suppress(OSError):
            while os.read(other_end, 100):
                os.write(other_end, answer)

    threading.Thread(target=talk, daemon=True).start()
    assert f"{port}: no MicroPython answers ({told}): see that it is the board's" in refusal(port)


def test_check_toy_reaches_a_board_and_says_if_it_is_no_toy(
    board: EmulatedRiscv, capsys: pytest.CaptureFixture[str]
) -> None:
    said = asyncio.run(check_toy.Plugged(board.port).run("flash"))
    assert "flash: 0 wrong" in said
    assert check_toy.main([board.port]) == 1
    said = capsys.readouterr().err
    assert said == "check-toy: the board has no Hushbear on it: run tools/flash.sh\n"


def test_without_a_port_it_says_how_to_give_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HUSHBEAR_PORT", raising=False)
    reason = Serial.missing()
    assert reason and "--port" in reason and "HUSHBEAR_PORT" in reason
