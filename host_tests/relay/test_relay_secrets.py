"""The relay has nothing worth stealing: after a busy day its database and logs are dumped whole,
and searched for every name, key, byte of audio and address that the day had in it."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import sqlite3
from pathlib import Path

import aiohttp
import psycopg

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

NAMES = ("Grandmother", "Mama", "bear", "Hushbear")
ADDRESSES = [f"127.0.83.{number}" for number in (17, 18, 19)]
RECOGNISED = 8  # bytes of audio in a row


def dumped(given_url: str, data: Path) -> bytes:
    """Return all that a thief gets: every value of every table, and the files themselves."""
    found = []
    if given_url:
        with psycopg.connect(given_url) as connection:
            tables = connection.execute(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
            ).fetchall()
            for (table,) in tables:
                rows = connection.execute(f'SELECT * FROM "{table}"').fetchall()
                found += [_bytes(value) for row in rows for value in row]
    else:
        with contextlib.closing(sqlite3.connect(data / "relay.sqlite")) as file:
            tables = file.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for (table,) in tables:
                rows = file.execute(f'SELECT * FROM "{table}"').fetchall()
                found += [_bytes(value) for row in rows for value in row]
        found += [path.read_bytes() for path in data.glob("relay.sqlite*")]
    assert len(found) > 100
    return b"\0".join(found)


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def forms(secret: bytes) -> list[bytes]:
    """Return what bytes look like, raw and as people write them."""
    encoded = base64.b64encode(secret).rstrip(b"=")
    return [
        secret,
        secret.hex().encode(),
        secret.hex().upper().encode(),
        encoded,
        encoded.replace(b"+", b"-").replace(b"/", b"_"),
    ]


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
            dump = dumped(database, given.data)
            process.stop()
    log = process.log.read_bytes()
    assert log.count(b'"route"') > 100
    mailboxes = {person.mailbox.name for person in people}
    assert all(name in dump for name in mailboxes), "the dump is of this relay"
    for where, found in (("database", dump), ("log", log)):
        for what, secret in secrets.items():
            assert not any(form in found for form in forms(secret)), f"{what} in the {where}"
        for name in NAMES:
            for form in forms(name.encode()):
                assert where == "log" or form not in found, f"{name} in the {where}"
        for at in range(0, len(recording) - RECOGNISED, 64):
            piece = recording[at : at + RECOGNISED]
            if len(set(piece)) > 3:
                assert piece not in found, f"audio in the {where}"
        for address in ADDRESSES:
            packed = bytes(int(part) for part in address.split("."))
            assert address.encode() not in found, f"an address in the {where}"
            assert packed not in found, f"an address in the {where}"
            assert packed.hex().encode() not in found.lower()
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
        relay.request(stranger.key, "PUT", "/v1/mailboxes/Mama", None, b"bear"),
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
