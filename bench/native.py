"""The codec in C (ima.c), compiled for the emulated RISC-V board, to be called by its scripts."""

from __future__ import annotations

import pathlib
import subprocess
import tempfile

from host_tests.targets import tool

COMPILER = "riscv64-unknown-elf-gcc"
_SOURCE = pathlib.Path(__file__).with_name("ima.c")
# Wherever it is loaded, it runs: addresses are relative to the program counter.
_FLAGS = (
    "-O2 -std=c11 -march=rv32imac -mabi=ilp32 -misa-spec=2.2 -mcmodel=medany -ffreestanding"
    " -nostdlib -Wl,-Ttext=0 -Wl,--no-relax -Wl,--entry=decode"
)

# The script's part: `code` is what compile_c() returns. The assembler saves s3 and s4 by itself,
# but not the return address.
CALL = """
import micropython, uctypes

@micropython.asm_rv32
def c_call(a0, a1, a2, a3):
    mv(t0, a0)
    mv(a0, a1)
    mv(a1, a2)
    mv(a2, a3)
    mv(s3, ra)
    jalr(ra, t0, 0)
    mv(ra, s3)

code_at = uctypes.addressof(code)
"""


def missing() -> str | None:
    if tool(COMPILER) is None:
        return f"{COMPILER} is not installed: run tools/setup"
    return None


def compile_c() -> tuple[bytes, dict[str, int]]:
    """Return machine code, and where in it each function begins."""
    with tempfile.TemporaryDirectory(prefix="hushbear-") as name:
        elf, flat = pathlib.Path(name) / "ima.elf", pathlib.Path(name) / "ima.bin"
        prefix = COMPILER.removesuffix("gcc")
        subprocess.run([COMPILER, *_FLAGS.split(), "-o", elf, _SOURCE], check=True)
        subprocess.run([f"{prefix}objcopy", "-O", "binary", elf, flat], check=True)
        listing = subprocess.run(
            [f"{prefix}nm", elf], check=True, stdout=subprocess.PIPE, text=True
        ).stdout
        symbols = (line.split() for line in listing.splitlines())
        return flat.read_bytes(), {name: int(at, 16) for at, kind, name in symbols if kind == "T"}
