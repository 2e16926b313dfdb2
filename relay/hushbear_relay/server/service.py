"""What all requests of a process share, made once: no request leaves anything behind in it that
another process, or the next one, would need."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import sqlalchemy as sa

from ..problems import Problem
from .arrivals import Arrivals
from .bodies import StoreFailed, open_store
from .database import Database, open_database
from .errors import Refused, RelayError
from .metrics import Metrics
from .settings import Settings

T = TypeVar("T")


class Service:
    """The database, the store of bodies, and who waits."""

    def __init__(self, settings: Settings, database: Database | None = None) -> None:
        self.settings = settings
        self.database = database or open_database(settings)
        self.store = open_store(settings)
        self.metrics = Metrics()
        self.executor = ThreadPoolExecutor(settings.threads, "database")
        self.arrivals = Arrivals(self.database, self.executor)
        self.uploads = asyncio.Semaphore(settings.uploads)

    def now(self) -> int:
        """The relay's time in Unix seconds."""
        return int(time.time())

    async def run(self, work: Callable[[], T]) -> T:
        """Run what blocks in a thread. A database or store that fails is a problem STORAGE."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self.executor, work)
        except (sa.exc.SQLAlchemyError, StoreFailed) as error:
            raise Refused(Problem.STORAGE, retry_after=5) from error

    async def write(self, work: Callable[[sa.Connection], T], lazily: bool = False) -> T:
        """Run a transaction that changes something."""

        def transaction() -> T:
            with self.database.writing(lazily) as connection:
                return work(connection)

        return await self.run(transaction)

    async def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Run a transaction that changes nothing."""

        def transaction() -> T:
            with self.database.reading() as connection:
                return work(connection)

        return await self.run(transaction)

    async def ready(self) -> str | None:
        """Return why requests should go elsewhere, or None."""
        if self.arrivals.stopping:
            return "stopping"
        try:
            await self.run(self.database.check_version)
        except (Refused, RelayError):
            return "the database cannot be used"
        return None

    async def close(self) -> None:
        """Let go of everything."""
        await self.arrivals.close()
        self.executor.shutdown()
        self.database.close()
