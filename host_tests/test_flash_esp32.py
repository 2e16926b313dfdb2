"""tools/flash.sh with the real esptool and the official image, on an emulated ESP32 whose loader
is the one in the chip's ROM.

In place of mpremote stands the one of test_flash.py: this emulator takes minutes to write the
library's files. The real one is tested on the RISC-V board.
"""

from __future__ import annotations

import os
import pathlib
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from host_tests.emulated_esp32 import EmulatedEsp32
from host_tests.test_flash import TOOLS, Board, image
from tools import flash_image
from tools.flash_commands import Commands, Problem

pytestmark = [pytest.mark.targets("qemu-esp32"), pytest.mark.timeout(1500)]

# What a toy has that must survive: a key, in NVS, and a message, in its file system
KEEP = """
import esp32, os
nvs = esp32.NVS("hushbear")
nvs.set_blob("set0", b"the key")
nvs.commit()
os.mkdir("/msg")
with open("/msg/1", "w") as file:
    file.write("a message")
"""
KEPT = """
import esp32
key = bytearray(7)
esp32.NVS("hushbear").get_blob("set0", key)
print(key, open("/msg/1").read())
"""


@pytest.fixture
def official() -> pathlib.Path:
    return pathlib.Path(os.environ["HUSHBEAR_ESP32_IMAGE"])


@pytest.fixture
def chip(tmp_path: pathlib.Path) -> Iterator[EmulatedEsp32]:
    with EmulatedEsp32(tmp_path / "flash") as chip:
        yield chip


@pytest.fixture
def board(chip: EmulatedEsp32, tmp_path: pathlib.Path) -> Board:
    board = Board(tmp_path / "board", "esp32")
    board.port = chip.port
    board.timeout = 700
    board.tools = tmp_path / "tools"
    board.tools.mkdir()
    (board.tools / "esptool").symlink_to(pathlib.Path(sys.executable).parent / "esptool")
    (board.tools / "mpremote").symlink_to(TOOLS / "mpremote")
    return board


def flashed(board: Board, *arguments: str) -> None:
    """Run tools/flash.sh until it is done: where the host is busy the emulated line loses bytes,
    and what mends that is to run it again."""
    for _ in range(4):
        done = board.run(*arguments)
        if done.returncode == 0:
            return
        assert len(done.stderr.splitlines()) == 1, done.stderr
    raise AssertionError(done.stderr)


def run(chip: EmulatedEsp32, source: str) -> str:
    """Run `source` in the MicroPython that was flashed, however long it takes to start."""
    mpremote = Commands(chip.port, "esp32_devkitc", dry_run=False).mpremote
    for attempt in range(30):
        try:
            return mpremote("exec", source, timeout=300)
        except Problem:
            if attempt == 29:
                raise
    raise AssertionError


def unplug_when_written(chip: EmulatedEsp32, flash: pathlib.Path, address: int) -> None:
    with open(flash, "rb", buffering=0) as file:
        for erased in (False, True):
            while (os.pread(file.fileno(), 16, address) == b"\xff" * 16) == erased:
                time.sleep(0.05)
    chip.unplug()


def test_from_an_empty_chip_to_a_toy_that_is_updated(
    chip: EmulatedEsp32, board: Board, official: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    flash = tmp_path / "flash"
    content = flash_image.read_image(official.read_bytes(), "esp32", 0x1000)

    # Unplugged half-way, with a flash that was not erased before
    flash.write_bytes(b"\0" * flash.stat().st_size)
    somebody = threading.Thread(
        target=unplug_when_written, args=(chip, flash, 0xC0000), daemon=True
    )
    somebody.start()
    while somebody.is_alive():
        line = board.refused("--image", str(official))
    assert "the connection broke" in line

    # Running it again mends it.
    flashed(board, "--image", str(official))
    written = flash.read_bytes()
    for address, piece in content.pieces():
        assert written[address : address + len(piece)] == piece
    assert written[0x1C0000:0x1D0000].strip(b"\xff") == b"", "not erased"
    run(chip, KEEP)

    # An update mends the application, and keeps key and message.
    chip.rts = True  # off
    with open(flash, "r+b") as file:
        file.seek(0x80000)
        file.write(bytes(0x10000))
    flashed(board, "--update", "--image", str(official))
    written = flash.read_bytes()
    for address, piece in content.pieces():
        assert written[address : address + len(piece)] == piece
    assert run(chip, KEPT).split() == ["bytearray(b'the", "key')", "a", "message"]


def test_the_rom_tells_which_chip_it_is(board: Board, tmp_path: pathlib.Path) -> None:
    (tmp_path / "s3.bin").write_bytes(image("esp32s3"))
    line = board.refused("--board", "esp32_s3", "--image", str(tmp_path / "s3.bin"))
    assert line == "the chip is an esp32, esp32_s3 has an esp32s3: say --board esp32_devkitc"
