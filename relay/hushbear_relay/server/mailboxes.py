"""Mailboxes, their members and messages: each function is part of one transaction.

Whoever changes a mailbox locks its row first, so its counters are exact, positions ascend in the
order of commits, and nothing of a member is stored once its removal was answered.

The statements of every day are built once: building one takes SQLAlchemy several times as long as
executing it. `of` is the mailbox that they are about.
"""

from __future__ import annotations

import dataclasses
import time

import sqlalchemy as sa

from .. import names
from ..problems import Problem
from ..signing import Signed
from .errors import Refused
from .guard import added
from .schema import bodies, loose, mailboxes, members, messages
from .settings import Settings


@dataclasses.dataclass(frozen=True)
class Entry:
    """A message as it is listed."""

    id: bytes
    member: bytes
    size: int
    position: int
    received: int
    expires: int


_ENTRY = tuple(messages.c[field.name] for field in dataclasses.fields(Entry))
_OF: sa.BindParameter[bytes] = sa.bindparam("of")
_MAILBOX = mailboxes.c.id == _OF
_MEMBER = sa.and_(members.c.mailbox == _OF, members.c.id == sa.bindparam("by"))
_MESSAGE = sa.and_(messages.c.mailbox == _OF, messages.c.id == sa.bindparam("message"))
_NOT_OVER = messages.c.expires > sa.bindparam("now")


@dataclasses.dataclass(frozen=True)
class State:
    """A mailbox as its owner sees it."""

    members: list[bytes]
    messages: int
    bytes: int


@dataclasses.dataclass(frozen=True)
class Arrived:
    """A message that is to be stored. `object`: where its body is, unless in the database."""

    id: bytes
    member: bytes
    digest: bytes
    size: int
    body: bytes | None
    object: bytes | None = None


@dataclasses.dataclass(frozen=True)
class Body:
    """Where a message's body is: here, or in an object."""

    body: bytes | None
    object: bytes | None
    digest: bytes


_LOCKED = (
    sa.select(mailboxes.c.seen, mailboxes.c.last, mailboxes.c.messages, mailboxes.c.bytes)
    .where(_MAILBOX)
    .with_for_update()
)


def _lock(connection: sa.Connection, mailbox: bytes) -> sa.Row[int, int, int, int] | None:
    return connection.execute(_LOCKED, {"of": mailbox}).one_or_none()


_SEEN = sa.select(mailboxes.c.seen).where(_MAILBOX)


