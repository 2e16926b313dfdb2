"""Messages between relatives far away and a toy: the relay in a process, grandma's phone in
others, and the parent's phone here, near a toy in memory."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from host_tests.companion_command import Command, command_near
from host_tests.companion_toy import FAMILY, SENDER, Air, Toy, make_message
from host_tests.far_phones import KEY, FarPhone, grandma, invite, line_of, server
from host_tests.relay.running import Process
from hushbear_companion import message, sealing
from hushbear_companion.carrier import Backoff
from hushbear_companion.errors import BadMessage
from hushbear_companion.inbox import Inbox
from hushbear_companion.keystore import KeyStore
from hushbear_companion.mailboxes import Mailboxes
from hushbear_companion.post import Kind, Post, Synced, open_post
from hushbear_companion.received import received
from hushbear_companion.toy import Relative, Role
from hushbear_companion.toy import Toy as Known
from hushbear_relay.client.correspondence import Contact
from hushbear_relay.client.http import Relay

__all__ = ["grandma", "server"]


@pytest.fixture
def toy() -> Toy:
    toy = Toy(KEY)
    del toy.phones[3]  # another grandmother, who is near
    return toy


@pytest.fixture
def parent(tmp_path: Path, toy: Toy, server: Process) -> FarPhone:
    phone = FarPhone(tmp_path / "config")
    phone.store.add("Bruno", KEY, SENDER, FAMILY)
    phone.run("relay", server.url)
    return phone


@pytest.fixture
def near(tmp_path: Path, toy: Toy, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command on the parent's phone, near the toy."""
    return command_near(Air(toy), tmp_path, monkeypatch)


@pytest.fixture
def hello(tmp_path: Path) -> Path:
    path = tmp_path / "hello.wav"
    tone = 0.2 * np.sin(np.arange(16000) * 0.1)
    soundfile.write(path, tone, 16000)
    return path


def said(command: Command, *arguments: object) -> dict[str, Any]:
    result = command(*arguments, "--json")
    assert result.exit_code == 0, result.output
    values: dict[str, Any] = json.loads(result.stdout)
    return values


def once(command: Command, *arguments: object) -> dict[str, Any]:
    values = said(command, "run", "--once", *arguments)
    assert values["failed"] == []
    toy: dict[str, Any] = values["toys"][0]
    return toy


def test_grandma_speaks_and_the_child_answers(
    parent: FarPhone, grandma: FarPhone, near: Command, toy: Toy, hello: Path, tmp_path: Path
) -> None:
    toy.record(before := make_message(sender=bytes(8)))  # before she belongs to the family
    once(near)
    invite(parent, grandma, "Grandma")
    os.utime(next((tmp_path / "config").rglob("fetched/*.message")), (1, 1))
    sent = grandma.run("send", hello)
    assert sent["to"] == "Bruno" and sent["at_relay"]

    note = tmp_path / "note"
    script = (
        "import os; e = os.environ; print(*(e['HUSHBEAR_' + n] for n in ('KIND', 'FROM', 'ID')),"
    )
    script += f" file=open({str(note)!r}, 'a'))"
    command = f'{sys.executable} -c "{script}"'
    assert once(near, "--on-message", command)["arrived"] == [sent["id"]]
    assert note.read_text() == f"for-toy Grandma {sent['id']}\n"
    (waiting,) = said(near, "inbox")["messages"]
    assert (waiting["state"], waiting["name"]) == ("waiting", "Grandma")
    assert not toy.inbox()
    said(near, "approve", sent["id"])
    assert once(near)["delivered"] == [sent["id"]]
    assert [content[16:32].hex() for content in toy.inbox()] == [sent["id"]]

    toy.record(answer := make_message(sender=bytes(8)))
    values = once(near, "--on-message", command)
    assert values["fetched"] == [answer[16:32].hex()] and values["put"] >= 1
    assert note.read_text().splitlines()[1].startswith("answer Bruno")
    assert once(near)["put"] == 0

    assert once_far(grandma)["arrived"] == [answer[16:32].hex()]
    (heard,) = grandma.run("inbox")["received"]
    assert (heard["from"], heard["name"]) == ("toy", "Bruno") and heard["id"] != before[
        16:32
    ].hex()
    out = tmp_path / "answer.wav"
    grandma.run("play", heard["id"], "--out", out)
    assert out.read_bytes() == message.to_wav(sealing.unseal(answer, FAMILY)[1])


def once_far(phone: FarPhone) -> dict[str, Any]:
    values = phone.run("run", "--once")
    assert values["failed"] == []
    toy: dict[str, Any] = values["toys"][0]
    return toy


