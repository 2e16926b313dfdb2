"""docs/hardware.md, its pictures and what board.py says of itself name the pins the firmware uses.

The two scripts that it tells people to run are run on the virtual toy of each board.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
import pytest

from host_tests.targets import ROOT
from host_tests.virtual.toy import VirtualToy
from tools import wiring

DOCUMENT = (ROOT / "docs/hardware.md").read_text()
GPIO = re.compile(r"GPIO (\d+)")

each_board = pytest.mark.parametrize("board", list(wiring.BOARDS))


def section(board: str) -> str:
    """Return what the document says of a board's wiring."""
    after = DOCUMENT.split(f"\n### {wiring.BOARDS[board]}\n", 1)[1]
    return re.split(r"\n##+ ", after, maxsplit=1)[0]


def rows(board: str) -> dict[str, list[int]]:
    """Return the GPIO numbers in each row of the board's table."""
    table = re.findall(r"^\| (.+?) \| (.+?) \|$", section(board), re.MULTILINE)
    return {part: [int(number) for number in GPIO.findall(pins)] for part, pins in table}


def test_there_is_a_picture_for_every_board() -> None:
    assert set(wiring.BOARDS) == {path.parent.name for path in ROOT.glob("board/*/board.py")}


@each_board
def test_the_picture_is_the_one_that_board_py_gives(board: str) -> None:
    picture = wiring.PICTURES / f"{board}.svg"
    assert picture.read_text() == wiring.draw(board), "run .venv/bin/python -m tools.wiring"
    assert f"(wiring/{board}.svg)" in section(board)


@each_board
def test_the_picture_names_every_pin_and_no_other(board: str) -> None:
    texts = ElementTree.parse(wiring.PICTURES / f"{board}.svg").getroot().itertext()
    assert {int(n) for text in texts for n in GPIO.findall(text)} == wiring.pins(board).numbers


@each_board
def test_the_tables_name_the_pins_of_board_py(board: str) -> None:
    pins, table = wiring.pins(board), rows(board)
    bus = ("sck", "ws", "sd")
    assert table["INMP441 SCK, WS, SD"] == [pins.microphone[name] for name in bus]
    amplifier = [pins.speaker[name] for name in bus]
    assert table["MAX98357A BCLK, LRC, DIN, SD"] == [*amplifier, pins.amplifier]
    assert table["NeoPixel" if pins.pixel else "LED"] == [pins.led]
    if pins.play_paw is None:
        assert table["paw"] == [pins.record_paw]
    else:
        assert table["record paw"] == [pins.record_paw]
        assert table["play paw"] == [pins.play_paw]


@each_board
def test_board_py_says_of_itself_what_it_does(board: str) -> None:
    text = ast.get_docstring(ast.parse((ROOT / f"board/{board}/board.py").read_text()))
    assert text is not None
    pins = wiring.pins(board)
    for number, what in (
        (pins.microphone["sck"], "INMP441 SCK"),
        (pins.microphone["ws"], "INMP441 WS"),
        (pins.microphone["sd"], "INMP441 SD"),
        (pins.speaker["sd"], "MAX98357A DIN"),
        (pins.amplifier, "MAX98357A SD"),
        (pins.record_paw, "paw" if pins.play_paw is None else "record paw"),
        (pins.led, "NeoPixel" if pins.pixel else "330 ohm"),
    ):
        assert re.search(rf"GPIO {number} +── {what}", text), what
    drawn = re.findall(r"GPIO (\d+) +──", text)
    assert {int(number) for number in drawn} == pins.numbers


@each_board
@pytest.mark.targets("unix")
@pytest.mark.virtual_time
async def test_the_speaker_check_plays_five_tones(
    board: str, virtual_toy: Callable[..., VirtualToy]
) -> None:
    async with virtual_toy(board=board, autostart=False) as toy:
        await toy.exec_repl((ROOT / "board/check/speaker.py").read_text())
        heard = np.pad(toy.speaker.pcm().astype(np.float64), 200)
    loud = np.convolve(np.abs(heard), np.ones(160) / 160, "same") > 500
    assert np.count_nonzero(np.diff(loud.astype(int)) == 1) == 5
    spectrum = np.abs(np.fft.rfft(heard))
    assert np.argmax(spectrum) * 16000 / len(heard) == pytest.approx(1000, abs=20)


@each_board
@pytest.mark.targets("unix")
@pytest.mark.virtual_time
async def test_the_microphone_check_shows_a_voice(
    board: str, virtual_toy: Callable[..., VirtualToy]
) -> None:
    voice = (8000 * np.sin(np.arange(16000) / 5)).astype(np.int16)
    async with virtual_toy(board=board, autostart=False) as toy:
        toy.mic.speak(voice)
        printed = await toy.exec_repl((ROOT / "board/check/microphone.py").read_text())
    bars = [line.count("#") for line in printed.splitlines() if "#" in line]
    assert max(bars[:4]) > min(bars[8:]) + 4
    assert "nothing" not in printed
