"""Instructions that a statement takes on an emulated board.

RISC-V: QEMU's `-icount shift=0`, in which the processor's own counter of retired instructions
counts each one. A script runs twice and has to count the same, to the instruction.

ESP32: `-icount shift=3`, 8 ns per instruction, read from the microsecond clock: to 125
instructions, with the system's ticks in between.

What the measurement itself takes, counted without the statement, is subtracted. The call is not:
a kernel's figure is what the toy pays for it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import cast

from host_tests.targets import Target
from host_tests.targets.qemu_esp32 import QemuEsp32
from host_tests.targets.qemu_riscv import QemuRiscv

from .figures import Figure, Row

NS_PER_INSTRUCTION = 8  # of the ESP32's clock, as measured on the official image
_RETIRED = """
import micropython

@micropython.asm_rv32
def now():
    csrrs(a0, zero, 0xB02)  # minstret
    slli(a0, a0, 3)  # a small integer, as a long one would have to be allocated
    srli(a0, a0, 3)

@micropython.asm_rv32
def millions():
    csrrs(a0, zero, 0xB02)
    srli(a0, a0, 20)
    csrrs(a1, zero, 0xB82)  # minstreth
    slli(a1, a1, 12)
    or_(a0, a0, a1)

def since(before):
    return (now() - before) & 0x1FFFFFFF
"""
_CLOCK = """
from time import ticks_us as now

def millions():
    return 0

def since(before):
    return (now() - before) & 0x3FFFFFFF
"""
_SCRIPT = """
import gc

{clock}
{setup}

def measure(i):
    high = millions()
    before = now()
{statement}
    low = since(before)
    return low, millions() - high

def empty(i):
    before = now()
    low = since(before)
    return low

gc.collect()
counts = []
for i in [0] + list(range(rounds)):
    low, high = measure(i)
    # What the exact counter has left out, by the coarse one
    counts.append(low + ((high << 20) - low + (1 << 28) >> 29 << 29) - empty(i))
result(counts)
"""


class Unsteady(Exception):
    """The same script counted differently."""


class Board:
    """An emulated board that counts."""

    def __init__(self, target: Target, clock: str, scale: int, exact: bool) -> None:
        self.target = target
        self.name = target.name
        self._clock = clock
        self._scale = scale
        self._exact = exact

    def count(
        self,
        statement: str,
        setup: str = "",
        args: Mapping[str, object] | None = None,
        rounds: int = 1,
        first: bool = False,
    ) -> list[int]:
        """Return how many instructions `statement` takes in each round i, after `setup`.

        A round before them, the same as the first, is not counted: after it MicroPython knows
        where it found names. With `first` only that one counts. Raises Unsteady when the same
        script takes another number the second time; of a `first`, more than 1 % another.
        """
        source = _SCRIPT.format(
            clock=self._clock,
            setup=textwrap.dedent(setup),
            statement=textwrap.indent(textwrap.dedent(statement).strip(), "    "),
        )
        given = {"rounds": 0 if first else rounds, **(args or {})}
        one, other = (
            cast(list[int], self.target.run(source, args=given, timeout=600)) for _ in range(2)
        )
        if not first:
            del one[0], other[0]
        exact = self._exact and not first
        spread = 0 if exact else 0.01 * sum(one) + 2 * len(one)
        if abs(sum(one) - sum(other)) > spread or (exact and one != other):
            raise Unsteady(f"{self.name}: {one}, then {other} for {statement.strip()}")
        return [count * self._scale for count in one]

    def per(self, units: int, statement: str, setup: str = "", **args: object) -> float:
        """Return how many instructions `statement` takes for each of the `units` it works on."""
        return self.count(statement, setup, args)[0] / units

    def run(self, source: str, args: Mapping[str, object] | None = None) -> object:
        """Run a script that counts nothing."""
        return self.target.run(textwrap.dedent(source), args=args, timeout=600)

    def close(self) -> None:
        self.target.close()


def riscv() -> Board:
    return Board(QemuRiscv("-icount shift=0"), _RETIRED, 1, exact=True)


def esp32() -> Board:
    return Board(QemuEsp32(), _CLOCK, 1000 // NS_PER_INSTRUCTION, exact=False)


def on_boards(figures: Sequence[Figure], count: Callable[[Board], Iterator[Row]]) -> Iterator[Row]:
    """What `count` counts on each board that is there; of the others, what to install."""
    for target, start in ((QemuRiscv, riscv), (QemuEsp32, esp32)):
        if reason := target.missing():
            yield from (figure.missing(target.name, reason) for figure in figures)
            continue
        board = start()
        try:
            yield from count(board)
        finally:
            board.close()
