"""The relay has nothing worth stealing: after a busy day its database and logs are dumped whole,
and searched for every name, key, byte of audio and address that the day had in it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import aiohttp
import psycopg
from psycopg.rows import dict_row

from host_tests.messages import speech
from host_tests.relay.people import Person, correspondents
from host_tests.relay.running import Process, settings
from hushbear_companion import adpcm
from hushbear_relay import signing
from hushbear_relay.client.correspondence import Correspondence
from hushbear_relay.client.errors import ClientError
from hushbear_relay.client.http import Relay
from hushbear_relay.client.mailbox import writing_key
from hushbear_relay.client.rendezvous import Rendezvous
from hushbear_relay.server.database import Database
from tools.thief import Loot, Search, addressed, named, steal, try_to_open

NAMES = ("Grandmother", "Johanna", "Bruno", "Hushbear")  # not so short that chance writes them
ADDRESSES = [f"127.0.83.{number}" for number in (17, 18, 19)]


def stolen(given_url: str, data: Path) -> Loot:
    """Return all that a thief gets: every value of every table, and the files themselves."""
    loot = steal(data)
    if given_url:
        with psycopg.connect(given_url, row_factory=dict_row) as connection:
            found = connection.execute(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
            ).fetchall()
            names = [row["table_name"] for row in found]
            tables = {
                name: connection.execute(f'SELECT * FROM "{name}"').fetchall() for name in names
            }
        loot = Loot(loot.files, tables)
    assert sum(map(len, loot.tables.values())) > 30
    return loot


class AtAddress(Relay):
    """A client at an address of its own on this computer."""

    def __init__(self, url: str, address: str) -> None:
        super().__init__(url)
        connector = aiohttp.TCPConnector(local_addr=(address, 0))
        self._session = aiohttp.ClientSession(connector=connector)


async def test_a_busy_day_leaves_nothing_worth_stealing(database: str, tmp_path: Path) -> None:
    given = settings(tmp_path / "relay", database, rendezvous_per_minute=100)
    process = Process(given)
    process.start()
    recording = adpcm.encode(speech(1))
    secrets: dict[str, bytes] = {}
    relays = [AtAddress(process.url, address) for address in ADDRESSES]
    try:
        people = correspondents(list(relays), tmp_path)
        await busy_day(people, recording)
        await strangers(relays[2], people[0])
        for number, person in enumerate(people):
            key = person.mailbox._key
            secrets[f"key {number}"] = key.private_bytes_raw()
            secrets[f"public key {number}"] = signing.public_bytes(key)
            for place, contact in enumerate(person.contacts):
                writer = writing_key(contact.secret, contact.mailbox)
                secrets[f"shared {number} {place}"] = contact.secret
                secrets[f"writing key {number} {place}"] = writer.private_bytes_raw()
                secrets[f"public writing key {number} {place}"] = signing.public_bytes(writer)
    finally:
        for relay in relays:
            await relay.close()
        if process.alive:
            loot = stolen(database, given.data)
            process.stop()
    log = process.log.read_bytes()
    assert log.count(b'"route"') > 100
    sound = {"the recording": recording}
    search = Search({**secrets, **named(NAMES), **addressed(ADDRESSES)}, sound)
    in_log = Search({**secrets, **addressed(ADDRESSES)}, sound)
    for where, content in loot.contents.items():
        assert (in_log if where == process.log.name else search).found(content) == [], where
    assert in_log.found(log) == []
    dump = b"\0".join(loot.contents.values())
    assert all(person.mailbox.name in dump for person in people), "the dump is of this relay"
    bodies = ("the table bodies", "the table rendezvous_messages")  # four bytes occur by chance
    kept = b"\0".join(
        content
        for where, content in loot.contents.items()
        if where.startswith("the table") and where not in bodies
    )
    for address in ADDRESSES:
        assert bytes(int(part) for part in address.split(".")) not in kept + log
    tried = try_to_open([loot])
    assert tried.envelopes >= 8 and tried.keys > 100
    assert tried.opened == []
    # Logs know no mailbox, member or message either: nothing with as many digits is in them.
    assert not re.search(rb"[0-9a-f]{20}", log)
    assert b"GET /" not in log


async def busy_day(people: list[Correspondence], recording: bytes) -> None:
    """Everybody writes to everybody; some is fetched, some waits; one is removed."""
    for turn in range(3):
        for person in people:
            for contact in person.contacts:
                for name in NAMES:
                    person.send(contact, name.encode() + recording)
        for person in people if turn < 2 else people[:2]:
            await person.sync()
    one = people[0]
    one.contacts, removed = one.contacts[:1], one.contacts[1:]
    await one.mailbox.put(one.members)
    one.contacts += removed  # whose messages do not go any more
    begun = await Rendezvous.begin(one._relay)
    joined = Rendezvous.join(people[1]._relay, begun.number)
    await begun.send(os.urandom(64))
    await joined.receive(10)
    await joined.send(os.urandom(32))


async def strangers(relay: Relay, owner: Correspondence) -> None:
    """Requests that go wrong, which is what logs like to be told about."""
    stranger = Person(relay)
    for work in (
        stranger.mailbox.list(),
        stranger.mailbox.get(os.urandom(16)),
        Person(relay).mailbox.put([os.urandom(32)] * 70),
        relay.request(stranger.key, "GET", f"/v1/mailboxes/{owner.mailbox.name.hex()}/messages"),
        relay.request(stranger.key, "GET", "/v1/Grandmother/" + "f" * 64),
        relay.request(stranger.key, "PUT", "/v1/mailboxes/Johanna", None, b"Bruno"),
    ):
        try:
            await work
        except ClientError:
            continue
        raise AssertionError("that should not have worked")


def test_the_tables_have_no_place_for_a_name_or_an_address() -> None:
    """Every column is a number, a truth, or bytes that are hashes, random or sealed."""
    from hushbear_relay.server.schema import metadata

    kinds = {
        (column.name, type(column.type).__name__)
        for table in metadata.tables.values()
        for column in table.columns
    }
    assert {kind for _, kind in kinds} <= {
        "LargeBinary", "Integer", "BigInteger", "SmallInteger", "Boolean",
    }  # fmt: skip
    assert {name for name, kind in kinds if kind == "LargeBinary"} == {
        "id", "mailbox", "member", "digest", "body", "object", "nonce", "first", "second",
    }  # fmt: skip


def test_statements_and_their_values_are_not_logged(tmp_path: Path) -> None:
    import sqlalchemy as sa

    database = Database(settings(tmp_path / "relay").url)
    database.prepare()
    secret = os.urandom(32)
    with database.writing() as connection:
        try:
            connection.execute(sa.text("SELECT :x FROM nowhere"), {"x": secret.hex()})
        except sa.exc.SQLAlchemyError as error:
            assert secret.hex() not in str(error)
    database.close()
