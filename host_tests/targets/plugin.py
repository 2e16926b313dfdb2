"""Pytest: the --target option, the `target` fixture, and which tests run where."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from . import Target, Unreachable
from .qemu_esp32 import QemuEsp32
from .qemu_riscv import QemuRiscv
from .serial import Serial
from .unix import Unix

TARGETS: dict[str, type[Target]] = {cls.name: cls for cls in (Unix, QemuRiscv, QemuEsp32, Serial)}


def _required() -> list[str]:
    return [name for name, cls in TARGETS.items() if cls.required]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--target",
        action="append",
        choices=[*TARGETS, "all"],
        help="run on this target (may be given again); it is an error if this machine lacks it."
        f" `all`: {', '.join(_required())}, and the others if they are there. Default: those that"
        " are there.",
    )
    parser.addoption(
        "--port", help="the port of the board that is target `serial`: /dev/ttyUSB0, COM3"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "targets(*names): the targets that the test needs; default: every one"
    )
    config.addinivalue_line(
        "markers", "not_on(name, reason): a target on which the test cannot hold, and why"
    )
    if port := config.getoption("port"):
        os.environ["HUSHBEAR_PORT"] = port
    wanted = set(config.getoption("target") or [])
    for name in sorted(wanted - {"all"} | set(_required() if "all" in wanted else [])):
        if reason := TARGETS[name].missing():
            raise pytest.UsageError(f"--target {name}: {reason}")


def _skip(config: pytest.Config, name: str) -> list[pytest.MarkDecorator]:
    """Return the mark that skips a test on target `name`, or none."""
    wanted = config.getoption("target") or ["all"]
    if "all" not in wanted and name not in wanted:
        return [pytest.mark.skip(reason=f"target {name} not asked for")]
    if reason := TARGETS[name].missing():
        return [pytest.mark.skip(reason=f"target {name}: {reason}")]
    return []


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes `target` once on each of the targets it names."""
    if "target" in metafunc.fixturenames:
        mark = metafunc.definition.get_closest_marker("targets")
        names = mark.args if mark else TARGETS
        skips = {name: _skip(metafunc.config, name) for name in names}
        for mark in metafunc.definition.iter_markers("not_on"):
            name, reason = mark.args
            skips[name] = [pytest.mark.skip(reason=f"not on {name}: {reason}")]
        metafunc.parametrize(
            "target",
            [pytest.param(name, marks=marks) for name, marks in skips.items()],
            indirect=True,
        )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip a test that names its target without the fixture (the virtual toy) where it is not."""
    for item in items:
        mark = item.get_closest_marker("targets")
        if mark and "target" not in getattr(item, "fixturenames", ()):
            for name in mark.args:
                for skip in _skip(config, name):
                    item.add_marker(skip)


def pytest_exception_interact(node: pytest.Item, call: pytest.CallInfo[Any]) -> None:
    """End the run when there is no board any more: no other test would fare better."""
    on_target = "target" in getattr(node, "fixturenames", ())
    if on_target and call.excinfo and isinstance(call.excinfo.value, Unreachable):
        pytest.exit(str(call.excinfo.value), returncode=1)


@pytest.fixture(scope="session")
def _targets() -> Iterator[dict[str, Target]]:
    started: dict[str, Target] = {}
    yield started
    for target in started.values():
        target.close()


@pytest.fixture
def target(request: pytest.FixtureRequest, _targets: dict[str, Target]) -> Target:
    """The MicroPython that this run of the test is on; it is started once a session."""
    name: str = request.param
    if name not in _targets:
        _targets[name] = TARGETS[name]()
    return _targets[name]
