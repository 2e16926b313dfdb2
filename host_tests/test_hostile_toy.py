"""Tens of thousands of frames that no honest toy would send, and the phone afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from host_tests.hostile_toy import attack

FRAMES = 30_000


@pytest.mark.virtual_time
async def test_whatever_a_toy_says_each_command_ends_well_or_in_a_clear_error(
    tmp_path: Path,
) -> None:
    """And no file is written but messages, each in its place and no longer than a message is."""
    (before, after), ends = await attack(2017, FRAMES, tmp_path)
    assert before > FRAMES // 50 and after > FRAMES // 2
    assert ends["done"] > 1000  # so that the others had something to go wrong
    assert {"LinkLost", "NotThisToy", "ToyMisbehaves", "ToyFailed", "Damaged"} <= set(ends)
