"""The `hushbear` command for tests: run in this process, near toys in memory."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from host_tests.companion_toy import QUICK, Air
from hushbear_companion.cli import app

Command = Callable[..., Result]


def command_near(air: Air, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Return what runs the command near `air`; it keeps its files in `directory`/config."""

    @contextlib.asynccontextmanager
    async def open_radio(spec: str | None) -> AsyncIterator[Air]:
        yield air

    monkeypatch.setenv("HUSHBEAR_CONFIG", str(directory / "config"))
    monkeypatch.delenv("HUSHBEAR_RADIO", raising=False)
    monkeypatch.setattr("hushbear_companion.transport.open_radio", open_radio)
    for module in ("client", "pairing"):
        monkeypatch.setattr(f"hushbear_companion.{module}.Timing", lambda: QUICK)

    def run(*arguments: object, text: str | None = None) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments], input=text)

    return run


def error_of(result: Result) -> dict[str, str]:
    values: dict[str, Any] = json.loads(result.stdout)
    assert list(values) == ["error"] and list(values["error"]) == ["code", "message", "hint"]
    error: dict[str, str] = values["error"]
    return error


def one_line(result: Result) -> str:
    lines = result.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("hushbear: ") and not result.stdout
    return lines[0]
