"""Pytest: async tests in virtual time.

    @pytest.mark.virtual_time
    async def test_an_hour(virtual_toy): ...

Pytest loads this as a plugin (pyproject.toml). `virtual_toy(**options)` makes a VirtualToy in a
directory of its own; the same name makes the same toy. `long` is whether --long was given.
"""

from __future__ import annotations

import asyncio
import inspect
import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from host_tests import messages

from .clock import VirtualLoop
from .toy import VirtualToy


def run_virtual(coroutine: Any) -> Any:
    """Run a coroutine in a new VirtualLoop; return its result."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(coroutine)


@pytest.fixture
def virtual_toy(tmp_path: pathlib.Path) -> Callable[..., VirtualToy]:
    """Make toys: virtual_toy("name", main=…, flash=…). A new one has the family key of
    messages.FAMILY, unless `founded` is off."""

    def make(name: str = "toy", *, founded: bool = True, **options: Any) -> VirtualToy:
        toy = VirtualToy(tmp_path / name, **options)
        return messages.found(toy) if founded else toy

    return make


@pytest.fixture
def long(request: pytest.FixtureRequest) -> bool:
    """Whether the tests that can take minutes or seconds are to take minutes."""
    return bool(request.config.getoption("long"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--long",
        action="store_true",
        help="take minutes for what is otherwise a sample: a day of 500 messages, a power cut at"
        " every operation on the flash",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "virtual_time: run the coroutine in a VirtualLoop")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a marked coroutine in a loop of its own, not in pytest-asyncio's."""
    function = inspect.unwrap(pyfuncitem.obj)
    if pyfuncitem.get_closest_marker("virtual_time") is None:
        return None
    if not inspect.iscoroutinefunction(function):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    run_virtual(function(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True
