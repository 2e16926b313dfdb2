"""The thief of the demo, and of the relay's tests, finds what there is to be found: whatever is
said not to be there was looked for in earnest."""

from __future__ import annotations

import base64
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from host_tests.messages import speech
from hushbear_companion import adpcm
from hushbear_relay.client.envelope import Kind, seal
from tools.story.telling import DemoFailed
from tools.story.theft import Thief, check
from tools.thief import Search, addressed, named, steal, try_to_open

KEY = os.urandom(32)
SOUND = adpcm.encode(speech(1))
SEARCH = Search(
    {"the key": KEY, **named(["Grandma"]), **addressed(["127.0.83.17"])}, {"the sound": SOUND}
)
ROUND = {
    "at the beginning": (b"", b" "),
    "within": (b'{"key": "x', b'"}'),
    "after noise": (b"\xfa\0", b"\xfb"),
}
CODED: dict[str, Callable[[bytes], bytes]] = {
    "raw": bytes,
    "hex": lambda secret: secret.hex().encode(),
    "HEX": lambda secret: secret.hex().upper().encode(),
    "base64": base64.b64encode,
    "base64url": lambda secret: base64.urlsafe_b64encode(secret).rstrip(b"="),
    "base64 of more, 1": lambda secret: base64.b64encode(b"1" + secret + b"1"),
    "base64 of more, 2": lambda secret: base64.b64encode(b"12" + secret + b"12"),
}


@pytest.mark.parametrize("around", ROUND)
@pytest.mark.parametrize("coding", CODED)
def test_a_key_is_found_however_it_is_written(coding: str, around: str) -> None:
    before, after = ROUND[around]
    assert SEARCH.found(before + CODED[coding](KEY) + after) == ["the key"]


@pytest.mark.parametrize("coding", CODED)
def test_fifteen_bytes_of_a_recording_are_found_wherever_they_come_from(coding: str) -> None:
    for start in range(1000, 1016):
        piece = SOUND[start : start + 15]
        assert SEARCH.found(os.urandom(100) + b" " + CODED[coding](piece)) == ["the sound"]


def test_names_and_addresses_are_found_in_sentences_and_paths() -> None:
    assert SEARCH.found(b"GET /v1/grandma/letters") == ["the name grandma"]
    assert SEARCH.found(b"for GRANDMA") == ["the name GRANDMA"]
    for form in (b"127.0.83.17:4242", b"\0002130727697\0", b"7f005311"):
        (found,) = SEARCH.found(form)
        assert found.startswith("the address 127.0.83.17")


def test_what_is_not_there_is_not_found() -> None:
    assert SEARCH.found(b"") == []
    assert SEARCH.found(os.urandom(100_000) + KEY[:31] + SOUND[1000:1007]) == []


def test_what_could_not_be_found_or_is_everywhere_is_not_searched_for() -> None:
    with pytest.raises(ValueError):
        Search({"nothing": bytes(8)}, {})
    with pytest.raises(ValueError):
        Search({}, {"silence": bytes(1000)})


def relay_with(directory: Path, secret: bytes, *values: bytes) -> Path:
    """A database with an envelope that is sealed with `secret`, and with some other values."""
    mailbox, message = os.urandom(32), os.urandom(16)
    body = seal(secret, mailbox, message, Kind.MESSAGE, SOUND)
    directory.mkdir(parents=True)
    with closing(sqlite3.connect(directory / "relay.sqlite")) as database:
        database.execute("CREATE TABLE messages (number INTEGER, mailbox BLOB, id BLOB)")
        database.execute("CREATE TABLE bodies (message INTEGER, body BLOB)")
        database.execute("CREATE TABLE others (value BLOB)")
        database.execute("INSERT INTO messages VALUES (1, ?, ?)", (mailbox, message))
        database.execute("INSERT INTO bodies VALUES (1, ?)", (body,))
        database.executemany("INSERT INTO others VALUES (?)", [(value,) for value in values])
        database.commit()
    return directory


def test_an_envelope_opens_to_a_thief_who_has_its_key(tmp_path: Path) -> None:
    safe = steal(relay_with(tmp_path / "safe", KEY, os.urandom(32)))
    tried = try_to_open([safe])
    assert (tried.envelopes, tried.opened) == (1, [])
    assert tried.keys >= 5
    leaking = steal(relay_with(tmp_path / "leaking", KEY, KEY))
    assert try_to_open([leaking]).opened == [SOUND]
    assert set(try_to_open([safe, leaking]).opened) == {SOUND}, "keys of one copy fit no other"


def test_a_value_that_the_file_has_in_pieces_is_found_in_one(tmp_path: Path) -> None:
    filler = os.urandom(10_000)
    loot = steal(relay_with(tmp_path / "relay", os.urandom(32), filler + KEY + filler))
    assert SEARCH.found(loot.contents["the table others"]) == ["the key"]


def test_what_was_deleted_is_found_while_the_file_has_it(tmp_path: Path) -> None:
    directory = relay_with(tmp_path / "relay", os.urandom(32), b"before " + KEY + b" after")
    with closing(sqlite3.connect(directory / "relay.sqlite")) as database:
        database.execute("PRAGMA secure_delete = OFF")
        database.execute("DELETE FROM others")
        database.commit()
    loot = steal(directory)
    assert loot.tables["others"] == []
    assert SEARCH.found(loot.files["relay.sqlite"]) == ["the key"]


@pytest.mark.parametrize("planted", ["in the database", "in the log"])
def test_the_demo_fails_loudly_when_the_thief_finds_something(
    planted: str, tmp_path: Path
) -> None:
    in_database = planted == "in the database"
    relay_with(tmp_path / "relay", os.urandom(32), KEY if in_database else b"")
    thief = Thief(tmp_path / "relay")
    thief.steal("before")
    log = "" if in_database else f'{{"event": "request", "key": "{KEY.hex()}"}}\n'
    (tmp_path / "relay/log").write_text(log)
    thief.steal("after")
    with pytest.raises(DemoFailed, match="the thief has the key"):
        check(thief.search(SEARCH), thief.open())


def test_the_demo_fails_loudly_when_an_envelope_opens(tmp_path: Path) -> None:
    thief = Thief(relay_with(tmp_path / "relay", KEY, KEY))
    thief.steal("now")
    with pytest.raises(DemoFailed, match="opened 1 of the envelopes"):
        check({}, thief.open())
