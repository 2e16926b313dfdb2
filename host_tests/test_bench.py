"""The benchmark: it counts the same twice, and says plainly what it found and what it did not."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

import pytest
from rich.console import Console

from bench import native, render
from bench.__main__ import DOCUMENT, figures
from bench.counting import Board, Unsteady, riscv
from bench.figures import Figure, Row
from host_tests.targets import Target

DECODE = Figure("decode", "instructions a sample", "by counting", ("≤", 45))
QUALITY = Figure("quality", "dB", "by ear", ("≥", 2))
BOOT = Figure("boot", "s", "by watching")


def shown(*rows: Row) -> str:
    output = io.StringIO()
    Console(file=output, width=200).print(render.table(rows))
    return output.getvalue()


@pytest.mark.parametrize(
    ("row", "mark"),
    [
        (DECODE.on("board", 45.0), "yes"),
        (DECODE.on("board", 45.1), "MISSED"),
        (QUALITY.on("board", 2.0), "yes"),
        (QUALITY.on("board", 1.9), "MISSED"),
    ],
)
def test_the_table_marks_a_missed_target(row: Row, mark: str) -> None:
    (line,) = (line for line in shown(row).splitlines() if "board" in line)
    assert mark in line and row.target in line
    assert row.as_json()["met"] is (mark == "yes")


def test_a_figure_without_a_target_is_neither_met_nor_missed() -> None:
    row = BOOT.on("toy", 1.5)
    assert row.as_json()["met"] is None
    assert "MISSED" not in shown(row) and "yes" not in shown(row)


def test_what_could_not_be_measured_says_what_to_install() -> None:
    row = DECODE.missing("board", "no emulator: install one")
    assert row.as_json()["value"] is None and row.as_json()["met"] is None
    (line,) = render.absent([row, BOOT.on("toy", 1.5)])
    assert "decode" in line and "install one" in line and "boot" not in line


def test_the_document_lists_missed_targets_and_keeps_what_was_written_by_hand() -> None:
    text = f"Before.\n{render.BEGIN}\nold\n{render.END}\nAfter.\n"
    rows = [DECODE.on("board", 50.0), QUALITY.on("board", 3.0)]
    written = render.document(text, rows, [DECODE, QUALITY], {"gcc": "12.2"})
    assert written.startswith("Before.\n") and written.endswith("\nAfter.\n")
    assert "old" not in written and "gcc 12.2" in written
    assert "1 of 2 targets are met." in written
    assert "**Missed:** decode on board, 50.0" in written
    assert render.document(written, rows, [DECODE, QUALITY], {"gcc": "12.2"}) == written


def test_the_document_has_every_figure() -> None:
    text = DOCUMENT.read_text()
    for figure in figures():
        assert f"| {figure.what} | {figure.how} |" in text, "run tools/bench --doc"
    assert len({figure.what for figure in figures()}) == len(figures())


@pytest.fixture(scope="module")
def board() -> Iterator[Board]:
    board = riscv()
    yield board
    board.close()


@pytest.mark.targets("qemu-riscv")
def test_a_kernel_counts_the_same_twice(target: Target, board: Board) -> None:
    statement = "dsp.scale(pcm, 0, n, 9000)"
    setup = "from hushbear import dsp\npcm = bytearray(2020)"
    first = board.count(statement, setup, {"n": 1000})
    assert board.count(statement, setup, {"n": 1000}) == first
    assert 5000 < first[0] < 100_000
    assert board.count("pass") == [0]


@pytest.mark.targets("qemu-riscv")
def test_what_does_not_repeat_is_refused(target: Target, board: Board) -> None:
    """Sleeping is as long as this machine makes it. The exact counter turns over every 537
    million: what takes longer is counted whole nevertheless."""
    with pytest.raises(Unsteady) as refusal:
        board.count("time.sleep_ms(600)", "import time")
    counts = re.findall(r"\d{9,}", str(refusal.value))
    assert counts and all(int(count) >= 600_000_000 for count in counts)


@pytest.mark.targets("qemu-riscv")
def test_the_same_codec_in_c_runs_on_the_board(target: Target, board: Board) -> None:
    if reason := native.missing():
        pytest.skip(reason)
    code, at = native.compile_c()
    source = native.CALL + (
        "from hushbear import ima\n"
        "own, c = bytearray(1010), bytearray(1010)\n"
        "assert ima.decode(block, 0, 256, own, 0) == 505\n"
        "c_call(code_at + at, block, 256, c)\n"
        "result(own == c and own != bytearray(1010))\n"
    )
    block = bytes((0, 0, 40, 0)) + bytes(range(252))
    assert board.run(source, {"block": block, "code": code, "at": at["decode"]}) is True
