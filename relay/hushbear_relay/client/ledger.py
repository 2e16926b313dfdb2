"""What this side must not forget, in one SQLite file: messages on their way until their receipt
comes, and what has arrived, so that it does once.

Every method is one transaction, on disk when it returns.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

_LOCK_TIMEOUT = 30.0  # seconds
_VERSION = 2
# What a ledger of version 1 held was sealed for mailboxes that nobody has any more.
_SCHEMA = f"""
BEGIN IMMEDIATE;
DROP TABLE IF EXISTS going;
DROP TABLE IF EXISTS told;
DROP TABLE IF EXISTS arrived;
CREATE TABLE going (
    id BLOB PRIMARY KEY, contact BLOB NOT NULL, content BLOB NOT NULL, since INTEGER NOT NULL
);
CREATE TABLE told (
    id BLOB NOT NULL, kind INTEGER NOT NULL, times INTEGER NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY (id, kind)
);
CREATE TABLE arrived (
    id BLOB PRIMARY KEY, contact BLOB NOT NULL, content BLOB, at INTEGER NOT NULL
);
PRAGMA user_version = {_VERSION};
COMMIT;
"""


@dataclasses.dataclass(frozen=True)
class Going:
    """A message that has no receipt yet."""

    id: bytes
    contact: bytes
    content: bytes = dataclasses.field(repr=False)
    since: int


@dataclasses.dataclass(frozen=True)
class Arrived:
    """A message that has arrived and was not taken yet."""

    id: bytes
    contact: bytes
    content: bytes = dataclasses.field(repr=False)
    at: int


class Ledger:
    """The file at `path`, which nobody else can read. `contact`: a contact's id."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._connection = sqlite3.connect(path, timeout=_LOCK_TIMEOUT, isolation_level=None)
        try:
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute("PRAGMA secure_delete = ON")
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            if version < _VERSION:
                self._connection.executescript(_SCHEMA)
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def keep(self, message: bytes, contact: bytes, content: bytes) -> None:
        """Keep a message until its receipt comes."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO going VALUES (?, ?, ?, ?)",
                (message, contact, content, int(time.time())),
            )

    def going(self) -> list[Going]:
        """Return the messages without a receipt, oldest first."""
        rows = self._connection.execute("SELECT * FROM going ORDER BY since, rowid")
        return [Going(*row) for row in rows]

    def knows(self, message: bytes) -> bool:
        """Return whether a message of that id is kept, or was confirmed."""
        row = self._connection.execute(
            "SELECT 1 FROM going WHERE id = ? UNION SELECT 1 FROM told WHERE id = ?",
            (message, message),
        ).fetchone()
        return row is not None

    def keeps(self, message: bytes) -> bool:
        """Return whether a message of that id is kept."""
        row = self._connection.execute("SELECT 1 FROM going WHERE id = ?", (message,))
        return row.fetchone() is not None

    def forget(self, contact: bytes) -> None:
        """Drop what is kept for a contact."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM going WHERE contact = ?", (contact,))

    def confirm(self, message: bytes, contact: bytes, kind: int, enough: int = 1) -> None:
        """A contact says, for the `enough`-th time or more, what became of a message to it: it
        need not be kept any longer."""
        ours = (message, contact)
        with self._transaction() as connection:
            known = connection.execute(
                "SELECT 1 FROM going WHERE id = ? AND contact = ?"
                " UNION SELECT 1 FROM told WHERE id = ?",
                (*ours, message),
            ).fetchone()
            if not known:
                return
            (times,) = connection.execute(
                "INSERT INTO told VALUES (?, ?, 1, ?)"
                " ON CONFLICT DO UPDATE SET times = times + 1 RETURNING times",
                (message, kind, int(time.time())),
            ).fetchone()
            if times >= enough:
                connection.execute("DELETE FROM going WHERE id = ? AND contact = ?", ours)

    def told(self, message: bytes) -> list[int]:
        """Return the kinds of receipts that have come for a message."""
        rows = self._connection.execute(
            "SELECT kind FROM told WHERE id = ? ORDER BY kind", (message,)
        )
        return [row[0] for row in rows]

    def arrive(self, message: bytes, contact: bytes, content: bytes) -> bool:
        """Note what has arrived. Return False if it had before."""
        with self._transaction() as connection:
            done = connection.execute(
                "INSERT OR IGNORE INTO arrived VALUES (?, ?, ?, ?)",
                (message, contact, content, int(time.time())),
            )
        return done.rowcount == 1

    def has_arrived(self, message: bytes) -> bool:
        """Return whether a message has arrived before."""
        row = self._connection.execute("SELECT 1 FROM arrived WHERE id = ?", (message,))
        return row.fetchone() is not None

    def waiting(self) -> list[Arrived]:
        """Return what has arrived and was not taken yet, in order."""
        rows = self._connection.execute(
            "SELECT * FROM arrived WHERE content IS NOT NULL ORDER BY at, rowid"
        )
        return [Arrived(*row) for row in rows]

    def take(self, message: bytes) -> None:
        """Drop the content of what has arrived; that it has stays known."""
        with self._transaction() as connection:
            connection.execute("UPDATE arrived SET content = NULL WHERE id = ?", (message,))
