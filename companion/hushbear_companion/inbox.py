"""What other members of the family have sent to the toy: it waits here for a parent's approval.

    with Inbox(toy.id) as inbox:
        incoming, new = inbox.take(content, toy.family)   # wherever the sealed bytes come from
        inbox.approve(incoming.id)
        for incoming in inbox.due(epoch): ...             # delivery.py brings them to the toy

A message is waiting, approved, delivered, heard, answered, in this order and never back; or it was
refused, which deletes it for good, from the toy, too. Its id is remembered in each case, so that a
message which comes again is not delivered again, and its row says to whoever tells the sender how
far it has come, and since when. What is here has been opened once: it is genuine, and of the
family.

An approval that stands for a member counts for what is sealed with the family's newest key only:
a phone that was removed has none but older ones. The family key is all that a message proves, so
members can pretend to be each other.

One SQLite file for each toy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

from hushbear import container

from . import message, sealing
from .database import Database, now
from .errors import BadMessage, InboxFull, NoSuchMessage, UsageError
from .private import data_directory

PENDING_MAX = 256  # messages that are not delivered yet
PENDING_OF_ONE_MAX = 64  # of these, from one member
KEEP = 30 * 24 * 3600  # seconds that what was delivered, and perhaps not heard, can be played here

_STATES = "'waiting', 'approved', 'delivered', 'heard', 'refused'"
_TABLE = """
    CREATE TABLE message (
        id BLOB PRIMARY KEY CHECK (length(id) = 16),
        state TEXT NOT NULL CHECK (state IN ({states})),
        changed INTEGER NOT NULL,   -- when it came into this state, Unix seconds
        received INTEGER NOT NULL,
        sender BLOB NOT NULL CHECK (length(sender) = 8),
        epoch INTEGER NOT NULL,
        time INTEGER NOT NULL,      -- when it was recorded, 0: unknown
        size INTEGER NOT NULL,
        sealed BLOB                 -- as it came, NULL once nobody needs it
    )