def test_a_parent_speaks_to_a_relative(
    parent: FarPhone, grandma: FarPhone, near: Command, hello: Path
) -> None:
    invite(parent, grandma, "Grandma")
    sent = said(near, "send", hello, "--to", "grandma")
    assert once_far(grandma)["arrived"] == [sent["id"]]
    (papa,) = grandma.toy.relatives
    assert [each["name"] for each in grandma.run("inbox")["received"]] == [papa.name]
    back = grandma.run("send", hello, "--to", papa.name)
    assert once(near)["arrived"] == [back["id"]]
    assert [each["name"] for each in said(near, "inbox")["received"]] == ["Grandma"]
    assert not said(near, "inbox")["messages"]
    result = near("send", hello, "--to", "nobody", "--json")
    assert result.exit_code == 8


def test_a_relay_that_is_down_loses_nothing(
    parent: FarPhone, grandma: FarPhone, near: Command, hello: Path, server: Process
) -> None:
    invite(parent, grandma, "Grandma")
    server.kill()
    sent = grandma.run("send", hello)
    assert not sent["at_relay"]
    assert grandma.run("run", "--once", code=15)["failed"][0]["code"] == "relay-unreachable"
    result = near("run", "--once", "--json")
    assert result.exit_code == 15 and json.loads(result.stdout)["toys"][0]["arrived"] == []
    server.start()
    assert once_far(grandma)["put"] == 1
    assert once(near)["arrived"] == [sent["id"]]


def test_what_the_relay_delivers_twice_arrives_once(
    parent: FarPhone, grandma: FarPhone, near: Command, hello: Path, server: Process, toy: Toy,
    tmp_path: Path,
) -> None:  # fmt: skip
    invite(parent, grandma, "Grandma")
    sent = grandma.run("send", hello)
    said(near, "approve", "--always", "Grandma")
    server.stop()
    shutil.copytree(tmp_path / "relay", tmp_path / "backup")
    server.start()
    values = once(near)
    assert values["arrived"] == values["delivered"] == [sent["id"]]
    server.stop()
    shutil.rmtree(tmp_path / "relay")
    shutil.copytree(tmp_path / "backup", tmp_path / "relay")
    server.start()
    for _ in range(2):
        values = once(near)
        assert values["arrived"] == values["delivered"] == []
        once_far(grandma)
    assert len(toy.inbox()) == 1 and len(said(near, "inbox", "--all")["messages"]) == 1


def test_a_relay_that_was_wiped_costs_nothing(
    parent: FarPhone,
    grandma: FarPhone,
    near: Command,
    hello: Path,
    server: Process,
    tmp_path: Path,
) -> None:
    invite(parent, grandma, "Grandma")
    sent = grandma.run("send", hello)
    server.stop()
    shutil.rmtree(tmp_path / "relay")
    (tmp_path / "relay").mkdir(mode=0o700)
    server.start()
    once(near)  # makes the mailbox again
    once_far(grandma)
    assert once(near)["arrived"] == [sent["id"]]


def test_a_new_family_key_reaches_who_is_far_away(
    parent: FarPhone, grandma: FarPhone, near: Command, hello: Path, toy: Toy
) -> None:
    invite(parent, grandma, "Grandma")
    toy.family[7] = b"7" * 32
    once(near)
    once_far(grandma)
    assert grandma.toy.family[7] == b"7" * 32
    sent = grandma.run("send", hello)
    assert once(near)["arrived"] == [sent["id"]]
    (incoming,) = Inbox(parent.toy.id).messages()
    assert incoming.epoch == 7


def test_who_was_removed_writes_and_hears_no_more(
    parent: FarPhone, grandma: FarPhone, near: Command, hello: Path, toy: Toy
) -> None:
    invite(parent, grandma, "Grandma")
    said(near, "send", hello, "--to", "Grandma")
    said(near, "approve", "--always", grandma.toy.sender.hex() if grandma.toy.sender else "")
    assert said(near, "remove", "grandma")["told"]
    assert not said(near, "inbox")["always"]
    assert [each["role"] for each in said(near, "family")["members"]].count("relative") == 0
    once_far(grandma)  # what was put before is there
    grandma.run("send", hello)
    toy.record(make_message(sender=bytes(8)))
    assert once(near)["arrived"] == []
    assert once_far(grandma)["arrived"] == []
    assert not toy.inbox()


def test_run_goes_on_when_the_relay_comes_back(
    parent: FarPhone, grandma: FarPhone, near: Command, hello: Path, server: Process
) -> None:
    invite(parent, grandma, "Grandma")
    running = grandma.start("run")
    try:
        assert "moving" in line_of(running.stderr)
        first = said(near, "send", hello, "--to", "Grandma")
        assert line_of(running.stdout).startswith(first["id"][:8])
        server.kill()
        assert "Trying again" in line_of(running.stderr)
        second = said(near, "send", hello, "--to", "Grandma")
        assert not second["at_relay"]
        server.start()
        once(near)
        assert line_of(running.stdout).startswith(second["id"][:8])
    finally:
        running.kill()
        running.communicate()
    assert [each["id"] for each in grandma.run("inbox")["received"]] == [first["id"], second["id"]]


