"""Phones for tests that are far from each other: the `hushbear` command, with files of their own,
and in processes of their own where something goes on; and a relay in between."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from host_tests.companion_command import Command, command_near
from host_tests.companion_toy import FAMILY, SENDER, Air, Toy
from host_tests.relay.running import Process, settings
from hushbear_companion.cli import app
from hushbear_companion.keystore import KeyStore
from hushbear_companion.toy import Member, Role
from hushbear_companion.toy import Toy as Known

KEY = bytes(range(32))
MEMBERS = {
    SENDER: Member("Papa", Role.PHONE, 1_790_000_000),
    b"mother\0\0": Member("Mama", Role.PHONE, 1_790_000_000),
}


class FarPhone:
    """A phone whose files are in `directory`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store = KeyStore(directory)
        self.environment = {**os.environ, "HUSHBEAR_CONFIG": str(directory)}
        self.environment.pop("PYTHONUNBUFFERED", None)  # no user has that

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "hushbear_companion", *map(str, arguments)],
            env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *arguments: object, code: int = 0) -> dict[str, Any]:
        """Run a command and return what it says; `code` is how it has to end."""
        environment = {"HUSHBEAR_CONFIG": str(self.directory)}
        result = CliRunner().invoke(app, [*map(str, arguments), "--json"], env=environment)
        assert result.exit_code == code, (arguments, result.output)
        said: dict[str, Any] = json.loads(result.stdout)
        return said

    @property
    def toy(self) -> Known:
        return self.store.get(None)


def line_of(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline()


def invite(parent: FarPhone, relative: FarPhone, name: str, *options: str) -> dict[str, Any]:
    """Have a relative join the family; return what its phone says."""
    inviting = parent.start("invite", name, *options)
    code = line_of(inviting.stderr).split()[-1]
    joined = relative.run("join", code)
    out, err = inviting.communicate(timeout=120)
    assert inviting.returncode == 0, err
    assert "belongs to the family" in out
    return joined


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Process]:
    """A relay that runs."""
    process = Process(settings(tmp_path / "relay", rendezvous_per_minute=1000))
    process.start()
    yield process
    process.kill()


@pytest.fixture
def parent(tmp_path: Path, server: Process) -> FarPhone:
    """A phone that is paired with a toy, and knows the relay."""
    phone = FarPhone(tmp_path / "config")
    phone.store.add("Bruno", KEY, SENDER, FAMILY)
    phone.store.learn(KEY, SENDER, FAMILY, MEMBERS)
    phone.run("relay", server.url)
    return phone


@pytest.fixture
def grandma(tmp_path: Path, server: Process) -> FarPhone:
    """A phone that knows the relay only."""
    phone = FarPhone(tmp_path / "grandma")
    phone.run("relay", server.url)
    return phone


@pytest.fixture
def aunt(tmp_path: Path, server: Process) -> FarPhone:
    """Another phone that knows the relay only."""
    phone = FarPhone(tmp_path / "aunt")
    phone.run("relay", server.url)
    return phone


@pytest.fixture
def toy() -> Toy:
    """A toy in memory."""
    toy = Toy(KEY)
    del toy.phones[3]  # another grandmother, who is near
    return toy


@pytest.fixture
def near(tmp_path: Path, toy: Toy, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command on the parent's phone, near the toy."""
    return command_near(Air(toy), tmp_path, monkeypatch)


@pytest.fixture
def hello(tmp_path: Path) -> Path:
    """A second of sound."""
    path = tmp_path / "hello.wav"
    tone = 0.2 * np.sin(np.arange(16000) * 0.1)
    soundfile.write(path, tone, 16000)
    return path


def said(command: Command, *arguments: object) -> dict[str, Any]:
    result = command(*arguments, "--json")
    assert result.exit_code == 0, result.output
    values: dict[str, Any] = json.loads(result.stdout)
    return values


def once(command: Command, *arguments: object) -> dict[str, Any]:
    values = said(command, "run", "--once", *arguments)
    assert values["failed"] == []
    toy: dict[str, Any] = values["toys"][0]
    return toy


def once_far(phone: FarPhone) -> dict[str, Any]:
    values = phone.run("run", "--once")
    assert values["failed"] == []
    toy: dict[str, Any] = values["toys"][0]
    return toy
