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

import pytest

from host_tests.companion_command import Command
from host_tests.companion_toy import FAMILY, SENDER, Toy, make_message
from host_tests.far_phones import (
    KEY,
    FarPhone,
    grandma,
    hello,
    invite,
    line_of,
    near,
    once,
    once_far,
    parent,
    said,
    server,
    toy,
)  # fmt: skip
from host_tests.relay.running import Process
from hushbear_companion import message, sealing
from hushbear_companion.errors import BadMessage
from hushbear_companion.inbox import Inbox
from hushbear_companion.keystore import KeyStore
from hushbear_companion.letters import Family, Kind, News, Stage
from hushbear_companion.mailboxes import Mailboxes
from hushbear_companion.post import Post, Synced, open_post
from hushbear_companion.received import received
from hushbear_companion.running import Backoff
from hushbear_companion.toy import Member, Relative, Role
from hushbear_companion.toy import Toy as Known
from hushbear_relay.client.correspondence import Contact
from hushbear_relay.client.http import Relay

__all__ = ["grandma", "hello", "near", "parent", "server", "toy"]


def test_grandma_speaks_and_the_child_answers(
    parent: FarPhone, grandma: FarPhone, near: Command, toy: Toy, hello: Path, tmp_path: Path
) -> None:
    toy.record(before := make_message(sender=bytes(8)))  # before she belongs to the family
    once(near)
    os.utime(next((tmp_path / "config").rglob("fetched/*.message")), (1, 1))
    invite(parent, grandma, "Grandma")
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


GRANDMA = Relative("Grandma", Role.RELATIVE, b"grandma1", 1, b"m" * 32, b"s" * 32)
PAPA = Relative("Papa", Role.PARENT, SENDER, 1, b"m" * 32, b"s" * 32)
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


def family(revision: int = 1, epoch: int = 9, key: bytes = b"9" * 32, **more: Any) -> bytes:
    """What a parent's phone tells of the family."""
    members = {
        SENDER: Member("Papa", Role.PARENT, 1),
        b"aunt   1": Member("Aunt", Role.RELATIVE, 2),
    }
    told = Family(revision, more.get("mailbox", b"n" * 32), epoch, key, members)
    return bytes((Kind.FAMILY,)) + told.pack()


NEWS = bytes((Kind.NEWS,)) + News(b"i" * 16, bytes(8), Stage.HEARD).pack()


@pytest.mark.parametrize(
    "body",
    [
        b"", b"\0", b"\x09rest", b"\1", b"\1" + bytes(600), family(),
        b"\4", NEWS[:-1], NEWS[:-1] + b"\0", NEWS[:-1] + b"\6", NEWS + b"x",
        b"\5", b"\5" + bytes(600),
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
    synced = at_relative(family())
    assert KeyStore(tmp_path).get(None).family == later
    assert len(at_relative(b"").arrivals) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"\3", b"\3" + bytes(72), family()[:-1], family() + b"x", family(revision=0),
        family(epoch=0), family(key=bytes(32)), family() + bytes(45),
        family() + b"somebody" + b"\4" + bytes(36), family() + b"somebody\1" + bytes(36) * 70,
    ],
)  # fmt: skip
def test_a_family_that_is_none_changes_nothing(
    at_relative: Take, tmp_path: Path, body: bytes
) -> None:
    before = KeyStore(tmp_path).get(None)
    assert len(at_relative(body).refused) == 1
    assert KeyStore(tmp_path).get(None) == before


def test_a_key_that_is_known_is_not_replaced(at_relative: Take, tmp_path: Path) -> None:
    at_relative(family(epoch=1, key=b"k" * 32))
    assert KeyStore(tmp_path).get(None).family == FAMILY


def test_what_is_told_later_counts_whatever_comes_last(at_relative: Take, tmp_path: Path) -> None:
    at_relative(family(revision=2))
    at_relative(family(revision=1, mailbox=b"o" * 32))
    known = KeyStore(tmp_path).get(None)
    assert known.relatives[0].mailbox == b"n" * 32 and known.away.revision == 2
    assert known.names == {SENDER: "Papa", b"aunt   1": "Aunt"}


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
