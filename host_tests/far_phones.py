"""Phones for tests that are far from each other: the `hushbear` command in processes of their own,
each with its own files, and a relay in between."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from host_tests.companion_toy import FAMILY, SENDER
from host_tests.relay.running import Process, settings
from hushbear_companion.keystore import KeyStore
from hushbear_companion.toy import Toy

KEY = bytes(range(32))


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
        process = self.start(*arguments, "--json")
        out, err = process.communicate(timeout=120)
        assert process.returncode == code, (arguments, out, err)
        said: dict[str, Any] = json.loads(out)
        return said

    @property
    def toy(self) -> Toy:
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
    phone = FarPhone(tmp_path / "parent")
    phone.store.add("Bruno", KEY, SENDER, FAMILY)
    phone.store.learn(KEY, SENDER, FAMILY, {SENDER: "Papa", b"mother\0\0": "Mama"})
    phone.run("relay", server.url)
    return phone


@pytest.fixture
def grandma(tmp_path: Path, server: Process) -> FarPhone:
    """A phone that knows the relay only."""
    phone = FarPhone(tmp_path / "grandma")
    phone.run("relay", server.url)
    return phone