def test_pauses_grow_and_begin_anew() -> None:
    backoff = Backoff(1, 300)
    pauses = [backoff.failed() for _ in range(12)]
    assert 0.5 <= pauses[0] <= 1 and all(150 <= pause <= 300 for pause in pauses[9:])
    assert all(pause <= 2**place for place, pause in enumerate(pauses))
    backoff.worked()
    assert backoff.failed() <= 1


GRANDMA = Relative("Grandma", Role.RELATIVE, b"grandma1", 1, b"m" * 32, b"w" * 32, b"s" * 32)
PAPA = Relative("Papa", Role.PARENT, SENDER, 1, b"m" * 32, b"w" * 32, b"s" * 32)
Take = Callable[[bytes], Synced]


def taking(directory: Path, toy: Known) -> Iterator[Take]:
    """What a phone that knows a toy makes of an envelope's content."""
    store = KeyStore(directory)
    store.join(toy)
    relay = Relay("http://localhost:9")
    with open_post(store, toy, relay, Mailboxes("", b"x" * 32), directory) as post:

        def take(body: bytes) -> Synced:
            synced = Synced()
            contact = Contact(b"m" * 32, b"s" * 32)
            _ledger(post).arrive(os.urandom(16), contact.id, body)
            post._take_all(synced)
            return synced

        yield take


def _ledger(post: Post) -> Any:
    return post._ledger


@pytest.fixture
def at_parent(tmp_path: Path) -> Iterator[Take]:
    toy = Known("Bruno", KEY, b"toy here", SENDER, FAMILY, {}, (GRANDMA,))
    yield from taking(tmp_path, toy)


@pytest.fixture
def at_relative(tmp_path: Path) -> Iterator[Take]:
    toy = Known("Bruno", None, b"toy here", b"grandma1", FAMILY, {}, (PAPA,))
    yield from taking(tmp_path, toy)


KEYS = bytes((Kind.KEYS,)) + (9).to_bytes(4, "big") + b"9" * 32


@pytest.mark.parametrize(
    "body",
    [
        b"", b"\0", b"\x09rest", b"\1", b"\1" + bytes(600), KEYS,
        b"\1" + make_message(sender=SENDER), b"\1" + make_message(sender=bytes(8)),
        b"\2" + make_message(sender=bytes(8)), b"\2" + make_message(sender=SENDER),
        b"\1" + make_message(sender=GRANDMA.sender)[:-1],
        b"\2" + make_message(sender=GRANDMA.sender)[:-1],
    ],
)  # fmt: skip
def test_what_a_relative_may_not_send_is_given_up(
    at_parent: Take, tmp_path: Path, body: bytes
) -> None:
    synced = at_parent(body)
    assert len(synced.refused) == 1 and not synced.arrivals
    assert all(isinstance(error, BadMessage) for _, error in synced.refused)
    store = KeyStore(tmp_path)
    assert store.get(None).family == FAMILY and not received(store.get(None), tmp_path)
    with Inbox(b"toy here", tmp_path) as inbox:
        assert not inbox.messages()
    assert len(at_parent(b"\1" + make_message(sender=GRANDMA.sender)).arrivals) == 1


def test_a_message_waits_for_the_key_that_opens_it(at_relative: Take, tmp_path: Path) -> None:
    later = {**FAMILY, 9: b"9" * 32}
    synced = at_relative(b"\2" + make_message(sender=bytes(8), family=later))
    assert len(synced.waiting) == 1 and not synced.arrivals
    synced = at_relative(KEYS)
    assert KeyStore(tmp_path).get(None).family == later
    assert len(at_relative(b"").arrivals) == 1


@pytest.mark.parametrize(
    "body", [KEYS[:-1], KEYS + b"x", b"\3" + bytes(36), b"\3\0\0\0\0" + b"k" * 32, b"\3"]
)
def test_keys_that_are_none_change_nothing(at_relative: Take, tmp_path: Path, body: bytes) -> None:
    assert len(at_relative(body).refused) == 1
    assert KeyStore(tmp_path).get(None).family == FAMILY


def test_a_key_that_is_known_is_not_replaced(at_relative: Take, tmp_path: Path) -> None:
    at_relative(b"\3\0\0\0\1" + b"k" * 32)
    assert KeyStore(tmp_path).get(None).family == FAMILY


def test_a_message_for_a_toy_is_nothing_to_who_is_far_away(at_relative: Take) -> None:
    assert len(at_relative(b"\1" + make_message(sender=SENDER)).refused) == 1


def test_an_inbox_that_is_full_keeps_the_rest_waiting(
    at_parent: Take, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("hushbear_companion.inbox.PENDING_OF_ONE_MAX", 1)
        assert len(at_parent(b"\1" + make_message(sender=GRANDMA.sender)).arrivals) == 1
        synced = at_parent(b"\1" + make_message(sender=GRANDMA.sender))
        assert len(synced.waiting) == 1 and not synced.arrivals
    assert len(at_parent(b"").arrivals) == 1
