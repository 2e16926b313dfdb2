"""SQLite or PostgreSQL: the engine, transactions, the schema's version, and who else gets in.

Work is done in threads, a whole transaction in one hop. SQLite has one writer at a time: threads
of one process queue for it here, processes wait for each other in SQLite.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import alembic.command
import alembic.config
import alembic.migration
import alembic.script
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL

from .errors import NoDatabase, OpenDatabase, RelayError
from .settings import Settings, check_private

BUSY_SECONDS = 20  # that a SQLite writer waits for those of other processes
_MIGRATION_LOCK = 0x48757368  # an advisory lock of PostgreSQL: one process migrates
_CONNECT_SECONDS = 5


class Database:
    """One database. Transactions: `with database.writing() as connection: …`."""

    def __init__(self, url: str, threads: int = 16) -> None:
        try:
            self.url = sa.make_url(url)
        except sa.exc.ArgumentError:
            raise RelayError(
                "The database's URL is none.", "It looks like postgresql://user@host/name."
            ) from None
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        if self.is_sqlite:
            self.engine = _sqlite(self.url, threads)
        elif self.url.get_backend_name() == "postgresql":
            self.url = self.url.set(drivername="postgresql+psycopg")
            self.engine = _postgresql(self.url, threads)
        else:
            raise RelayError(
                f"{self.url.get_backend_name()} is no database that the relay knows.",
                "Use postgresql://…, or none at all for SQLite.",
            )
        self._turn = threading.Lock() if self.is_sqlite else contextlib.nullcontext()

    @property
    def file(self) -> Path:
        """Where a SQLite database is."""
        return Path(self.url.database or "")

    @contextlib.contextmanager
    def writing(self, lazily: bool = False) -> Iterator[sa.Connection]:
        """A transaction that is committed at the end, or rolled back by an exception.

        `lazily`: what it writes may be lost if the database's computer loses power (nonces).
        """
        with self._turn, self.engine.connect() as connection:
            connection = connection.execution_options(hushbear_write=True)
            with connection.begin():
                if lazily and not self.is_sqlite:
                    connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
                yield connection

    @contextlib.contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A transaction that changes nothing."""
        with self.engine.connect() as connection, connection.begin():
            yield connection

    def close(self) -> None:
        self.engine.dispose()

    # Safety

    def check_closed(self) -> None:
        """Raise OpenDatabase or UnsafeFile if others get in, or can listen on the way to it."""
        if self.is_sqlite:
            for suffix in ("", "-wal", "-shm"):
                check_private(Path(f"{self.file}{suffix}"))
            return
        host = str(self.url.query.get("host") or self.url.host or "")
        if not host or host.startswith("/"):
            return  # a socket: the system says who may connect
        if not _is_loopback(host) and self.url.query.get("sslmode") != "verify-full":
            raise OpenDatabase(
                f"The way to the database at {host} can be listened on, or led elsewhere.",
                "Add ?sslmode=verify-full&sslrootcert=system (or a file) to its URL, "
                "or use a socket.",
            )
        if "sslcert" not in self.url.query and self._lets_in_without_password():
            raise OpenDatabase(
                f"The database at {host} lets anybody in without a password.",
                "Set scram-sha-256 in its pg_hba.conf.",
            )

    def _lets_in_without_password(self) -> bool:
        import psycopg

        bare = self.url._replace(drivername="postgresql", password=None).update_query_dict(
            {
                "password": "",  # so that none comes from the environment, either
                "passfile": os.path.join(os.devnull, "none"),
                "connect_timeout": str(_CONNECT_SECONDS),
            }
        )
        try:
            with psycopg.connect(bare.render_as_string()):
                return True
        except psycopg.Error:
            return False

    # Schema

    def prepare(self) -> None:
        """Make the database, or bring it to the schema of this version. Several processes may do
        so at the same time."""
        if self.is_sqlite:
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self.file.exists():
                os.close(os.open(self.file, os.O_CREAT | os.O_RDWR, 0o600))
        self.check_closed()
        try:
            with self.writing() as connection:
                if not self.is_sqlite:
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
                if self._version(connection) != _head():
                    self._check_known(connection)
                    config = _alembic()
                    config.attributes["connection"] = connection
                    alembic.command.upgrade(config, "head")
        except sa.exc.SQLAlchemyError as error:
            raise NoDatabase(f"The database cannot be used: {plain(error)}.") from None

    def check_version(self) -> None:
        """Raise NoDatabase unless the database is there and has the schema of this version."""
        if self.is_sqlite and not self.file.exists():
            raise NoDatabase(f"There is no {self.file}.", "`hushbear-relay serve` makes it.")
        try:
            with self.reading() as connection:
                version = self._version(connection)
        except sa.exc.SQLAlchemyError as error:
            raise NoDatabase(f"The database cannot be used: {plain(error)}.") from None
        if version != _head():
            raise NoDatabase(
                f"The database has schema {version or 'none'}; this version needs {_head()}.",
                "`hushbear-relay serve` migrates it.",
            )

    def _version(self, connection: sa.Connection) -> str | None:
        return alembic.migration.MigrationContext.configure(connection).get_current_revision()

    def _check_known(self, connection: sa.Connection) -> None:
        version = self._version(connection)
        known = {script.revision for script in _scripts().walk_revisions()}
        if version is not None and version not in known:
            raise NoDatabase(
                f"The database has schema {version}, made by a newer version.",
                "Update this relay.",
            )


def plain(error: BaseException) -> str:
    """Return what a database error says, in one line and without the statement's values."""
    cause = getattr(error, "orig", None) or error
    lines = str(cause).strip().splitlines() or [type(cause).__name__]
    return lines[0].rstrip(".")


def _sqlite(url: URL, threads: int) -> sa.Engine:
    engine = sa.create_engine(
        url,
        pool_size=threads,
        max_overflow=4,
        hide_parameters=True,
        connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def connect(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None  # transactions are begun below
        for pragma in (
            "journal_mode = WAL",
            # A power cut may lose the last messages, which their senders still have.
            "synchronous = NORMAL",
            "foreign_keys = ON",
            "secure_delete = FAST",
            "journal_size_limit = 67108864",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        write = connection.get_execution_options().get("hushbear_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _postgresql(url: URL, threads: int) -> sa.Engine:
    return sa.create_engine(
        url,
        pool_size=threads,
        max_overflow=4,
        hide_parameters=True,
        pool_pre_ping=True,  # a database that was restarted is found again
        connect_args={"connect_timeout": _CONNECT_SECONDS, "application_name": "hushbear-relay"},
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _alembic() -> alembic.config.Config:
    config = alembic.config.Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


def _scripts() -> alembic.script.ScriptDirectory:
    return alembic.script.ScriptDirectory.from_config(_alembic())


def _head() -> str:
    head = _scripts().get_current_head()
    assert head is not None
    return head


def open_database(settings: Settings) -> Database:
    """Return the database that the settings name."""
    return Database(settings.url, settings.threads)
