"""The targets of tools/fuzz, on the inputs they begin with and some that are nearly those."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from host_tests.hostile_toy import mutated
from host_tests.targets import ROOT
from tools.fuzz_targets import TARGETS

NEARLY = 40  # mutations of each


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_holds_on_its_seeds_and_near_them(name: str) -> None:
    rng = random.Random(name)
    run = TARGETS[name].run
    run(b"")
    for seed in TARGETS[name].seeds():
        run(seed)
        for _ in range(NEARLY):
            run(mutated(rng, seed))


def test_an_input_that_failed_is_run_again_alone(tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(next(iter(TARGETS["frames"].seeds())))
    command = [sys.executable, "-m", "tools.fuzz", "frames", "--run", str(tmp_path / "input")]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert output == "fuzz: nothing is wrong with this input\n"