def check_owner(connection: sa.Connection, mailbox: bytes, signed: Signed, now: int) -> None:
    """Refuse whoever does not own this mailbox, and notes that the owner came today."""
    seen = None
    if signed.mailbox == mailbox:
        seen = connection.execute(_SEEN, {"of": mailbox}).scalar_one_or_none()
    if seen is None:
        raise Refused(Problem.NOT_FOUND)
    if seen != now // 86400:
        connection.execute(
            mailboxes.update().where(mailboxes.c.id == mailbox).values(seen=now // 86400)
        )


def exists(connection: sa.Connection, mailbox: bytes) -> bool:
    """Return whether there is such a mailbox."""
    found = connection.execute(sa.select(sa.literal(1)).where(mailboxes.c.id == mailbox))
    return found.one_or_none() is not None


def set_members(connection: sa.Connection, mailbox: bytes, wanted: list[bytes], now: int) -> bool:
    """Make a mailbox, or change who may write to it. Return whether it is new.

    What a member that is no longer wanted has written, and nobody has fetched, goes with it.
    """
    new = added(connection, mailboxes, id=mailbox, seen=now // 86400, last=0, messages=0, bytes=0)
    _lock(connection, mailbox)
    there = set(_members(connection, mailbox))
    for member in there - set(wanted):
        _remove(connection, mailbox, _ALL_BY, by=member)
        connection.execute(
            members.delete().where(members.c.mailbox == mailbox, members.c.id == member)
        )
    for member in set(wanted) - there:
        connection.execute(
            members.insert().values(mailbox=mailbox, id=member, messages=0, bytes=0)
        )
    return new


def state(connection: sa.Connection, mailbox: bytes) -> State:
    """Return what is in a mailbox, and who may write to it."""
    row = connection.execute(
        sa.select(mailboxes.c.messages, mailboxes.c.bytes).where(mailboxes.c.id == mailbox)
    ).one()
    return State(sorted(_members(connection, mailbox)), row.messages, row.bytes)


_MEMBERS = sa.select(members.c.id).where(members.c.mailbox == _OF)


def _members(connection: sa.Connection, mailbox: bytes) -> list[bytes]:
    return list(connection.execute(_MEMBERS, {"of": mailbox}).scalars())


def drop(connection: sa.Connection, mailbox: bytes) -> None:
    """Delete a mailbox with all that is in it."""
    _lock(connection, mailbox)
    connection.execute(_ALL.loosen, {"of": mailbox})
    connection.execute(mailboxes.delete().where(mailboxes.c.id == mailbox))


_ROOM = (
    sa.select(
        mailboxes.c.messages,
        mailboxes.c.bytes,
        members.c.messages.label("own_messages"),
        members.c.bytes.label("own_bytes"),
    )
    .join(members, members.c.mailbox == mailboxes.c.id)
    .where(_MAILBOX, _MEMBER)
)


def admit(
    connection: sa.Connection,
    mailbox: bytes,
    signed: Signed,
    message: bytes,
    size: int,
    digest: bytes,
    settings: Settings,
) -> bool:
    """Say before a body is read whether there is room for it; refuse who may not write here.

    Return whether this very message is there already.
    """
    member = signed.member(mailbox)
    row = connection.execute(_ROOM, {"of": mailbox, "by": member}).one_or_none()
    if row is None:
        raise Refused(Problem.NOT_FOUND)
    if _is_there(connection, mailbox, message, member, digest):
        return True
    _check_room(row.messages, row.bytes, row.own_messages, row.own_bytes, size, settings)
    return False


_WHAT = sa.select(messages.c.digest, messages.c.member).where(_MESSAGE)


def _is_there(
    connection: sa.Connection, mailbox: bytes, message: bytes, member: bytes, digest: bytes
) -> bool:
    there = connection.execute(_WHAT, {"of": mailbox, "message": message}).one_or_none()
    if there is None:
        return False
    if there.digest != digest or there.member != member:
        raise Refused(Problem.ANOTHER_BODY)
    return True


def _check_room(
    count: int, size_all: int, own: int, size_own: int, size: int, settings: Settings
) -> None:
    if count >= settings.mailbox_messages or size_all + size > settings.mailbox_bytes:
        raise Refused(Problem.MAILBOX_FULL, retry_after=600)
    if own >= settings.member_messages or size_own + size > settings.member_bytes:
        raise Refused(Problem.SHARE_FULL, retry_after=600)


_SHARE = sa.select(members.c.messages, members.c.bytes).where(_MEMBER)
_STORE = messages.insert().returning(messages.c.number)
_STORE_BODY = bodies.insert()
_CLAIM = loose.delete().where(loose.c.object == sa.bindparam("place"))


def put(
    connection: sa.Connection, mailbox: bytes, arrived: Arrived, settings: Settings, now: int
) -> bool:
    """Store a message. Return whether it is new: one that is there already stays as it is."""
    row = _lock(connection, mailbox)
    own = row and connection.execute(_SHARE, {"of": mailbox, "by": arrived.member}).one_or_none()
    if row is None or own is None:
        raise Refused(Problem.NOT_FOUND)
    if _is_there(connection, mailbox, arrived.id, arrived.member, arrived.digest):
        return False
    _check_room(row.messages, row.bytes, own.messages, own.bytes, arrived.size, settings)
    position = max(row.last + 1, time.time_ns() // 1000)
    _add(connection, mailbox, arrived.member, 1, arrived.size, position)
    values = {
        "mailbox": mailbox,
        "id": arrived.id,
        "position": position,
        "member": arrived.member,
        "size": arrived.size,
        "digest": arrived.digest,
        "received": now,
        "expires": now + settings.keep,
        "object": arrived.object,
    }
    number = connection.execute(_STORE, values).scalar_one()
    if arrived.object is None:
        connection.execute(_STORE_BODY, {"message": number, "body": arrived.body})
    elif not connection.execute(_CLAIM, {"place": arrived.object}).rowcount:
        raise Refused(Problem.STORAGE)  # it took so long that the object was cleared away
    return True


def _counted(table: sa.Table, which: sa.ColumnElement[bool]) -> sa.Update:
    more = {name: table.c[name] + sa.bindparam(f"more_{name}") for name in ("messages", "bytes")}
    return table.update().where(which).values(more)


_COUNT = _counted(mailboxes, _MAILBOX)
_COUNT_NEWEST = _COUNT.values(last=sa.bindparam("newest"))
_COUNT_SHARE = _counted(members, _MEMBER)


def _add(
    connection: sa.Connection,
    mailbox: bytes,
    member: bytes,
    count: int,
    size: int,
    position: int | None = None,
) -> None:
    values = {"of": mailbox, "more_messages": count, "more_bytes": size}
    if position is None:
        connection.execute(_COUNT, values)
    else:
        connection.execute(_COUNT_NEWEST, values | {"newest": position})
    connection.execute(_COUNT_SHARE, values | {"by": member})


_LISTED = (
    sa.select(*_ENTRY)
    .where(messages.c.mailbox == _OF, messages.c.position > sa.bindparam("after"), _NOT_OVER)
    .order_by(messages.c.position)
    .limit(sa.bindparam("most"))
)


def listing(
    connection: sa.Connection, mailbox: bytes, after: int, limit: int, now: int
) -> tuple[list[Entry], bytes]:
    """Return up to `limit` messages above a position, oldest first, and the digest of who may
    write here (see names.digest_of)."""
    values = {"of": mailbox, "after": after, "now": now, "most": limit}
    entries = [Entry(*row) for row in connection.execute(_LISTED, values)]
    return entries, names.digest_of(_members(connection, mailbox))


_FETCHED = (
    sa.select(messages.c.object, messages.c.digest, bodies.c.body)
    .outerjoin(bodies, bodies.c.message == messages.c.number)
    .where(_MESSAGE, _NOT_OVER)
)


def find(connection: sa.Connection, mailbox: bytes, message: bytes, now: int) -> Body:
    """Return the body of a message, or where it is."""
    values = {"of": mailbox, "message": message, "now": now}
    row = connection.execute(_FETCHED, values).one_or_none()
    if row is None:
        raise Refused(Problem.NOT_FOUND)
    return Body(row.body, row.object, row.digest)


_LOOKED_AT = sa.select(*_ENTRY).where(_MESSAGE, _NOT_OVER)


def look(
    connection: sa.Connection, mailbox: bytes, message: bytes, signed: Signed, now: int
) -> Entry:
    """Return a message's entry to the owner, or to the member who wrote it."""
    values = {"of": mailbox, "message": message, "now": now}
    row = connection.execute(_LOOKED_AT, values).one_or_none()
    if row is None or (signed.mailbox != mailbox and row.member != signed.member(mailbox)):
        raise Refused(Problem.NOT_FOUND)
    return Entry(*row)


def remove(
    connection: sa.Connection, mailbox: bytes, message: bytes, signed: Signed, now: int
) -> int:
    """Delete a message for the owner, or for the member who wrote it, and say how many that were.
    One that is not there, or is another's, is left as it is: a member cannot tell which."""
    member = signed.member(mailbox)
    if signed.mailbox == mailbox:
        check_owner(connection, mailbox, signed, now)
    elif member not in _members(connection, mailbox):
        raise Refused(Problem.NOT_FOUND)
    _lock(connection, mailbox)
    if signed.mailbox == mailbox:
        return _remove(connection, mailbox, _ONE, message=message)
    return _remove(connection, mailbox, _ONE_BY, message=message, by=member)


class _Some:
    """Some messages of a mailbox: how they are deleted, and before that their objects left to
    purging."""

    def __init__(self, *conditions: sa.ColumnElement[bool]) -> None:
        which = sa.and_(messages.c.mailbox == _OF, *conditions)
        objects = sa.select(messages.c.object, sa.literal(0))
        objects = objects.where(which, messages.c.object.is_not(None))
        self.loosen = loose.insert().from_select(["object", "due"], objects)
        self.delete = messages.delete().where(which).returning(messages.c.member, messages.c.size)


_BY = messages.c.member == sa.bindparam("by")
_ALL = _Some()
_ALL_BY = _Some(_BY)
_ONE = _Some(_MESSAGE)
_ONE_BY = _Some(_MESSAGE, _BY)
_OVER = _Some(messages.c.expires <= sa.bindparam("now"))


def _remove(connection: sa.Connection, mailbox: bytes, some: _Some, **values: object) -> int:
    """Delete messages of a mailbox that is locked, and say how many."""
    values["of"] = mailbox
    connection.execute(some.loosen, values)
    gone = connection.execute(some.delete, values).all()
    for member in {row.member for row in gone}:
        sizes = [row.size for row in gone if row.member == member]
        _add(connection, mailbox, member, -len(sizes), -sum(sizes))
    return len(gone)


def expired(connection: sa.Connection, now: int, limit: int) -> list[bytes]:
    """Return mailboxes, in order, that have messages whose time is over, among the `limit` oldest
    such messages."""
    oldest = (
        sa.select(messages.c.mailbox)
        .where(messages.c.expires <= now)
        .order_by(messages.c.expires)
        .limit(limit)
        .subquery()
    )
    return list(connection.execute(sa.select(oldest.c.mailbox).distinct()).scalars())


def expire(connection: sa.Connection, mailbox: bytes, now: int) -> int:
    """Delete the messages of a mailbox whose time is over, and say how many."""
    _lock(connection, mailbox)
    return _remove(connection, mailbox, _OVER, now=now)


def forsaken(connection: sa.Connection, before: int, limit: int) -> list[bytes]:
    """Return up to `limit` mailboxes whose owner has not come since the day `before`."""
    return list(
        connection.execute(
            sa.select(mailboxes.c.id).where(mailboxes.c.seen < before).limit(limit)
        ).scalars()
    )
