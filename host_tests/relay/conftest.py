"""What the relay's tests share: databases, a relay, and people with mailboxes on it."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog

from host_tests.relay.people import Person
from host_tests.relay.postgres import Postgres, missing
from host_tests.relay.running import free_port, served, settings
from hushbear_relay.client.http import Relay
from hushbear_relay.server.service import Service


@pytest.fixture(autouse=True, scope="session")
def quiet() -> None:
    """Relays in the tests' own process log nothing; those in processes log as they always do."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of this computer's is taken."""
    for name in list(os.environ):
        if name.startswith(("HUSHBEAR_RELAY_", "PG", "AWS_")) or name == "STATE_DIRECTORY":
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A PostgreSQL server that runs."""
    if reason := missing():
        pytest.skip(reason)
    server = Postgres(free_port())
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def postgres(postgres_server: Postgres) -> str:
    """The URL of a new database on it."""
    return postgres_server.database()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    """The URL of a new database: of SQLite, and of PostgreSQL."""
    if request.param == "sqlite":
        return ""
    return str(request.getfixturevalue("postgres"))


@pytest.fixture
async def running(database: str, tmp_path: Path) -> AsyncIterator[tuple[str, Service]]:
    """A relay on that database: its URL, and what its requests share."""
    async with served(settings(tmp_path / "relay", database)) as (url, service):
        yield url, service


@pytest.fixture
async def relay(running: tuple[str, Service]) -> AsyncIterator[Relay]:
    """A client of that relay."""
    async with Relay(running[0]) as client:
        yield client


@pytest.fixture
async def owner(relay: Relay) -> Person:
    """Somebody whose mailbox has one member, `member`."""
    return Person(relay)


@pytest.fixture
async def member(owner: Person, relay: Relay) -> Person:
    """Who may write to the owner."""
    person = Person(relay)
    await owner.mailbox.put([person.member_at(owner)])
    return person
