"""What the relay loses costs nothing: every message arrives, once.

Two people write to each other while the relay is wiped, restored, killed, full or restarted; at
the end each has all that the other sent, and nothing twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import random
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from uvicorn.protocols.http import httptools_impl

from host_tests.relay.people import correspondents
from host_tests.relay.postgres import Postgres, missing
from host_tests.relay.running import Process, free_port, served, settings
from hushbear_relay.client import correspondence
from hushbear_relay.client.correspondence import Contact, Correspondence
from hushbear_relay.client.envelope import Kind, seal
from hushbear_relay.client.errors import ClientError, Refused, Unreachable
from hushbear_relay.client.http import Relay
from hushbear_relay.problems import Problem
from hushbear_relay.server import schema, upkeep
from hushbear_relay.server.arrivals import Arrivals
from hushbear_relay.server.database import Database
from hushbear_relay.server.service import Service

SIZE = 20_000


class Conversation:
    """Two people, or more, and what they have sent each other."""

    def __init__(self, people: list[Correspondence]) -> None:
        self.people = people
        self.sent: dict[bytes, tuple[Correspondence, bytes]] = {}  # to whom, what

    def speak(self, times: int = 1) -> None:
        """Everybody sends everybody messages."""
        for person in self.people:
            for contact in person.contacts:
                for _ in range(times):
                    content = os.urandom(random.randrange(1, SIZE))
                    self.sent[person.send(contact, content)] = (
                        self.other(person, contact),
                        content,
                    )

    def other(self, person: Correspondence, contact: Contact) -> Correspondence:
        """Return who a contact is."""
        others = [each for each in self.people if each is not person]
        (whom,) = (each for each in others if contact.id in [c.id for c in each.contacts])
        return whom

    def replace(self, old: Correspondence, new: Correspondence) -> None:
        """Somebody has another mailbox now."""
        self.people[self.people.index(old)] = new
        for message, (whom, content) in self.sent.items():
            if whom is old:
                self.sent[message] = (new, content)

    async def sync(self) -> list[Exception]:
        """Everybody puts and takes in what can be; returns what went wrong."""
        done = await asyncio.gather(
            *(person.sync() for person in self.people), return_exceptions=True
        )
        errors = [each for each in done if isinstance(each, BaseException)]
        assert all(isinstance(error, ClientError) for error in errors), errors
        return [error for error in errors if isinstance(error, Exception)]

    @property
    def going(self) -> int:
        return sum(len(person._ledger.going()) for person in self.people)

    async def finish(self) -> None:
        """Sync until everybody knows that all has arrived, and compare."""
        async with asyncio.timeout(120):
            while self.going:
                if await self.sync():
                    await asyncio.sleep(0.05)
        for person in self.people:
            got = {each.id: each.content for each in person._ledger.waiting()}
            assert got == {
                i: content for i, (whom, content) in self.sent.items() if whom is person
            }

    def check_all_told(self) -> None:
        for person in self.people:
            for message, (whom, _) in self.sent.items():
                if whom is not person and len(self.people) == 2:
                    assert person._ledger.told(message) == [Kind.DELIVERED]


@contextlib.asynccontextmanager
async def conversing(
    urls: list[str], directory: Path
) -> AsyncIterator[tuple[Conversation, list[Relay]]]:
    relays = [Relay(url) for url in urls]
    people = correspondents(relays, directory)
    try:
        yield Conversation(people), relays
    finally:
        for relay in relays:
            await relay.close()
        for person in people:
            person._ledger.close()


def wipe(service: Service) -> None:
    with service.database.writing() as connection:
        for table in reversed(schema.metadata.sorted_tables):
            connection.execute(table.delete())


async def test_a_conversation_of_three_arrives_once(
    running: tuple[str, Service], tmp_path: Path
) -> None:
    async with conversing([running[0]] * 3, tmp_path) as (conversation, _):
        for _ in range(3):
            conversation.speak()
            assert await conversation.sync() == []
        await conversation.finish()
        assert await conversation.sync() == [] == await conversation.sync()
        assert upkeep.stats(running[1].database)["messages"] == 0, "receipts included"


async def test_the_database_is_wiped_in_the_middle_of_a_conversation(
    running: tuple[str, Service], tmp_path: Path
) -> None:
    async with conversing([running[0]] * 2, tmp_path) as (conversation, _):
        for _ in range(6):
            conversation.speak(2)
            await conversation.sync()
            wipe(running[1])
        await conversation.finish()
        conversation.check_all_told()


async def test_the_database_file_is_deleted(tmp_path: Path) -> None:
    given = settings(tmp_path / "relay")
    process = Process(given)
    process.start()
    try:
        async with conversing([process.url] * 2, tmp_path) as (conversation, _):
            for _ in range(2):
                conversation.speak(3)
                await conversation.sync()
                process.kill()
                for file in given.data.glob("relay.sqlite*"):
                    file.unlink()
                process.start()
            await conversation.finish()
    finally:
        process.kill()


async def test_an_old_backup_of_sqlite_is_restored(tmp_path: Path) -> None:
    given, copy = settings(tmp_path / "relay"), tmp_path / "copy"
    async with contextlib.AsyncExitStack() as stack:
        url, service = await stack.enter_async_context(served(given))
        conversation, relays = await stack.enter_async_context(conversing([url] * 2, tmp_path))
        one, other = conversation.people
        conversation.speak()
        await one.sync()
        removed = other.contacts[0]
        upkeep.backup(service.database, copy)
        conversation.speak()
        await conversation.sync()
        await conversation.sync()
        await asyncio.gather(*(relay.close() for relay in relays))
        service.database.close()
        for file in given.data.glob("relay.sqlite*"):
            file.unlink()
        shutil.copy(copy, given.data / "relay.sqlite")
        conversation.speak()
        await conversation.finish()
        assert removed in other.contacts


async def test_an_old_backup_of_postgresql_is_restored(
    postgres: str, postgres_server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{postgres_server.bin}:{os.environ['PATH']}")
    given, copy = settings(tmp_path / "relay", postgres), tmp_path / "copy"
    async with contextlib.AsyncExitStack() as stack:
        url, service = await stack.enter_async_context(served(given))
        conversation, _ = await stack.enter_async_context(conversing([url] * 2, tmp_path))
        conversation.speak()
        await conversation.people[0].sync()
        upkeep.backup(service.database, copy)
        conversation.speak()
        await conversation.sync()
        # The relay goes on meanwhile, and waits for the locks.
        restore = await asyncio.create_subprocess_exec(
            postgres_server.bin / "pg_restore",
            *("--clean", "--single-transaction", "-d", postgres, copy),
        )
        assert await restore.wait() == 0
        conversation.speak()
        await conversation.finish()


async def test_a_member_that_a_backup_brings_back_is_removed_again(
    running: tuple[str, Service], tmp_path: Path
) -> None:
    async with conversing([running[0]] * 3, tmp_path) as (conversation, _):
        one, _, removed = conversation.people
        await conversation.sync()
        before = one.members
        one.contacts = [each for each in one.contacts if each.mailbox != removed.mailbox.name]
        await one.sync()
        await one.mailbox.put(before)  # what restoring does
        await one.sync()
        (state,) = [await one._relay.request(one.mailbox._key, "GET", one.mailbox._path)]
        assert state.json()["members"] == [each.hex() for each in one.members]


def die_at(remaining: Any) -> None:
    """Kill this process, which is a relay, once `remaining` steps have been taken: statements,
    commits, and pieces of answers."""

    def step(*_: Any, **__: Any) -> None:
        if remaining.value > 0:
            remaining.value -= 1
            if remaining.value == 0:
                os.kill(os.getpid(), 9)

    async def sleep(_: Arrivals) -> None:
        await asyncio.sleep(3600)

    setattr(Arrivals, "_watch_sqlite", sleep)  # noqa: B010
    sa.event.listen(sa.Engine, "before_cursor_execute", step)
    sa.event.listen(sa.Engine, "commit", step)
    send = httptools_impl.RequestResponseCycle.send

    async def dying_send(self: Any, message: Any) -> None:
        step()
        await send(self, message)

    setattr(httptools_impl.RequestResponseCycle, "send", dying_send)  # noqa: B010


async def die_at_every_step(
    database: str,
    directory: Path,
    prepare: Callable[[Conversation], Any],
    act: Callable[[Conversation], Any],
    least: int,
    stride: int = 1,
) -> None:
    """Do `act` again and again, with the relay killed `stride` steps later each time."""
    given = settings(directory / "relay", database)
    remaining = multiprocessing.get_context("forkserver").Value("i", 0)
    process = Process(given, die_at)
    process.start(remaining)
    try:
        async with conversing([process.url] * 2, directory) as (conversation, _):
            await conversation.sync()
            for steps in range(1, 300, stride):
                await prepare(conversation)
                remaining.value = steps
                with contextlib.suppress(Unreachable):
                    await act(conversation)
                left, remaining.value = remaining.value, 0
                if process.alive and left > 0:
                    break
                process.kill()
                process.start(remaining)
                await conversation.finish()
            await conversation.finish()
            conversation.check_all_told()
            with contextlib.closing(Database(given.url)) as opened:
                assert upkeep.check(opened, None) == []
            assert steps > least
    finally:
        process.kill()


async def test_the_process_is_killed_at_every_step_of_sending(
    database: str, tmp_path: Path
) -> None:
    async def prepare(conversation: Conversation) -> None:
        one = conversation.people[0]
        content = os.urandom(500)
        message = one.send(one.contacts[0], content)
        conversation.sent[message] = (conversation.people[1], content)

    async def act(conversation: Conversation) -> None:
        await conversation.people[0].sync()

    await die_at_every_step(database, tmp_path, prepare, act, least=15)


async def test_the_process_is_killed_at_every_step_of_receiving(
    database: str, tmp_path: Path, long: bool
) -> None:
    """At every fourth, unless --long is given."""

    async def prepare(conversation: Conversation) -> None:
        one, other = conversation.people
        content = os.urandom(500)
        conversation.sent[one.send(one.contacts[0], content)] = (other, content)
        await one.sync()

    async def act(conversation: Conversation) -> None:
        await conversation.people[1].sync()

    stride = 1 if long else 4
    await die_at_every_step(database, tmp_path, prepare, act, least=25, stride=stride)


async def test_the_process_is_killed_while_a_body_comes(tmp_path: Path) -> None:
    """At every tenth of a body: nothing of it is there later, and it can be put."""
    given = settings(tmp_path / "relay")
    process = Process(given)
    process.start()
    try:
        async with conversing([process.url] * 2, tmp_path) as (conversation, _):
            await conversation.sync()
            one = conversation.people[0]
            letterbox = one._letterbox(one.contacts[0])
            for tenth in range(0, 10, 3):
                body = os.urandom(300_000)

                async def pieces(body: bytes = body, tenth: int = tenth) -> AsyncIterator[bytes]:
                    yield body[: len(body) * tenth // 10]
                    await asyncio.sleep(0.1)
                    process.kill()
                    yield body[len(body) * tenth // 10 :]

                with pytest.raises(Unreachable):
                    await put_pieces(letterbox, body, pieces())
                process.start()
                conversation.speak()
                await conversation.finish()
            with contextlib.closing(Database(given.url)) as opened:
                assert int(upkeep.stats(opened)["message_bytes"]) < 100_000
    finally:
        process.kill()


async def put_pieces(letterbox: Any, body: bytes, pieces: AsyncIterator[bytes]) -> None:
    import aiohttp

    from hushbear_relay import signing

    url = f"{letterbox._relay.url}".rstrip("/") + letterbox._path + os.urandom(16).hex()
    headers = signing.sign(letterbox._key, "PUT", url, body) | {
        "Content-Type": "application/octet-stream",
        "Content-Length": str(len(body)),
    }
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.put(url, data=pieces, headers=headers) as response,
        ):
            await response.read()
    except aiohttp.ClientError as error:
        raise Unreachable(str(error)) from None


async def test_the_disk_is_full(tmp_path: Path) -> None:
    given = settings(tmp_path / "relay")
    process = Process(given)
    process.start()
    try:
        async with conversing([process.url] * 2, tmp_path) as (conversation, _):
            conversation.speak(5)
            await conversation.sync()
            process.limit_files(max(file.stat().st_size for file in given.data.iterdir()))
            conversation.speak(20)
            refused = [error for _ in range(5) for error in await conversation.sync()]
            assert {e.problem for e in refused if isinstance(e, Refused)} == {Problem.STORAGE}
            assert process.alive
            process.limit_files(-1)
            await conversation.finish()
            conversation.check_all_told()
        events = [line for line in process.log_lines() if line["level"] == "error"]
        assert events and {e["event"] for e in events} <= {
            "the database or the store failed",
            "purging failed",
        }
        assert process.stop() == 0
    finally:
        process.kill()


async def test_the_disk_of_postgresql_is_full(tmp_path: Path) -> None:
    if reason := missing():
        pytest.skip(reason)
    server = Postgres(free_port())
    try:
        server.start()
        with server.small_disk(24 << 20) as place:
            if place is None:
                pytest.skip("nobody may mount a small disk here")
            given = settings(tmp_path / "relay", server.database(place))
            async with served(given) as (url, _), conversing([url] * 2, tmp_path) as (talk, _):
                talk.speak(2)
                await talk.sync()
                ballast = place / "ballast"
                ballast.write_bytes(bytes(shutil.disk_usage(place).free))
                talk.speak(20)
                refused = [error for _ in range(5) for error in await talk.sync()]
                assert {e.problem for e in refused if isinstance(e, Refused)} == {Problem.STORAGE}
                ballast.unlink()
                await talk.finish()
                talk.check_all_told()
    finally:
        server.close()


async def test_postgresql_is_restarted(tmp_path: Path) -> None:
    if reason := missing():
        pytest.skip(reason)
    server = Postgres(free_port())
    try:
        server.start()
        given = settings(tmp_path / "relay", server.database())
        async with served(given) as (url, _), conversing([url] * 2, tmp_path) as (talk, _):
            poll = asyncio.create_task(talk.people[0].sync())
            for mode in ("immediate", "fast", "immediate"):
                talk.speak(5)
                syncing = asyncio.create_task(talk.sync())
                await asyncio.sleep(0.05)
                await asyncio.to_thread(server.stop, mode)
                await syncing
                talk.speak()
                errors = await talk.sync()
                assert {e.problem for e in errors if isinstance(e, Refused)} <= {Problem.STORAGE}
                assert errors
                await asyncio.to_thread(server.start)
            await asyncio.gather(poll, return_exceptions=True)
            await talk.finish()
            # Polls are woken again, too, by what comes through another relay.
            async with served(given) as (second, _), Relay(second) as relay:
                one, other = talk.people
                assert await talk.sync() == [] == await talk.sync()
                await asyncio.sleep(2.5)  # until all listen again
                waiting = asyncio.create_task(one.wait(60))
                await asyncio.sleep(0.5)
                other._relay = relay
                content = b"awake"
                talk.sent[other.send(other.contacts[0], content)] = (one, content)
                await other.sync()
                await asyncio.wait_for(waiting, 30)
                assert (await one.sync()).arrived == 1
                await talk.finish()
    finally:
        server.close()


async def test_two_relays_on_one_database_of_which_one_or_the_other_is_killed(
    database: str, tmp_path: Path
) -> None:
    given = settings(tmp_path / "relay", database)
    processes = [Process(given) for _ in range(2)]
    for process in processes:
        process.start()
    try:
        urls = [process.url for process in processes]
        async with conversing(urls, tmp_path) as (conversation, relays):
            for turn in range(6):
                conversation.speak(3)
                syncing = asyncio.create_task(conversation.sync())
                await asyncio.sleep(0.02 * turn)
                victim = processes[turn % 2]
                victim.kill()
                await syncing
                for person in conversation.people:  # who cannot reach one asks the other
                    person._relay = person.mailbox._relay = relays[1 - turn % 2]
                await conversation.sync()
                victim.start()
            await conversation.finish()
            conversation.check_all_told()
            with contextlib.closing(Database(given.url)) as opened:
                assert upkeep.check(opened, None) == []
    finally:
        for process in processes:
            process.kill()


async def test_a_mailbox_that_is_full_for_a_while_gets_all_later(
    database: str, tmp_path: Path
) -> None:
    given = settings(tmp_path / "relay", database, member_messages=3)
    async with served(given) as (url, _), conversing([url] * 2, tmp_path) as (talk, _):
        one, other = talk.people
        await talk.sync()
        for _ in range(10):
            content = os.urandom(100)
            talk.sent[one.send(one.contacts[0], content)] = (other, content)
        moved = await one.sync()
        assert (moved.put, moved.stuck) == (3, 7)
        await talk.finish()


async def test_an_envelope_that_is_too_large_keeps_no_other(
    running: tuple[str, Service], tmp_path: Path
) -> None:
    async with conversing([running[0]] * 2, tmp_path) as (talk, _):
        one, other = talk.people
        await talk.sync()
        large, good = one.send(one.contacts[0], bytes(600_000)), os.urandom(10)
        talk.sent[one.send(one.contacts[0], good)] = (other, good)
        moved = await one.sync()
        assert (moved.put, moved.stuck) == (1, 1)
        assert (await other.sync()).arrived == 1
        await one.sync()
        assert [each.id for each in one._ledger.going()] == [large]


async def test_what_has_arrived_is_put_once_also_after_a_restart(
    running: tuple[str, Service], tmp_path: Path
) -> None:
    async with conversing([running[0]] * 2, tmp_path) as (talk, relays):
        one, other = talk.people
        await talk.sync()
        content = os.urandom(10)
        talk.sent[one.send(one.contacts[0], content)] = (other, content)
        assert (await one.put()).put == 1
        await other.sync()
        again = Correspondence(relays[0], one.mailbox._key, one._ledger, one.contacts, 0)
        moved = await again.sync()
        assert (moved.confirmed, moved.put) == (1, 0)


async def test_the_relay_is_not_asked_for_an_envelope_all_the_time(
    running: tuple[str, Service], tmp_path: Path
) -> None:
    async with conversing([running[0]] * 2, tmp_path) as (talk, _):
        one, other = talk.people
        one._look_seconds = 1e6
        await talk.sync()
        content = os.urandom(10)
        talk.sent[one.send(one.contacts[0], content)] = (other, content)
        assert (await one.sync()).put == 1
        wipe(running[1])
        await other.sync()
        assert (await one.sync()).put == 0
        one._look_seconds = 0
        await talk.finish()


def spoiling(message: bytes) -> Callable[..., bytes]:
    """Seal as always, but for one message what does not open."""

    def sealing(
        secret: bytes, mailbox: bytes, envelope: bytes, kind: Kind, content: bytes
    ) -> bytes:
        body = seal(secret, mailbox, envelope, kind, content)
        return os.urandom(len(body)) if envelope == message else body

    return sealing


async def test_an_envelope_that_does_not_open_is_told_and_given_up_in_the_end(
    running: tuple[str, Service], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with conversing([running[0]] * 2, tmp_path) as (talk, _):
        one, other = talk.people
        await talk.sync()
        good = os.urandom(100)
        message = os.urandom(16)
        one._ledger.keep(message, one.contacts[0].id, b"broken")
        monkeypatch.setattr(correspondence, "seal", spoiling(message))
        talk.sent[one.send(one.contacts[0], good)] = (other, good)
        broken = 0
        async with asyncio.timeout(60):
            while one._ledger.going():
                await one.sync()
                broken += (await other.sync()).broken
        assert broken in (3, 4)  # the last one may be on its way when the third is told
        assert one._ledger.told(message) == [Kind.BROKEN]
        await talk.finish()


async def test_a_mailbox_may_change_while_messages_are_on_their_way(
    running: tuple[str, Service], tmp_path: Path
) -> None:
    async with conversing([running[0]] * 3, tmp_path) as (talk, relays):
        for _ in range(3):
            talk.speak()
            await talk.sync()
            mover, *others = talk.people
            old = mover.mailbox
            key = Ed25519PrivateKey.generate()
            moved = Correspondence(relays[0], key, mover._ledger, mover.contacts, look_seconds=0)
            await old.delete()
            talk.replace(mover, moved)
            talk.speak()
            await talk.sync()  # the others still write to where nothing is
            for other in others:
                other.contacts[:] = [
                    Contact(moved.mailbox.name, each.secret)
                    if each.mailbox == old.name else each
                    for each in other.contacts
                ]  # fmt: skip
        await talk.finish()


async def test_what_was_not_fetched_can_be_taken_back(
    running: tuple[str, Service], tmp_path: Path
) -> None:
    async with conversing([running[0]] * 2, tmp_path) as (talk, _):
        one, other = talk.people
        await talk.sync()
        for _ in range(3):
            one.send(one.contacts[0], os.urandom(100))
        assert (await one.put()).put == 3
        await one.withdraw(one.contacts[0])
        assert one._ledger.going() == []
        assert (await other.sync()).arrived == 0
        await one.withdraw(one.contacts[0])
