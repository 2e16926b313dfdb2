"""tools/flash.sh with the real mpremote and esptool: files go over a real console, to an emulated
RISC-V board that runs what an ESP32-C3 runs, and are imported there.

The board's file system lies in the machine's memory. What QEMU lacks of a C3 is NVS, which is
files here, its radio, which is nothing here, and its name.
"""

from __future__ import annotations

import fcntl
import os
import pathlib
import pty
import re
import subprocess
import sys
import termios
import tty
from collections.abc import Iterator

import pytest

from host_tests import emulated_riscv
from host_tests.targets import LIB, ROOT
from host_tests.test_flash import image
from hushbear_companion.link import parse_link
from tools import voice_file

# mpremote, with the chip made ready first, and called what it stands for.
MPREMOTE = """\
#!{python}
import subprocess, sys
port, rest = sys.argv[1:3], sys.argv[3:]
resume = [rest.pop(0)] if rest[0] == "resume" else []
if rest == ["reset"]:
    sys.exit()
ready = ["exec", "{ready}"]
command = ["{mpremote}", *port, *resume, *ready, *rest]
done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
sys.stdout.buffer.write(done.stdout.replace(b"with rv32imac", b"with ESP32C3"))
sys.exit(done.returncode)
"""


class EmulatedBoard:
    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self._qemu = subprocess.Popen(
            emulated_riscv.command(path, "pty"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._qemu.stdout
        match = re.search(r"/dev/pts/\d+", self._qemu.stdout.readline())
        assert match
        self.port = match[0]
        tools = path / "tools"
        tools.mkdir()
        mpremote = pathlib.Path(sys.executable).parent / "mpremote"
        facts = {"python": sys.executable, "mpremote": mpremote, "ready": emulated_riscv.READY}
        (tools / "mpremote").write_text(MPREMOTE.format(**facts))
        (tools / "mpremote").chmod(0o755)

    def flash(self, *arguments: str) -> str:
        done = subprocess.run(
            [ROOT / "tools/flash.sh", self.port, "--board", "esp32_c3", "--update", *arguments],
            env={**os.environ, "HUSHBEAR_TOOLS": str(self.path / "tools")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run(self, source: str) -> str:
        return subprocess.run(
            [self.path / "tools/mpremote", "connect", self.port, "exec", source],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout

    def close(self) -> None:
        self._qemu.kill()
        self._qemu.communicate()


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatedBoard]:
    board = EmulatedBoard(tmp_path_factory.mktemp("board"))
    yield board
    board.close()


@pytest.mark.targets("qemu-riscv")
def test_what_is_flashed_runs_and_is_updated_in_place(
    board: EmulatedBoard, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "ours"  # little, as this line is slow
    path.write_bytes(voice_file.pack("it", {"0": bytes(256), "full": b"\1" * 512}))
    printed = board.flash("--language", str(path))
    assert f"verified {len(list(LIB.rglob('*.py'))) + 4} files" in printed
    link = re.search(r"hushbear://\S+", printed)
    assert link
    key = parse_link(link[0]).key
    said = board.run("from hushbear.keys import Keys; print(Keys().psks())")
    assert said.strip() == str([(0, key)])
    # Machine code, in the form that the C3 takes
    said = board.run(
        "from hushbear.ring import Ring; r = Ring(bytearray(8)); r.put(b'bear', 0, 4);"
        " b = bytearray(4); r.get(b, 0, 4); print(b)"
    )
    assert said.strip() == "bytearray(b'bear')"
    said = board.run(
        "from hushbear.audio.voice import Voice; v = Voice('/voice-it').open('full');"
        " b = bytearray(256); print(v.readinto(b), v.readinto(b), v.readinto(b), b[255])"
    )
    assert said.strip() == "256 256 0 1"
    assert "every file is there already" in board.flash()
    board.run("import os; os.remove('/lib/hushbear/app.mpy'); open('/board.py', 'w').close()")
    printed = board.flash()
    assert "verified" in printed
    assert "hushbear://" not in printed
    assert board.run("import os; print('board.py' in os.listdir('/'))").strip() == "False"
    assert "It is locked" in board.flash("--lock")
    assert board.run("print(open('/nvs/hushbear.locked').read())").strip() == "1"


@pytest.fixture
def silent_port() -> Iterator[str]:
    """A serial port at which nobody answers."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    os.set_blocking(ours, False)
    yield os.ttyname(theirs)
    os.close(ours)
    os.close(theirs)


def esptool_says(port: str, tmp_path: pathlib.Path) -> str:
    (tmp_path / "esp32.bin").write_bytes(image())
    done = subprocess.run(
        [ROOT / "tools/flash.sh", port, "--image", tmp_path / "esp32.bin"],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 1
    return done.stderr


def test_esptool_finds_nobody(silent_port: str, tmp_path: pathlib.Path) -> None:
    assert "hold the board's BOOT button" in esptool_says(silent_port, tmp_path)


def test_esptool_finds_the_port_taken(silent_port: str, tmp_path: pathlib.Path) -> None:
    with open(silent_port, "rb") as port:
        fcntl.flock(port, fcntl.LOCK_EX)
        fcntl.ioctl(port, termios.TIOCEXCL)
        said = esptool_says(silent_port, tmp_path)
    assert f"{silent_port} is busy: close the program that has it open" in said
