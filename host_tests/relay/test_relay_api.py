"""The relay's API, on SQLite and on PostgreSQL, through the client."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from host_tests.relay.people import Person
from host_tests.relay.running import served, settings
from hushbear_relay import names, signing
from hushbear_relay.client.errors import Full, NotFound, Over, Refused
from hushbear_relay.client.http import JSON, Relay
from hushbear_relay.client.mailbox import Letterbox, Mailbox
from hushbear_relay.client.rendezvous import Rendezvous
from hushbear_relay.problems import Problem
from hushbear_relay.server import guard, schema, upkeep
from hushbear_relay.server.service import Service

Running = tuple[str, Service]


def new_id() -> bytes:
    return os.urandom(16)


def rows(service: Service, table: sa.Table) -> list[Any]:
    with service.database.reading() as connection:
        return list(connection.execute(sa.select(table)))


async def test_a_message_waits_until_it_is_fetched_and_deleted(
    owner: Person, member: Person
) -> None:
    message, body = new_id(), os.urandom(80_000)
    assert await member.at(owner).put(message, body)
    (listed,) = (await owner.mailbox.list()).messages
    assert (listed.id, listed.size, listed.member) == (message, 80_000, member.member_at(owner))
    assert listed.expires - listed.received == 30 * 86400
    assert await owner.mailbox.get(message) == body
    assert await owner.mailbox.get(message) == body
    await owner.mailbox.remove(message)
    assert (await owner.mailbox.list()).messages == []
    with pytest.raises(NotFound):
        await owner.mailbox.get(message)
    await owner.mailbox.remove(message)


async def test_a_message_put_again_is_stored_once(
    owner: Person, member: Person, running: Running
) -> None:
    message, body = new_id(), os.urandom(5000)
    first = [await member.at(owner).put(message, body) for _ in range(3)]
    assert first == [True, False, False]
    others = new_id()
    at_once = await asyncio.gather(*(member.at(owner).put(others, body) for _ in range(8)))
    assert sorted(at_once) == [False] * 7 + [True]
    assert len((await owner.mailbox.list()).messages) == 2
    (row,) = rows(running[1], schema.mailboxes)
    assert (row.messages, row.bytes) == (2, 10_000)


async def test_an_id_has_one_body_and_one_writer(
    owner: Person, member: Person, relay: Relay
) -> None:
    message, other = new_id(), Person(relay)
    await owner.mailbox.put([member.member_at(owner), other.member_at(owner)])
    await member.at(owner).put(message, b"one")
    for person, body in ((member, b"two"), (other, b"one")):
        with pytest.raises(Refused) as refusal:
            await person.at(owner).put(message, body)
        assert refusal.value.problem is Problem.ANOTHER_BODY
    assert await owner.mailbox.get(message) == b"one"


async def test_messages_are_listed_in_the_order_in_which_they_came(
    owner: Person, member: Person
) -> None:
    ids = [new_id() for _ in range(25)]
    for message in ids:
        await member.at(owner).put(message, b"x")
    found: list[bytes] = []
    after, pages = 0, 0
    while True:
        page = await owner.mailbox.list(after=after, limit=10)
        found += [each.id for each in page.messages]
        pages += 1
        if not page.more:
            break
        after = page.messages[-1].position
    assert found == ids and pages == 3


async def test_a_long_poll_ends_when_a_message_comes(owner: Person, member: Person) -> None:
    poll = asyncio.create_task(owner.mailbox.list(wait=60))
    await asyncio.sleep(0.3)
    assert not poll.done()
    message = new_id()
    await member.at(owner).put(message, b"now")
    (listed,) = (await asyncio.wait_for(poll, 30)).messages
    assert listed.id == message
    nothing_newer = await owner.mailbox.list(after=listed.position, wait=1)
    assert nothing_newer.messages == []


async def test_what_was_there_before_a_long_poll_ends_it_at_once(
    owner: Person, member: Person
) -> None:
    await member.at(owner).put(new_id(), b"before")
    listing = await asyncio.wait_for(owner.mailbox.list(wait=60), 30)
    assert len(listing.messages) == 1


async def test_only_members_write_and_only_the_owner_reads(
    owner: Person, member: Person, relay: Relay
) -> None:
    message = new_id()
    await member.at(owner).put(message, b"x")
    stranger = Person(relay)
    with pytest.raises(NotFound):
        await stranger.at(owner).put(new_id(), b"x")
    with pytest.raises(NotFound):
        await stranger.at(owner).withdraw(message)
    assert not await stranger.at(owner).has(message)
    path = f"/v1/mailboxes/{owner.mailbox.name.hex()}"
    writer = member.at(owner)._key
    for method, where in (("GET", "/messages"), ("GET", f"/messages/{message.hex()}"),
                          ("GET", ""), ("DELETE", "")):  # fmt: skip
        for key in (stranger.key, writer):
            with pytest.raises(NotFound):
                await relay.request(key, method, path + where)
    body = b'{"members":[]}'
    with pytest.raises(NotFound):
        await relay.request(writer, "PUT", path, None, body, JSON)
    assert await owner.mailbox.get(message) == b"x"


async def test_a_member_sees_and_withdraws_its_own_messages_only(
    owner: Person, member: Person, relay: Relay
) -> None:
    other = Person(relay)
    await owner.mailbox.put([member.member_at(owner), other.member_at(owner)])
    mine, theirs = new_id(), new_id()
    await member.at(owner).put(mine, b"mine")
    await other.at(owner).put(theirs, b"theirs")
    assert await member.at(owner).has(mine)
    assert not await member.at(owner).has(theirs)
    await member.at(owner).withdraw(theirs)
    await member.at(owner).withdraw(mine)
    assert [each.id for each in (await owner.mailbox.list()).messages] == [theirs]


async def test_a_removed_member_is_out_at_once_with_what_it_left(
    owner: Person, member: Person, relay: Relay, running: Running
) -> None:
    other = Person(relay)
    await owner.mailbox.put([member.member_at(owner), other.member_at(owner)])
    kept = new_id()
    await other.at(owner).put(kept, b"kept")
    await member.at(owner).put(new_id(), b"left")
    assert not await owner.mailbox.put([other.member_at(owner)])
    with pytest.raises(NotFound):
        await member.at(owner).put(new_id(), b"x")
    assert [each.id for each in (await owner.mailbox.list()).messages] == [kept]
    (row,) = rows(running[1], schema.mailboxes)
    assert (row.messages, row.bytes) == (1, 4)


async def test_nothing_of_a_member_is_stored_after_its_removal_was_answered(
    owner: Person, member: Person
) -> None:
    async def flood() -> None:
        while True:
            await member.at(owner).put(new_id(), os.urandom(1000))

    floods = [asyncio.create_task(flood()) for _ in range(4)]
    await asyncio.sleep(0.3)
    await owner.mailbox.put([])
    assert (await owner.mailbox.list()).messages == []
    ended = await asyncio.gather(*floods, return_exceptions=True)
    assert all(isinstance(error, NotFound) for error in ended)
    assert (await owner.mailbox.list()).messages == []


async def test_the_owner_is_told_whom_the_relay_takes_for_members(
    owner: Person, member: Person
) -> None:
    expected = names.digest_of([member.member_at(owner)])
    assert (await owner.mailbox.list()).members == expected


async def test_a_deleted_mailbox_is_gone_with_all_that_was_in_it(
    owner: Person, member: Person, running: Running
) -> None:
    await member.at(owner).put(new_id(), b"x")
    await owner.mailbox.delete()
    for table in (schema.mailboxes, schema.members, schema.messages, schema.bodies):
        assert rows(running[1], table) == []
    with pytest.raises(NotFound):
        await owner.mailbox.list()


async def test_a_member_has_another_name_in_every_mailbox_even_with_one_key() -> None:
    key = signing.public_bytes(Ed25519PrivateKey.generate())
    assert names.member_of(bytes(32), key) != names.member_of(bytes([1] * 32), key)


async def answers(
    url: str, key: Ed25519PrivateKey, paths: list[tuple[str, str]]
) -> list[tuple[int, bytes, list[str]]]:
    """Return status, body and header names of raw requests signed by `key`."""
    import aiohttp

    found = []
    async with aiohttp.ClientSession() as session:
        for method, path in paths:
            headers = signing.sign(key, method, url + path)
            async with session.request(method, url + path, headers=headers) as response:
                found.append((response.status, await response.read(), sorted(response.headers)))
    return found


async def test_an_unknown_mailbox_and_a_wrong_signature_look_the_same(
    owner: Person, member: Person, running: Running
) -> None:
    import aiohttp

    url, stranger = running[0], Ed25519PrivateKey.generate()
    message = new_id()
    await member.at(owner).put(message, b"x")
    there, nowhere = owner.mailbox.name.hex(), os.urandom(32).hex()
    for method, rest in (("GET", ""), ("GET", "/messages"), ("GET", f"/messages/{message.hex()}"),
                         ("DELETE", f"/messages/{message.hex()}"), ("DELETE", "")):  # fmt: skip
        paths = [(method, f"/v1/mailboxes/{name}{rest}") for name in (there, nowhere)]
        seen = await answers(url, stranger, paths)
        assert seen[0] == seen[1] and seen[0][0] == 404
        # and a signature of the owner's key that does not fit
        headers = signing.sign(owner.key, method, f"{url}/v1")
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url + paths[0][1], headers=headers) as response,
        ):
            got = (response.status, await response.read(), sorted(response.headers))
        assert got == seen[0]
    body = os.urandom(100)
    for name in (there, nowhere):
        with pytest.raises(NotFound):
            await Letterbox(owner.relay, bytes.fromhex(name), stranger).put(new_id(), body)


async def test_a_replayed_request_is_refused(owner: Person, running: Running) -> None:
    import aiohttp

    url = f"{running[0]}/v1/mailboxes/{owner.mailbox.name.hex()}"
    body = b'{"members":[]}'
    headers = signing.sign(owner.key, "PUT", url, body) | {"Content-Type": JSON}
    async with aiohttp.ClientSession() as session:
        statuses = []
        for _ in range(3):
            async with session.put(url, data=body, headers=headers) as response:
                statuses.append((response.status, (await response.json()).get("title")))
    assert statuses == [(201, None), (401, "replayed"), (401, "replayed")]


async def test_strangers_leave_no_nonces_behind(owner: Person, running: Running) -> None:
    await owner.mailbox.put([])
    before = len(rows(running[1], schema.nonces))
    path = f"/v1/mailboxes/{owner.mailbox.name.hex()}/messages"
    assert {each[0] for each in await answers(running[0], Ed25519PrivateKey.generate(),
                                              [("GET", path)] * 5)} == {404}  # fmt: skip
    assert len(rows(running[1], schema.nonces)) == before


@pytest.mark.parametrize("off", [-86400, 86400])
async def test_a_clock_that_is_a_day_off_is_told_and_followed(
    owner: Person, running: Running, off: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{running[0]}/v1/mailboxes/{owner.mailbox.name.hex()}"
    import aiohttp

    body = b'{"members":[]}'
    headers = signing.sign(owner.key, "PUT", url, body, time.time() + off)
    async with (
        aiohttp.ClientSession() as session,
        session.put(url, data=body, headers=headers | {"Content-Type": JSON}) as response,
    ):
        said = await response.json()
    assert response.status == 401 and said["type"] == Problem.CLOCK.type
    assert abs(said["now"] - time.time()) < 60
    owner.relay._ahead = float(off)  # what a computer with such a clock would sign with
    assert await owner.mailbox.put([])
    assert abs(owner.relay._ahead) < 60


@pytest.fixture
def small(tmp_path: Path) -> Any:
    """Settings with limits that are soon reached."""

    def make(database: str = "", **more: Any) -> Any:
        return settings(tmp_path / "small", database, **more)

    return make


async def test_limits_of_size_and_number_are_told_apart(database: str, small: Any) -> None:
    given = small(
        database, body_max=2048, mailbox_messages=5, member_messages=3, mailbox_bytes=9000,
        member_bytes=5000, members_max=2,
    )  # fmt: skip
    async with served(given) as (url, _), Relay(url) as relay:
        owner, one, two = (Person(relay) for _ in range(3))
        await owner.mailbox.put([one.member_at(owner), two.member_at(owner)])
        with pytest.raises(Refused) as refusal:
            await one.at(owner).put(new_id(), bytes(2049))
        assert refusal.value.problem is Problem.TOO_LARGE
        with pytest.raises(Refused) as refusal:
            await owner.mailbox.put([os.urandom(32) for _ in range(3)])
        assert refusal.value.problem is Problem.TOO_LARGE
        first = new_id()
        await one.at(owner).put(first, bytes(2048))
        await one.at(owner).put(new_id(), bytes(2048))
        with pytest.raises(Full) as full:
            await one.at(owner).put(new_id(), bytes(2048))
        assert full.value.problem is Problem.SHARE_FULL and full.value.retry_after
        await one.at(owner).put(new_id(), bytes(10))
        with pytest.raises(Full) as full:
            await one.at(owner).put(new_id(), bytes(10))
        assert full.value.problem is Problem.SHARE_FULL
        # a member who floods leaves room for the other
        await two.at(owner).put(new_id(), bytes(2048))
        await two.at(owner).put(new_id(), bytes(2048))
        with pytest.raises(Full) as full:
            await two.at(owner).put(new_id(), bytes(10))
        assert full.value.problem is Problem.MAILBOX_FULL
        await owner.mailbox.remove(first)
        await two.at(owner).put(new_id(), bytes(10))


async def test_mailboxes_and_rendezvous_are_limited_for_each_source(
    database: str, small: Any
) -> None:
    given = small(database, mailboxes_per_minute=3, rendezvous_per_minute=2)
    async with served(given) as (url, service), Relay(url) as relay:
        service.now = lambda: 1_800_000_000 + int(time.time()) % 60  # type: ignore[method-assign]
        relay._ahead = service.now() - time.time()
        people = [Person(relay) for _ in range(4)]
        for person in people[:3]:
            await person.mailbox.put([])
        with pytest.raises(Refused) as refusal:
            await people[3].mailbox.put([])
        assert refusal.value.problem is Problem.TOO_MANY
        assert 0 < (refusal.value.retry_after or 0) <= 60
        await people[0].mailbox.put([])  # one that is there already
        await Rendezvous.begin(relay)
        await Rendezvous.begin(relay)
        with pytest.raises(Refused) as refusal:
            await Rendezvous.begin(relay)
        assert refusal.value.problem is Problem.TOO_MANY


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8:0:1200::1", "2001:db8:0:12ff:9::2", True),
        ("2001:db8:0:1200::1", "2001:db8:0:1300::1", False),
        ("somewhere", "somewhere", True),
    ],
)
def test_a_source_is_an_address_or_what_a_household_gets(one: str, other: str, same: bool) -> None:
    minutes = range(1000, 1040)
    equal = [guard.source_group(one, m) == guard.source_group(other, m) for m in minutes]
    assert all(equal) if same else sum(equal) < 3
    assert len({guard.source_group(one, minute) for minute in minutes}) > 35


async def test_a_message_is_kept_for_as_long_as_was_set_and_not_longer(
    database: str, small: Any
) -> None:
    async with served(small(database, days=2)) as (url, service), Relay(url) as relay:
        owner, member = Person(relay), Person(relay)
        await owner.mailbox.put([member.member_at(owner)])
        message, start = new_id(), int(time.time())
        await member.at(owner).put(message, b"x")

        def purge(now: int) -> upkeep.Purged:
            return upkeep.purge(service.database, None, service.settings, now)

        assert purge(start + 2 * 86400 - 60).messages == 0
        assert await member.at(owner).has(message)
        service.now = lambda: start + 2 * 86400 + 60  # type: ignore[method-assign]
        relay._ahead = service.now() - time.time()
        assert (await owner.mailbox.list()).messages == []
        with pytest.raises(NotFound):
            await owner.mailbox.get(message)
        assert purge(service.now()).messages == 1
        assert rows(service, schema.bodies) == []
        (row,) = rows(service, schema.mailboxes)
        assert (row.messages, row.bytes) == (0, 0)


async def test_a_mailbox_whose_owner_never_came_is_dropped(
    owner: Person, member: Person, running: Running
) -> None:
    await member.at(owner).put(new_id(), b"x")
    service, days = running[1], running[1].settings.mailbox_days
    service_purge = upkeep.purge(
        service.database, None, service.settings.model_copy(update={"days": 9999}),
        int(time.time()) + (days - 1) * 86400,
    )  # fmt: skip
    assert service_purge.mailboxes == 0
    later = int(time.time()) + (days + 2) * 86400
    assert upkeep.purge(service.database, None, service.settings, later).mailboxes == 1
    assert rows(service, schema.messages) == []


async def test_spent_nonces_and_tallies_are_purged(owner: Person, running: Running) -> None:
    await owner.mailbox.put([])
    service = running[1]
    assert rows(service, schema.nonces) and rows(service, schema.tallies)
    upkeep.purge(service.database, None, service.settings)
    assert rows(service, schema.nonces), "it could be replayed still"
    upkeep.purge(service.database, None, service.settings, int(time.time()) + 3600)
    assert not rows(service, schema.nonces) and not rows(service, schema.tallies)


async def test_a_rendezvous_carries_small_messages_both_ways(relay: Relay) -> None:
    one = await Rendezvous.begin(relay)
    assert one.number >= 100 and one.expires - time.time() < 601
    other = Rendezvous.join(relay, one.number)
    await one.send(b"Ya")
    assert await other.receive(10) == b"Ya"
    waiting = asyncio.create_task(one.receive(30))
    await asyncio.sleep(0.2)
    await other.send(b"Yb")
    assert await waiting == b"Yb"
    await one.send(b"confirmed")
    assert await other.receive(10) == b"confirmed"


async def test_a_rendezvous_is_of_two_and_not_there_for_others(relay: Relay) -> None:
    one = await Rendezvous.begin(relay)
    await one.send(b"Ya")
    other, third = (Rendezvous.join(relay, one.number) for _ in range(2))
    assert await other.receive(10) == b"Ya"
    for attempt in (third.receive(10), third.send(b"Yb"), third.close()):
        with pytest.raises(NotFound):
            await attempt
    unused = next(n for n in range(100, 999) if n != one.number)
    with pytest.raises(NotFound):
        await Rendezvous.join(relay, unused).receive(10)


async def test_the_end_of_a_rendezvous_is_told_to_who_waits(relay: Relay) -> None:
    one = await Rendezvous.begin(relay)
    other = Rendezvous.join(relay, one.number)
    await other.send(b"wrong")
    assert await one.receive(10) == b"wrong"
    waiting = asyncio.create_task(one.receive(60))
    await asyncio.sleep(0.2)
    await other.close()
    with pytest.raises(Over):
        await asyncio.wait_for(waiting, 30)
    with pytest.raises(Over):
        await one.send(b"too late")
    with pytest.raises(NotFound):
        await Rendezvous.join(relay, one.number).send(b"x")


async def test_a_rendezvous_message_sent_again_arrives_once(relay: Relay) -> None:
    one = await Rendezvous.begin(relay)
    other = Rendezvous.join(relay, one.number)
    await one.send(b"same")
    one._sent = 0
    await one.send(b"same")
    one._sent = 0
    with pytest.raises(Refused) as refusal:
        await one.send(b"different")
    assert refusal.value.problem is Problem.ANOTHER_BODY
    assert await other.receive(10) == b"same"
    with pytest.raises(Refused) as refusal:
        await other.send(bytes(1025))
    assert refusal.value.problem is Problem.TOO_LARGE


async def test_a_rendezvous_is_over_after_ten_minutes(relay: Relay, running: Running) -> None:
    one = await Rendezvous.begin(relay)
    service, start = running[1], int(time.time())
    service.now = lambda: start + 601  # type: ignore[method-assign]
    relay._ahead = 601
    with pytest.raises(NotFound):
        await one.send(b"x")
    with pytest.raises(NotFound):
        await Rendezvous.join(relay, one.number).send(b"x")
    assert upkeep.purge(service.database, None, service.settings, start + 601).rendezvous == 1


async def test_positions_go_on_above_those_of_a_mailbox_that_was_lost(
    owner: Person, member: Person
) -> None:
    await member.at(owner).put(new_id(), b"before")
    (before,) = (await owner.mailbox.list()).messages
    await owner.mailbox.delete()
    await owner.mailbox.put([member.member_at(owner)])
    await member.at(owner).put(new_id(), b"after")
    (after,) = (await owner.mailbox.list(after=before.position)).messages
    assert after.position > before.position


async def test_the_relay_says_what_it_takes(relay: Relay) -> None:
    about = await relay.about()
    assert about["body_max"] >= 499_248 and about["keep"] == 30 * 86400


async def test_the_longest_recording_fits(owner: Person, member: Person) -> None:
    longest = os.urandom(499_248 + 29)
    await member.at(owner).put(new_id(), longest)
    (listed,) = (await owner.mailbox.list()).messages
    assert await owner.mailbox.get(listed.id) == longest


async def test_two_relays_on_one_database_wake_each_others_polls(
    database: str, small: Any
) -> None:
    given = small(database)
    async with (
        served(given) as (one, _),
        served(given) as (two, _),
        Relay(one) as first,
        Relay(two) as second,
    ):
        owner, member = Person(first), Person(second)
        await owner.mailbox.put([member.member_at(owner)])
        poll = asyncio.create_task(owner.mailbox.list(wait=60))
        await asyncio.sleep(0.5)
        await member.at(owner).put(new_id(), b"x")
        assert len((await asyncio.wait_for(poll, 30)).messages) == 1


async def held_poll(owner: Person, arrivals: Any) -> asyncio.Task[Any]:
    """Return a long poll that the relay holds."""
    poll = asyncio.create_task(owner.mailbox.list(wait=60))
    while not len(arrivals):
        if poll.done():  # the relay wakes all when it begins to listen to PostgreSQL
            poll = asyncio.create_task(owner.mailbox.list(wait=60))
        await asyncio.sleep(0.01)
    return poll


async def test_a_stopping_relay_ends_long_polls(database: str, small: Any) -> None:
    async with served(small(database)) as (url, service), Relay(url) as relay:
        owner = Person(relay)
        await owner.mailbox.put([])
        poll = await held_poll(owner, service.arrivals)
        service.arrivals.stop()
        assert (await asyncio.wait_for(poll, 30)).messages == []


async def test_a_client_that_leaves_a_long_poll_is_forgotten(
    owner: Person, running: Running
) -> None:
    await owner.mailbox.put([])
    arrivals = running[1].arrivals
    poll = await held_poll(owner, arrivals)
    poll.cancel()
    async with asyncio.timeout(30):
        while len(arrivals):
            await asyncio.sleep(0.01)


def test_a_mailbox_is_the_hash_of_its_owners_key() -> None:
    import hashlib

    key = Ed25519PrivateKey.generate()
    expected = hashlib.sha256(key.public_key().public_bytes_raw()).digest()
    assert Mailbox(Relay("http://127.0.0.1"), key).name == expected
