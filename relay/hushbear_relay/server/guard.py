"""What keeps requests from coming twice, and sources from asking for too much.

An address is never stored. What a source did is counted for its minute under 16 bits of a hash of
the minute and the address, so 65,536 IPv4 addresses share a count (and a limit, for a minute), and
who reads the table learns neither an address nor that two minutes had the same one.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import ipaddress

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ..problems import Problem
from ..signing import Signed
from .errors import Refused
from .schema import nonces, tallies

_IPV6_PREFIX = 56  # what a household gets


class What(enum.IntEnum):
    """What is counted for a source. The numbers are in databases: they stay."""

    MAILBOX = 1
    RENDEZVOUS = 2


def _insert(dialect: str, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    """Return an insert into `table` that knows `on_conflict_…`."""
    return sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)


@functools.cache
def _adding(dialect: str, table: sa.Table) -> sa.Insert:
    # Built once a table, as it takes longer to build than to execute.
    return _insert(dialect, table).on_conflict_do_nothing().returning(sa.literal(1))


def added(connection: sa.Connection, table: sa.Table, **values: object) -> bool:
    """Insert a row unless it is there already, and return whether it was not."""
    statement = _adding(connection.dialect.name, table)
    return connection.execute(statement, values).first() is not None


def check_clock(signed: Signed, now: int, skew: int) -> None:
    """Refuse a signature that was made longer ago, or will be made later, than clocks differ."""
    if abs(signed.created - now) > skew:
        raise Refused(Problem.CLOCK)


def once(connection: sa.Connection, signed: Signed, now: int, skew: int) -> None:
    """Refuse a signature that has come before. To be called once its key is known to be allowed
    something, so that strangers store nothing."""
    spent = hashlib.sha256(signed.key + signed.nonce).digest()[:16]
    expires = max(signed.created, now) + skew + 1
    if not added(connection, nonces, nonce=spent, expires=expires):
        raise Refused(Problem.REPLAYED)


def source_group(address: str, minute: int) -> int:
    """Return which of 65,536 groups an address is in during a minute. What is no address, such as
    the peer of a socket, is in a group as well."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        packed = address.encode()
    else:
        if isinstance(ip, ipaddress.IPv6Address):
            ip = ip.ipv4_mapped or ip
        bits = ip.max_prefixlen if ip.version == 4 else _IPV6_PREFIX
        packed = ipaddress.ip_network((ip, bits), strict=False).network_address.packed
    digest = hashlib.sha256(minute.to_bytes(8, "big") + packed).digest()
    return int.from_bytes(digest[:2], "big")


def count(connection: sa.Connection, what: What, address: str, limit: int, now: int) -> None:
    """Count one `what` of a source, or refuse it beyond `limit` in this minute."""
    minute = now // 60
    row = _insert(connection.dialect.name, tallies).values(
        minute=minute, what=int(what), source=source_group(address, minute), times=1
    )
    row = row.on_conflict_do_update(
        index_elements=[tallies.c.minute, tallies.c.what, tallies.c.source],
        set_={"times": tallies.c.times + 1},
    )
    times = connection.execute(row.returning(tallies.c.times)).scalar_one()
    if times > limit:
        raise Refused(Problem.TOO_MANY, retry_after=60 - now % 60)
