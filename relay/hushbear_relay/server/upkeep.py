"""What an operator does now and then: purge what is over, back up, look at figures, check."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from . import bodies, mailboxes
from .database import Database, plain
from .errors import NoDatabase, RelayError
from .schema import (
    loose,
    members,
    messages,
    metadata,
    nonces,
    rendezvous,
    tallies,
)
from .schema import mailboxes as mailbox_table
from .settings import Settings

_BATCH = 500  # of one transaction
_TALLIES_MINUTES = 2


@dataclasses.dataclass
class Purged:
    """How many of each were deleted."""

    messages: int = 0
    mailboxes: int = 0
    objects: int = 0
    nonces: int = 0
    rendezvous: int = 0
    tallies: int = 0


def purge(
    database: Database, store: bodies.S3 | None, settings: Settings, now: int | None = None
) -> Purged:
    """Delete what is over, in small transactions, beside running relays."""
    now = int(time.time()) if now is None else now
    done = Purged()
    while True:
        with database.reading() as connection:
            found = mailboxes.expired(connection, now, _BATCH)
        for mailbox in found:
            with database.writing() as connection:
                done.messages += mailboxes.expire(connection, mailbox, now)
        if not found:
            break
    before = now // 86400 - settings.mailbox_days
    while True:
        with database.reading() as connection:
            found = mailboxes.forsaken(connection, before, _BATCH)
        for mailbox in found:
            with database.writing() as connection:
                mailboxes.drop(connection, mailbox)
        done.mailboxes += len(found)
        if not found:
            break
    done.nonces = _delete(database, nonces, nonces.c.nonce, nonces.c.expires < now)
    done.rendezvous = _delete(
        database, rendezvous, rendezvous.c.number, rendezvous.c.expires <= now
    )
    with database.writing() as connection:
        old = tallies.delete().where(tallies.c.minute < now // 60 - _TALLIES_MINUTES)
        done.tallies = connection.execute(old).rowcount
    while store and (count := bodies.clear(database, store)):
        done.objects += count
    return done


def _delete(
    database: Database, table: sa.Table, key: sa.Column[Any], condition: sa.ColumnElement[bool]
) -> int:
    """Delete rows a batch at a time, leaving those that another process deletes."""
    count = 0
    while True:
        with database.writing() as connection:
            rows = sa.select(key).where(condition).limit(10 * _BATCH)
            keys = list(connection.execute(rows.with_for_update(skip_locked=True)).scalars())
            if not keys:
                return count
            count += connection.execute(table.delete().where(key.in_(keys))).rowcount


def stats(database: Database) -> dict[str, int | str]:
    """Return figures of the whole database: counts, bytes, and ages in seconds."""
    with database.reading() as connection:

        def one(what: Any) -> int:
            return int(connection.execute(sa.select(what)).scalar() or 0)

        oldest = one(sa.func.min(messages.c.received))
        figures: dict[str, int | str] = {
            "database": "sqlite" if database.is_sqlite else "postgresql",
            "mailboxes": one(sa.func.count(mailbox_table.c.id)),
            "members": one(sa.func.count(members.c.id)),
            "messages": one(sa.func.sum(mailbox_table.c.messages)),
            "message_bytes": one(sa.func.sum(mailbox_table.c.bytes)),
            "fullest_mailbox": one(sa.func.max(mailbox_table.c.messages)),
            "oldest_message": int(time.time()) - oldest if oldest else 0,
            "rendezvous": one(sa.func.count(rendezvous.c.number)),
            "nonces": one(sa.func.count(nonces.c.nonce)),
            "loose_objects": one(sa.func.count(loose.c.object)),
            "database_bytes": _size(connection, database),
        }
    return figures


def _size(connection: sa.Connection, database: Database) -> int:
    if database.is_sqlite:
        paths = (Path(f"{database.file}{suffix}") for suffix in ("", "-wal"))
        return sum(path.stat().st_size for path in paths if path.exists())
    size = sa.select(sa.func.pg_database_size(sa.func.current_database()))
    return int(connection.execute(size).scalar_one())


def check(database: Database, store: bodies.S3 | None) -> list[str]:
    """Return what is wrong with the data, in words; raises RelayError if it cannot be reached.

    Counters are compared with what they count, and every table with the schema.
    """
    database.check_closed()
    database.check_version()
    if store:
        store.check()
    wrong = []
    with database.reading() as connection:
        there = set(sa.inspect(connection).get_table_names())
        wrong += [f"there is no table {name}" for name in sorted(set(metadata.tables) - there)]
        counted = (
            sa.select(
                messages.c.mailbox,
                sa.func.count().label("messages"),
                sa.func.sum(messages.c.size).label("bytes"),
            )
            .group_by(messages.c.mailbox)
            .subquery()
        )
        differing = (
            sa.select(sa.func.count())
            .select_from(mailbox_table)
            .outerjoin(counted, counted.c.mailbox == mailbox_table.c.id)
            .where(
                sa.or_(
                    mailbox_table.c.messages != sa.func.coalesce(counted.c.messages, 0),
                    mailbox_table.c.bytes != sa.func.coalesce(counted.c.bytes, 0),
                )
            )
        )
        if count := connection.execute(differing).scalar_one():
            wrong.append(f"{count} mailboxes do not count what is in them")
        if database.is_sqlite:
            said = connection.exec_driver_sql("PRAGMA quick_check").scalar_one()
            if said != "ok":
                wrong.append(f"SQLite says: {said}")
    return wrong


def backup(database: Database, target: Path) -> None:
    """Write a copy of the database, as of now, to a new file that only its owner can read.

    Of SQLite, the file itself; of PostgreSQL, what pg_restore reads. Relays may go on meanwhile.
    Bodies in S3 are not in it.
    """
    if target.exists():
        raise RelayError(f"{target} is there already.", "Choose another name.")
    part = target.with_name(f".{target.name}.part")
    try:
        os.close(os.open(part, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600))
        if database.is_sqlite:
            _backup_sqlite(database.file, part)
        else:
            _backup_postgresql(database, part)
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.rename(target)
    except OSError as error:
        raise RelayError(f"{target} cannot be written: {error.strerror}.") from None
    finally:
        part.unlink(missing_ok=True)


def _backup_sqlite(source: Path, part: Path) -> None:
    if not source.exists():
        raise NoDatabase(f"There is no {source}.")
    try:
        with sqlite3.connect(source) as live, sqlite3.connect(part) as copy:
            live.backup(copy, pages=1000)
        live.close()
        copy.close()
    except sqlite3.Error as error:
        raise RelayError(f"The database cannot be copied: {plain(error)}.") from None


def _backup_postgresql(database: Database, part: Path) -> None:
    program = shutil.which("pg_dump")
    if not program:
        raise RelayError("pg_dump is not installed.", "It comes with PostgreSQL's client.")
    url = database.url._replace(drivername="postgresql", password=None)
    password = database.url.password
    environment = os.environ | ({"PGPASSWORD": str(password)} if password else {})
    done = subprocess.run(
        [program, "--format=custom", f"--file={part}", "--dbname", url.render_as_string()],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["pg_dump failed"])[-1]
        raise RelayError(f"The database cannot be copied: {said}")
