"""Numbered channels, over which two who know nothing of each other but a number exchange a few
small messages, such as CPace's: each function is part of one transaction.

A channel lasts ten minutes. It is of the key that began it and of the first other one that comes;
to every other it is not there. Once closed, or over, its number is not used until purging.
"""

from __future__ import annotations

import dataclasses
import hashlib
import secrets

import sqlalchemy as sa

from ..problems import Problem
from ..signing import Signed
from .errors import Refused
from .guard import added
from .schema import rendezvous, rendezvous_messages

BODY_MAX = 1024
PLACES = 8  # messages of one side
_DIGITS_MIN = 3
NUMBER_MAX = 10**9 - 1
_TRIES = 50


def _name(signed: Signed) -> bytes:
    return hashlib.sha256(b"Hushbear relay rendezvous 1" + signed.key).digest()


def begin(connection: sa.Connection, signed: Signed, now: int, seconds: int) -> tuple[int, int]:
    """Return the number of a channel that this key has begun, and when it is over. Asked again,
    it is the same one for as long as that is open."""
    name = _name(signed)
    own = connection.execute(
        sa.select(rendezvous.c.number, rendezvous.c.closed, rendezvous.c.expires).where(
            rendezvous.c.first == name
        )
    ).one_or_none()
    if own is not None:
        if own.closed or own.expires <= now:
            raise Refused(Problem.CLOSED)
        return own.number, own.expires
    taken = connection.execute(sa.select(sa.func.count()).select_from(rendezvous)).scalar_one()
    digits = max(_DIGITS_MIN, len(str(10 * taken)))  # at most one in ten numbers is taken
    for _ in range(_TRIES):
        number = 10 ** (digits - 1) + secrets.randbelow(9 * 10 ** (digits - 1))
        row = {"number": number, "first": name, "closed": False, "expires": now + seconds}
        if number <= NUMBER_MAX and added(connection, rendezvous, **row):
            return number, now + seconds
    raise Refused(Problem.BUSY, retry_after=60)


@dataclasses.dataclass(frozen=True)
class Side:
    """Who somebody is on a channel: the first of the two or the second; whether it has only now
    become that; and whether the channel was closed."""

    first: bool
    joins: bool
    closed: bool


def enter(connection: sa.Connection, number: int, signed: Signed, now: int) -> Side:
    """Return which side this key is. The first other key than the beginner's is the second side
    from then on."""
    name = _name(signed)
    row = connection.execute(
        sa.select(rendezvous).where(rendezvous.c.number == number).with_for_update()
    ).one_or_none()
    if row is None or row.expires <= now:
        raise Refused(Problem.NOT_FOUND)
    if row.first == name:
        return Side(True, False, row.closed)
    if row.second == name:
        return Side(False, False, row.closed)
    if row.second is not None or row.closed:
        raise Refused(Problem.NOT_FOUND)
    connection.execute(
        rendezvous.update().where(rendezvous.c.number == number).values(second=name)
    )
    return Side(False, True, False)


def put(connection: sa.Connection, number: int, of_first: bool, place: int, body: bytes) -> None:
    """Store a side's message. The same one again changes nothing, another is refused."""
    row = {"rendezvous": number, "of_first": of_first, "place": place, "body": body}
    if (
        not added(connection, rendezvous_messages, **row)
        and get(connection, number, of_first, place) != body
    ):
        raise Refused(Problem.ANOTHER_BODY)


def get(connection: sa.Connection, number: int, of_first: bool, place: int) -> bytes | None:
    """Return a side's message, if it has come."""
    body: bytes | None = connection.execute(
        sa.select(rendezvous_messages.c.body).where(
            rendezvous_messages.c.rendezvous == number,
            rendezvous_messages.c.of_first == of_first,
            rendezvous_messages.c.place == place,
        )
    ).scalar_one_or_none()
    return body


def close(connection: sa.Connection, number: int) -> None:
    """End a channel for both sides."""
    connection.execute(
        rendezvous.update().where(rendezvous.c.number == number).values(closed=True)
    )


def is_over(connection: sa.Connection, number: int, now: int) -> bool:
    """Return whether a channel was closed, or its time is over."""
    row = connection.execute(
        sa.select(rendezvous.c.closed, rendezvous.c.expires).where(rendezvous.c.number == number)
    ).one_or_none()
    return row is None or row.closed or row.expires <= now
