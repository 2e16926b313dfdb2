"""What this phone has sent through the relay and how far it has come, and what it has heard: the
two sides of what a sender is told.

One SQLite file for each toy. What is older than three months is forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from . import message
from .database import Database, now
from .letters import News, Stage
from .private import data_directory

KEEP = 90 * 24 * 3600  # seconds

_VERSIONS = (
    (
        """
        CREATE TABLE sent (
            id BLOB NOT NULL CHECK (length(id) = 16),
            recipient BLOB NOT NULL CHECK (length(recipient) = 8),  -- zeros: the toy
            origin BLOB NOT NULL CHECK (length(origin) = 8),        -- who has said it
            envelope BLOB NOT NULL,        -- in which it went to the relay
            size INTEGER NOT NULL,
            since INTEGER NOT NULL,        -- Unix seconds
            stage INTEGER NOT NULL,
            changed INTEGER NOT NULL,
            PRIMARY KEY (id, recipient)
        )
        """,
        """
        CREATE TABLE heard (
            id BLOB PRIMARY KEY CHECK (length(id) = 16),
            sender BLOB NOT NULL CHECK (length(sender) = 8),
            stage INTEGER NOT NULL,
            changed INTEGER NOT NULL
        )
        """,
    ),
)
_COLUMNS = "id, recipient, origin, envelope, size, since, stage, changed"


@dataclass(frozen=True)
class Sent:
    """A message that was sent, to one recipient. `recipient` and `origin` are sender ids, zeros
    for the toy and its child."""

    id: bytes
    recipient: bytes
    origin: bytes
    envelope: bytes
    size: int
    since: datetime
    stage: Stage
    changed: datetime

    @property
    def seconds(self) -> float:
        """How long it is."""
        return message.duration(self.size)


@dataclass(frozen=True)
class Heard:
    """A message that was heard here."""

    id: bytes
    sender: bytes
    stage: Stage


class Journal(Database):
    """The journal of the toy with that id; with it closed, nothing of it works."""

    def __init__(self, toy_id: bytes, directory: Path | None = None) -> None:
        path = (directory or data_directory()) / toy_id.hex() / "journal.db"
        super().__init__(path, _VERSIONS, "Move it away: it only tells what became of messages.")
        with self._changing() as db:
            for table in ("sent", "heard"):
                db.execute(f"DELETE FROM {table} WHERE changed < ?", (now() - KEEP,))

    def sent(self, header: message.Header, size: int, recipient: bytes, envelope: bytes) -> None:
        """Note what is on its way. The same message to the same recipient is noted once."""
        going = Stage.GOING
        values = (header.id, recipient, header.sender, envelope, size, now(), going, now())
        with self._changing() as db:
            db.execute(f"INSERT OR IGNORE INTO sent ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?)", values)

    def learn(self, news: News) -> bool:
        """Note what has become of a message. Return whether it is new, and of one that was sent
        from here."""
        with self._changing() as db:
            done = db.execute(
                "UPDATE sent SET stage = ?, changed = ? WHERE id = ? AND recipient = ? AND"
                " stage < ?",
                (news.stage, now(), news.id, news.recipient, news.stage),
            )
            return done.rowcount == 1

    def all_sent(self, *stages: Stage) -> list[Sent]:
        """Return what was sent and is in `stages`, in any where none is given, oldest first."""
        wanted = stages or tuple(Stage)
        marks = ", ".join("?" * len(wanted))
        rows = self._rows(
            f"SELECT {_COLUMNS} FROM sent WHERE stage IN ({marks}) ORDER BY since, rowid", *wanted
        )
        return [_sent(*row) for row in rows]

    def hear(self, message_id: bytes, sender: bytes) -> None:
        """A message has been heard on this phone."""
        with self._changing() as db:
            db.execute(
                "INSERT OR IGNORE INTO heard VALUES (?, ?, ?, ?)",
                (message_id, sender, Stage.HEARD, now()),
            )

    def answer(self, sender: bytes) -> None:
        """Something goes to somebody: what was heard of them is answered."""
        with self._changing() as db:
            db.execute(
                "UPDATE heard SET stage = ?, changed = ? WHERE sender = ? AND stage = ?",
                (Stage.ANSWERED, now(), sender, Stage.HEARD),
            )

    def all_heard(self) -> list[Heard]:
        """Return what was heard on this phone, oldest first."""
        rows = self._rows("SELECT id, sender, stage FROM heard ORDER BY changed, rowid")
        return [Heard(bytes(id_), bytes(sender), Stage(stage)) for id_, sender, stage in rows]


def _sent(
    message_id: bytes, recipient: bytes, origin: bytes, envelope: bytes, size: int,
    since: int, stage: int, changed: int,
) -> Sent:  # fmt: skip
    return Sent(
        bytes(message_id),
        bytes(recipient),
        bytes(origin),
        bytes(envelope),
        size,
        datetime.fromtimestamp(since, UTC),
        Stage(stage),
        datetime.fromtimestamp(changed, UTC),
    )
