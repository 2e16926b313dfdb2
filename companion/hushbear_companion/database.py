"""One SQLite file that only its owner reads. Any number of processes may use it at once, and a
power cut leaves each change made or not made."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from . import message
from .errors import FileProblem, HushbearError

_LOCK_TIMEOUT = 30.0  # seconds


class Database:
    """A file whose tables come of `versions`: the statements that make each of the one before.
    `damaged` says what a user can do where it is not to be read."""

    def __init__(self, path: Path, versions: Sequence[Sequence[str]], damaged: str) -> None:
        self.path = path
        self._damaged = damaged
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise FileProblem(
                f"{path} cannot be written: {error.strerror}.",
                "Make room, or mend its permissions.",
            ) from None
        with self._problems():
            self._db = sqlite3.connect(path, timeout=_LOCK_TIMEOUT, isolation_level=None)
        try:
            self._prepare(versions)
        except BaseException:
            self._db.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._db.close()

    def _prepare(self, versions: Sequence[Sequence[str]]) -> None:
        with self._problems():
            if self._db.execute("PRAGMA auto_vacuum").fetchone() != (1,):  # setting it writes
                self._db.execute("PRAGMA auto_vacuum = FULL")
            self._db.execute("PRAGMA secure_delete = ON")
            self._db.execute("PRAGMA synchronous = EXTRA")
        with self._changing():
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version > len(versions):
                raise FileProblem(
                    f"{self.path} was written by another version of the companion.",
                    "Update the companion.",
                )
            for statements in versions[version:]:
                for statement in statements:
                    self._db.execute(statement)
            if version < len(versions):  # else nothing is written: opening it often costs nothing
                self._db.execute(f"PRAGMA user_version = {len(versions)}")

    def _rows(self, query: str, *values: Any) -> list[Any]:
        with self._problems():
            return self._db.execute(query, values).fetchall()

    @contextlib.contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        with self._problems():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # a full disk has ended it already
                    self._db.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _problems(self) -> Iterator[None]:
        try:
            yield
        except HushbearError:
            raise
        except sqlite3.OperationalError as error:
            raise FileProblem(
                f"{self.path} cannot be used now: {error}.", "Try again; see that there is room."
            ) from None
        except (sqlite3.Error, ValueError, TypeError, OverflowError):
            raise FileProblem(f"{self.path} is damaged.", self._damaged) from None


def now() -> int:
    """Return Unix seconds."""
    return message.timestamp(time.time())
