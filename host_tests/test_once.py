"""A module that is loaded for one use leaves nothing behind, and can be loaded again."""

from __future__ import annotations

import pytest

from host_tests.targets import Target

pytestmark = pytest.mark.targets("unix", "qemu-riscv")

TWICE = """
import hushbear.link, sys
from hushbear.once import once

before = sorted(sys.modules)
first = once("hushbear.link.upkeep")
second = once("hushbear.link.upkeep")
left = [hasattr(hushbear.link, "upkeep"), hasattr(hushbear, "upkeep_wire")]
result([sorted(sys.modules) == before, first is second, sorted(first.ANSWERS), left])
"""

FAILING = """
import sys
from hushbear.once import once

before = sorted(sys.modules)
try:
    once("hushbear.link.of_another_world")
    failed = False
except ImportError:
    failed = True
result([failed, "hushbear.link.of_another_world" in sys.modules])
"""


def test_a_module_for_one_use_is_not_known_afterwards(target: Target) -> None:
    nothing_new, shared, nothing_left = True, False, [False, False]
    kinds = [1, 2, 3, 8, 9, 10, 11, 12, 18]
    assert target.run(TWICE) == [nothing_new, shared, kinds, nothing_left]


def test_a_module_that_is_not_there_leaves_nothing(target: Target) -> None:
    assert target.run(FAILING) == [True, False]