"""
_VERSIONS = (
    (
        _TABLE.format(states=_STATES),
        "CREATE INDEX by_state ON message (state, received)",
        """
        CREATE TABLE standing (
            sender BLOB PRIMARY KEY CHECK (length(sender) = 8),
            since INTEGER NOT NULL
        )
        """,
    ),
    (
        "DROP INDEX by_state",
        "ALTER TABLE message RENAME TO before",
        _TABLE.format(states=f"{_STATES}, 'answered'"),
        "INSERT INTO message SELECT * FROM before ORDER BY rowid",
        "DROP TABLE before",
        "CREATE INDEX by_state ON message (state, received)",
    ),
)
_COLUMNS = "id, sender, epoch, time, size, state, received, changed"


class State(Enum):
    """How far a message has come."""

    WAITING = "waiting"  # for a parent
    APPROVED = "approved"  # and on its way
    DELIVERED = "delivered"  # the toy has it
    HEARD = "heard"
    ANSWERED = "answered"  # the child has recorded something since
    REFUSED = "refused"


@dataclass(frozen=True)
class Incoming:
    """A message in the inbox, all but its sound. `time` is None where it is unknown."""

    id: bytes
    sender: bytes
    epoch: int
    time: datetime | None
    size: int
    state: State
    received: datetime
    changed: datetime

    @property
    def seconds(self) -> float:
        """How long it is."""
        return message.duration(self.size)


class Inbox(Database):
    """The inbox of the toy with that id; with it closed, nothing of it works."""

    def __init__(self, toy_id: bytes, directory: Path | None = None) -> None:
        path = (directory or data_directory()) / toy_id.hex() / "inbox.db"
        damaged = "Move it away; what the toy does not have yet has to be sent again."
        super().__init__(path, _VERSIONS, damaged)
        with self._changing() as db:
            db.execute(
                "UPDATE message SET sealed = NULL WHERE sealed IS NOT NULL AND "
                "(state IN ('heard', 'answered') OR (state = 'delivered' AND changed < ?))",
                (now() - KEEP,),
            )

    def take(self, content: bytes, family: Mapping[int, bytes]) -> tuple[Incoming, bool]:
        """Open a sealed message and let it wait; return it, and whether it is new here.

        One that was here before, and may be refused by now, stays what it is. Raises BadMessage
        or what sealing.unseal() raises where it is not genuine, and InboxFull.
        """
        header, blocks = sealing.unseal(content, family)
        message.check_blocks(blocks)
        if header.sender == container.TOY:
            raise BadMessage(
                "That is a recording of the toy's own child.", "Send it to somebody else."
            )
        came = now()
        with self._changing():
            known = self._get(header.id)
            if known:
                return known, False
            self._check_room(header.sender)
            self._db.execute(
                "INSERT INTO message (id, state, changed, received, sender, epoch, time, size, "
                "sealed) VALUES (?, 'waiting', ?, ?, ?, ?, ?, ?, ?)",
                (header.id, came, came, header.sender, header.epoch, header.time, len(content),
                 content),
            )  # fmt: skip
            incoming = self._get(header.id)
            assert incoming is not None
            return incoming, True

    def messages(self, *states: State) -> list[Incoming]:
        """Return the messages in `states`, in any where none is given, in the order in which they
        came."""
        wanted = [state.value for state in states or State]
        marks = ", ".join("?" * len(wanted))
        return self._select(f"state IN ({marks}) ORDER BY received, rowid", *wanted)

    def find(self, text: str) -> Incoming:
        """Return the message whose id, in hexadecimal, begins with `text`; it has to be the only
        one. Raises NoSuchMessage, also for one that was refused."""
        begins = text.lower()
        found = [each for each in self.messages() if each.id.hex().startswith(begins)]
        hint = "See `hushbear inbox --all`."
        if not found or not text:
            raise NoSuchMessage(
                f"No message in the inbox has an id that begins with {text!r}.", hint
            )
        if len(found) > 1:
            raise NoSuchMessage(
                f"{len(found)} messages have ids that begin with {text!r}.", "Give more of the id."
            )
        if found[0].state is State.REFUSED:
            raise NoSuchMessage(f"Message {found[0].id.hex()[:8]} was refused and is gone.", hint)
        return found[0]

    def sealed(self, message_id: bytes) -> bytes:
        """Return a message as it came, or raise NoSuchMessage where it is not kept any more."""
        rows = self._rows("SELECT sealed FROM message WHERE id = ?", message_id)
        if not rows or rows[0][0] is None:
            raise NoSuchMessage(
                f"Message {message_id.hex()[:8]} is not kept here any more.",
                "The child has heard it, or it was delivered long ago.",
            )
        return bytes(rows[0][0])

    def approve(self, message_id: bytes) -> None:
        """Let a message through. One that is further already stays so."""
        self._move(message_id, State.APPROVED, State.WAITING)

    def refuse(self, message_id: bytes) -> None:
        """Delete a message for good, and take it never again; the toy loses it at the next visit.
        Raises UsageError where the child has heard it."""
        self._move(message_id, State.REFUSED, State.WAITING, State.APPROVED, State.DELIVERED)
        if not self.refused(message_id):
            short = message_id.hex()[:8]
            raise UsageError(
                f"The child has heard message {short} already.",
                f"Take it from the toy: `hushbear delete {short}`.",
            )

    def refused(self, message_id: bytes) -> bool:
        """Return whether a message was refused."""
        known = self._get(message_id)
        return known is not None and known.state is State.REFUSED

    def delivered(self, message_id: bytes) -> bool:
        """The toy has the message. Returns False where it was refused meanwhile."""
        self._move(message_id, State.DELIVERED, State.WAITING, State.APPROVED)
        return not self.refused(message_id)

    def heard(self, message_ids: Iterable[bytes]) -> None:
        """The child has heard these, of which some may not be from here."""
        for message_id in message_ids:
            self._move(message_id, State.HEARD, State.DELIVERED)

    def answered(self, message_ids: Iterable[bytes]) -> None:
        """The child has answered these, likewise."""
        for message_id in message_ids:
            self._move(message_id, State.ANSWERED, State.HEARD)

    def due(self, epoch: int) -> list[Incoming]:
        """Return what may be brought to the toy of a family whose newest key has number `epoch`,
        in the order in which it came."""
        return self._select(
            "state = 'approved' OR (state = 'waiting' AND epoch = ? AND sender IN "
            "(SELECT sender FROM standing)) ORDER BY received, rowid",
            epoch,
        )

    def standing(self) -> list[bytes]:
        """Return the sender ids of the members whose messages need no parent."""
        rows = self._rows("SELECT sender FROM standing ORDER BY since, rowid")
        return [bytes(sender) for (sender,) in rows]

    def approve_always(self, sender: bytes) -> None:
        """Let through what waits, and what will come, from a member."""
        with self._changing():
            self._db.execute("INSERT OR IGNORE INTO standing VALUES (?, ?)", (sender, now()))

    def ask_again(self, sender: bytes) -> None:
        """Let a member's messages wait again."""
        with self._changing():
            self._db.execute("DELETE FROM standing WHERE sender = ?", (sender,))

    def _check_room(self, sender: bytes) -> None:
        pending = self._select("state IN ('waiting', 'approved')")
        if len(pending) >= PENDING_MAX:
            raise InboxFull(f"{len(pending)} messages are in the inbox already.")
        if [each.sender for each in pending].count(sender) >= PENDING_OF_ONE_MAX:
            raise InboxFull(f"{PENDING_OF_ONE_MAX} messages from one member are in the inbox.")

    def _move(self, message_id: bytes, to: State, *origins: State) -> None:
        marks = ", ".join("?" * len(origins))
        kept = to in (State.APPROVED, State.DELIVERED)
        sealed = "sealed" if kept else "NULL"
        with self._changing():
            self._db.execute(
                f"UPDATE message SET state = ?, changed = ?, sealed = {sealed} "
                f"WHERE id = ? AND state IN ({marks})",
                (to.value, now(), message_id, *(state.value for state in origins)),
            )

    def _get(self, message_id: bytes) -> Incoming | None:
        found = self._select("id = ?", message_id)
        return found[0] if found else None

    def _select(self, condition: str, *values: Any) -> list[Incoming]:
        rows = self._rows(f"SELECT {_COLUMNS} FROM message WHERE {condition}", *values)
        with self._problems():  # what a damaged file says may be impossible
            return [_incoming(*row) for row in rows]


def _incoming(
    message_id: bytes, sender: bytes, epoch: int, recorded: int, size: int, state: str,
    received: int, changed: int,
) -> Incoming:  # fmt: skip
    return Incoming(
        bytes(message_id),
        bytes(sender),
        epoch,
        datetime.fromtimestamp(recorded, UTC) if recorded else None,
        size,
        State(state),
        datetime.fromtimestamp(received, UTC),
        datetime.fromtimestamp(changed, UTC),
    )
