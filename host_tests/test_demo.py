"""The demo's command line; the story itself is for eyes and ears."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from host_tests.targets import ROOT


@pytest.mark.parametrize(
    ("variable", "said"),
    [("HUSHBEAR_QEMU_XTENSA", "install Espressif's QEMU"), ("HUSHBEAR_ESP32_IMAGE", "no image")],
)
def test_what_the_real_image_lacks_is_said_in_a_line(variable: str, said: str) -> None:
    if variable == "HUSHBEAR_ESP32_IMAGE" and "HUSHBEAR_QEMU_XTENSA" not in os.environ:
        pytest.skip("no emulator, so the image is not asked for")
    demo = subprocess.run(
        [sys.executable, "-m", "tools.demo", "--target", "qemu-esp32"],
        cwd=ROOT, env=os.environ | {variable: "/nowhere"}, capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    assert demo.returncode == 2
    (line,) = demo.stderr.splitlines()
    assert line.startswith("tools/demo: --target qemu-esp32: no ")
    assert said in line
