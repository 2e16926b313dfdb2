"""A phone: the `hushbear` command in processes of its own, with files of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from rich.markup import escape

from hushbear_companion.keystore import KeyStore
from hushbear_companion.toy import Toy

from .telling import PATIENCE, ROOT, DemoFailed, console


class Phone:
    """Somebody's, who is called `owner`. Its files are in `directory`; `radio` is given to who is
    near the toy."""

    def __init__(self, owner: str, directory: Path, radio: str | None = None) -> None:
        self.owner = owner
        self.directory = directory
        self._environment = os.environ | {
            "HUSHBEAR_CONFIG": str(directory),
            "HUSHBEAR_RADIO": radio or "",
            "COLUMNS": "100",
        }
        if radio is None:
            del self._environment["HUSHBEAR_RADIO"]

    @property
    def toy(self) -> Toy:
        """The toy, as this phone knows it."""
        return KeyStore(self.directory).get(None)

    @property
    def data(self) -> Path:
        """Where its messages are."""
        return self.directory / "data"

    @contextlib.asynccontextmanager
    async def running(self, *arguments: str | Path) -> AsyncIterator[Command]:
        """Run a command as its owner would, and show it and what it says; it has to end well."""
        shown = [str(each).removeprefix(f"{ROOT}/") for each in arguments]
        prompt = f"[green]{escape(self.owner)} $[/green]"
        console.print(f"  {prompt} hushbear {escape(' '.join(shown))}", soft_wrap=True)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "hushbear_companion", *map(str, arguments),
            env=self._environment, stdout=PIPE, stderr=STDOUT,
        )  # fmt: skip
        command = Command(process, shown[0], self.directory)
        try:
            yield command
            await command.end()
        finally:
            command.kill()

    async def run(self, *arguments: str | Path) -> None:
        """Run a command to its end."""
        async with self.running(*arguments):
            pass

    async def ask(self, *arguments: str | Path) -> dict[str, Any]:
        """Run a command that is no part of the story, and return what it says."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "hushbear_companion", *map(str, arguments), "--json",
            env=self._environment, stdout=PIPE, stderr=PIPE,
        )  # fmt: skip
        output, error = await process.communicate()
        if process.returncode:
            raise DemoFailed(f"hushbear {arguments[0]} says: {error.decode().strip()}")
        said: dict[str, Any] = json.loads(output)
        return said


class Command:
    """A command that runs; what it says is shown as it comes."""

    def __init__(self, process: asyncio.subprocess.Process, name: str, home: Path) -> None:
        self._process = process
        self._name = name
        self._home = home

    async def line_with(self, mark: str) -> str:
        """Return the first line with a mark in it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while (line := await self._line()) is not None:
                    if mark in line:
                        return line
        raise DemoFailed(f"hushbear {self._name} does not say “{mark}”")

    async def end(self) -> None:
        """Wait for its end, which has to be a good one."""
        while await self._line() is not None:
            pass
        if code := await self._process.wait():
            raise DemoFailed(f"hushbear {self._name} ended with exit code {code}")

    def kill(self) -> None:
        """End it at once, if it still runs."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def _line(self) -> str | None:
        assert self._process.stdout is not None
        if not (read := await self._process.stdout.readline()):
            return None
        line = read.decode().rstrip("\n").replace(f"{self._home}/", "~/").replace(f"{ROOT}/", "")
        console.print(f"    [dim]{escape(line)}[/dim]", soft_wrap=True)
        return line
