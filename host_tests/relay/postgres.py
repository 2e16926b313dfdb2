"""A PostgreSQL server of the tests' own, from what Debian's package installs."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

_PASSWORD = "not-a-secret"
_NUMBERS = itertools.count()


def programs() -> Path | None:
    """Return where initdb and pg_ctl are, newest first, or None."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_version)
    if found:
        return found[-1].parent
    if path := shutil.which("initdb"):
        return Path(path).parent
    return None


def _version(path: Path) -> float:
    return float(path.parts[-3])


def missing() -> str | None:
    """Return why there can be no server here, or None."""
    if programs() is None:
        return "no PostgreSQL: tools/setup test installs it (Debian's package postgresql)"
    if os.geteuid() == 0:
        try:
            pwd.getpwnam("postgres")
        except KeyError:
            return "PostgreSQL does not run as root, and there is no user postgres"
    return None


class Postgres:
    """A server in a temporary directory, which loopback and a socket reach, with a password."""

    def __init__(self, port: int) -> None:
        bin_directory = programs()
        assert bin_directory
        self.bin = bin_directory
        self.port = port
        self.directory = Path(tempfile.mkdtemp(prefix="hushbear-pg-"))
        self._data = self.directory / "data"
        if os.geteuid() == 0:
            shutil.chown(self.directory, "postgres")
        secret = self.directory / "password"
        secret.write_text(_PASSWORD)
        secret.chmod(0o644)
        self._call(
            "initdb", "-D", self._data, "-U", "relay", "-A", "scram-sha-256",
            f"--pwfile={secret}", "-E", "UTF8", "--locale=C", "--no-sync",
        )  # fmt: skip

    def start(self, *options: str) -> None:
        """Start it."""
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.directory,
            "fsync": "off",
            "max_connections": 200,
        }
        line = " ".join([*(f"-c {name}={value}" for name, value in settings.items()), *options])
        log = self.directory / "log"
        self._call("pg_ctl", "-D", self._data, "-w", "-s", "-l", log, "-o", line, "start")

    def stop(self, mode: str = "immediate") -> None:
        """Stop it; `immediate` is what a crash is."""
        self._call("pg_ctl", "-D", self._data, "-w", "-s", "-m", mode, "stop")

    def close(self) -> None:
        """Stop it and delete all of it."""
        subprocess.run(
            [self.bin / "pg_ctl", "-D", self._data, "-w", "-s", "-m", "immediate", "stop"],
            check=False,
            capture_output=True,
            **self._as_whom(),
        )
        shutil.rmtree(self.directory, ignore_errors=True)

    def database(self, place: Path | None = None) -> str:
        """Return the URL of a new database, whose tables are in a directory of their own where one
        is given."""
        name = f"relay{next(_NUMBERS)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            where = ""
            if place is not None:
                connection.execute(f"CREATE TABLESPACE {name} LOCATION '{place}'")
                where = f" TABLESPACE {name}"
            connection.execute(f"CREATE DATABASE {name}{where}")
        return self.url(name)

    @contextlib.contextmanager
    def small_disk(self, size: int) -> Iterator[Path | None]:
        """A disk of so many bytes for a database's tables, None where nobody may mount one."""
        place = self.directory / "small"
        place.mkdir()
        options = f"size={size},mode=0700"
        mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
            yield None
            return
        try:
            shutil.chown(place, "postgres")
            yield place
        finally:
            self.stop()
            subprocess.run(["umount", str(place)], check=True)

    def url(self, name: str, password: str = _PASSWORD) -> str:
        """Return the URL of a database."""
        return f"postgresql://relay:{password}@127.0.0.1:{self.port}/{name}"

    def allow_anybody(self) -> None:
        """Let whoever comes over loopback in without a password."""
        rules = self._data / "pg_hba.conf"
        rules.write_text("local all all trust\nhost all all 127.0.0.1/32 trust\n")
        self._call("pg_ctl", "-D", self._data, "-s", "reload")

    def ask_for_passwords(self) -> None:
        """Undo that."""
        rules = self._data / "pg_hba.conf"
        rules.write_text("local all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n")
        self._call("pg_ctl", "-D", self._data, "-s", "reload")

    def _call(self, program: str, *arguments: object) -> None:
        subprocess.run(
            [str(self.bin / program), *(str(argument) for argument in arguments)],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **self._as_whom(),
        )

    def _as_whom(self) -> dict[str, Any]:
        if os.geteuid() != 0:
            return {}
        return {"user": "postgres", "group": "postgres", "extra_groups": [], "cwd": "/"}
