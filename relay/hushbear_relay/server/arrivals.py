"""Long polls: who waits for which mailbox, and who is told that something came.

A waiter holds no thread and no connection to the database. What arrives through this process wakes
its waiters directly. What arrives through another one is told by PostgreSQL's NOTIFY, sent after
the commit and for many at once, so that no commit waits for another; with SQLite by looking at the
newest messages four times a second while somebody waits. Should word be lost, with a process or a
connection, the poll ends at its time and the next one finds what is there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import Executor

import psycopg
import sqlalchemy as sa
import structlog

from .database import Database
from .schema import messages

_CHANNEL = "hushbear_relay"
_TOPICS_PER_NOTIFY = 100  # of 64 digits, in the 8000 bytes of a NOTIFY
_SQLITE_SECONDS = 0.25
_RETRY_SECONDS = 1.0

_log = structlog.get_logger()

Waiter = asyncio.Future[None]


class Arrivals:
    """Waiters by topic: a mailbox, or a rendezvous. To be used from one event loop."""

    def __init__(self, database: Database, executor: Executor) -> None:
        self._database = database
        self._executor = executor
        self._waiters: defaultdict[bytes, set[Waiter]] = defaultdict(set)
        self._untold: set[bytes] = set()
        self._told = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.stopping = False

    def __len__(self) -> int:
        return sum(len(waiters) for waiters in self._waiters.values())

    def start(self) -> None:
        """Begin to listen to other processes."""
        if self._database.is_sqlite:
            self._tasks = [asyncio.create_task(self._watch_sqlite())]
        else:
            self._tasks = [
                asyncio.create_task(self._repeat(self._listen)),
                asyncio.create_task(self._repeat(self._notify)),
            ]

    def stop(self) -> None:
        """Wake everybody, now and from now on: the process is ending."""
        self.stopping = True
        self._wake_all()

    async def close(self) -> None:
        """End listening."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @contextlib.contextmanager
    def waiting(self, topic: bytes) -> Iterator[Waiter]:
        """A future that is done once something has arrived for `topic`; to be made before looking
        whether something is there."""
        waiter: Waiter = asyncio.get_running_loop().create_future()
        if self.stopping:
            waiter.set_result(None)
        self._waiters[topic].add(waiter)
        try:
            yield waiter
        finally:
            self._waiters[topic].discard(waiter)
            if not self._waiters[topic]:
                del self._waiters[topic]
            waiter.cancel()

    def arrived(self, topic: bytes) -> None:
        """Tell those who wait for `topic`, here and in other processes."""
        self._wake(topic)
        if not self._database.is_sqlite:
            self._untold.add(topic)
            self._told.set()

    def _wake(self, topic: bytes) -> None:
        for waiter in self._waiters.get(topic, ()):
            if not waiter.done():
                waiter.set_result(None)

    def _wake_all(self) -> None:
        for topic in list(self._waiters):
            self._wake(topic)

    async def _repeat(self, work: object) -> None:
        assert callable(work)
        while True:
            try:
                await work()
            except psycopg.Error as error:
                _log.warning("listening to the database broke off", error=type(error).__name__)
            await asyncio.sleep(_RETRY_SECONDS)
            self._wake_all()  # what was told meanwhile was missed

    async def _connect(self) -> psycopg.AsyncConnection[tuple[object, ...]]:
        url = self._database.url.set(drivername="postgresql")
        return await psycopg.AsyncConnection.connect(
            url.render_as_string(hide_password=False), autocommit=True, connect_timeout=5
        )

    async def _listen(self) -> None:
        async with await self._connect() as connection:
            await connection.execute(f"LISTEN {_CHANNEL}")
            self._wake_all()
            async for notification in connection.notifies():
                for text in notification.payload.split():
                    self._wake(bytes.fromhex(text))

    async def _notify(self) -> None:
        async with await self._connect() as connection:
            while True:
                await self._told.wait()
                self._told.clear()
                topics = [topic.hex() for topic in self._untold]
                self._untold.clear()
                for at in range(0, len(topics), _TOPICS_PER_NOTIFY):
                    text = " ".join(topics[at : at + _TOPICS_PER_NOTIFY])
                    await connection.execute("SELECT pg_notify(%s, %s)", (_CHANNEL, text))

    async def _watch_sqlite(self) -> None:
        loop = asyncio.get_running_loop()
        last = None
        while True:
            with contextlib.suppress(sa.exc.SQLAlchemyError):
                last, topics = await loop.run_in_executor(self._executor, self._newer, last)
                for topic in topics:
                    self._wake(topic)
            await asyncio.sleep(_SQLITE_SECONDS)

    def _newer(self, last: int | None) -> tuple[int, list[bytes]]:
        """Return the newest message's number, and the mailboxes of those above `last`."""
        with self._database.reading() as connection:
            newest = connection.execute(sa.select(sa.func.max(messages.c.number))).scalar() or 0
            if last is None or newest <= last:
                return newest, []
            rows = connection.execute(
                sa.select(messages.c.mailbox).where(messages.c.number > last).distinct()
            )
            return newest, list(rows.scalars())
