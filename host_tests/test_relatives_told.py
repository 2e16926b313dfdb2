"""What becomes of a message is told to whoever sent it, sealed; and members far away reach each
other by the phone that has invited both."""

from __future__ import annotations

from pathlib import Path

from host_tests.companion_command import Command
from host_tests.companion_toy import Toy, make_message
from host_tests.far_phones import (
    FarPhone,
    aunt,
    grandma,
    hello,
    invite,
    near,
    once,
    once_far,
    parent,
    said,
    server,
    toy,
)  # fmt: skip
from host_tests.relay.running import Process
from hushbear import wire
from hushbear_companion.received import received
from hushbear_relay.client.ledger import Ledger

__all__ = ["aunt", "grandma", "hello", "near", "parent", "server", "toy"]


def state(values: dict[str, list[dict[str, str]]], message_id: str = "") -> str:
    """What `sent` says of the only message there, or of one."""
    (found,) = [each for each in values["sent"] if each["id"].startswith(message_id)]
    return found["state"]


def test_the_sender_sees_delivered_heard_and_answered(
    parent: FarPhone, grandma: FarPhone, near: Command, toy: Toy, hello: Path
) -> None:
    invite(parent, grandma, "Grandma")
    sent = grandma.run("send", hello)
    assert state(grandma.run("sent")) == "going"
    once(near)
    once_far(grandma)
    assert state(grandma.run("sent")) == "arrived"
    said(near, "approve", sent["id"])
    once(near)
    assert once_far(grandma)["news"] == [{"id": sent["id"], "to": "00" * 8, "state": "delivered"}]
    toy.find(wire.INBOX, bytes.fromhex(sent["id"])).done = True
    once(near)
    once_far(grandma)
    assert state(grandma.run("sent")) == "heard"
    toy.record(make_message(sender=bytes(8)))
    once(near)
    values = once_far(grandma)
    assert len(values["arrived"]) == 1
    assert state(grandma.run("sent")) == "answered"
    process = grandma.start("sent")
    assert "answered" in process.communicate()[0]


def test_a_parent_sees_who_has_heard_the_child(
    parent: FarPhone, grandma: FarPhone, near: Command, toy: Toy, hello: Path, tmp_path: Path
) -> None:
    invite(parent, grandma, "Grandma")
    toy.record(answer := make_message(sender=bytes(8)))
    once(near)
    (row,) = said(near, "sent")["sent"]
    assert (row["from"], row["to"], row["state"]) == ("Bruno", "Grandma", "going")
    assert row["id"] == answer[16:32].hex()
    once_far(grandma)
    once(near)
    assert state(said(near, "sent")) == "delivered"
    grandma.run("play", row["id"], "--out", tmp_path / "heard.wav")
    once_far(grandma)
    assert once(near)["news"][0]["state"] == "heard"
    grandma.run("send", hello)
    once_far(grandma)
    once(near)
    assert state(said(near, "sent")) == "answered"
    assert "Grandma" in near("sent").stdout


def test_a_refusal_is_told_and_leaves_nothing_anywhere(
    parent: FarPhone, grandma: FarPhone, near: Command, hello: Path, server: Process,
    tmp_path: Path,
) -> None:  # fmt: skip
    invite(parent, grandma, "Grandma")
    sent = grandma.run("send", hello)
    (content,) = [each for each in _going(grandma) if bytes.fromhex(sent["id"]) in each]
    pieces = [content[at : at + 64] for at in range(100, len(content) - 64, 500)]

    def found() -> set[str]:
        return {
            path.relative_to(tmp_path).parts[0]
            for path in tmp_path.rglob("*")
            if path.is_file() and any(piece in path.read_bytes() for piece in pieces)
        }

    assert found() == {"grandma"}, "the relay has an envelope of it"
    once(near)
    assert found() == {"grandma", "config"}
    once_far(grandma)
    said(near, "refuse", sent["id"])
    once(near)
    once_far(grandma)
    assert state(grandma.run("sent")) == "refused"
    assert found() == set()
    assert once(near)["arrived"] == []
    server.stop()
    assert not any(path.suffix == ".message" for path in (tmp_path / "config").rglob("*"))


def _going(phone: FarPhone) -> list[bytes]:
    ledger = Ledger(phone.directory / "data" / phone.toy.id.hex() / "relay.db")
    try:
        return [each.content for each in ledger.going()]
    finally:
        ledger.close()


def test_what_the_toy_has_is_refused_there_too(
    parent: FarPhone, grandma: FarPhone, near: Command, toy: Toy, hello: Path
) -> None:
    invite(parent, grandma, "Grandma")
    said(near, "approve", "--always", "Grandma")
    sent = grandma.run("send", hello)
    once(near)
    assert len(toy.inbox()) == 1
    said(near, "refuse", sent["id"])
    once(near)
    assert not toy.inbox()
    once_far(grandma)
    assert state(grandma.run("sent")) == "refused"


def test_relatives_know_and_reach_each_other(
    parent: FarPhone, grandma: FarPhone, aunt: FarPhone, near: Command, hello: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    invite(parent, grandma, "Grandma")
    invite(parent, aunt, "Aunt")
    once(near)
    for phone, other in ((grandma, "Aunt"), (aunt, "Grandma")):
        once_far(phone)
        members = {each["name"]: each for each in phone.run("family")["members"]}
        assert members[other]["role"] == "relative" and members[other]["since"]
        assert members["Papa"]["role"] == "parent"
    sent = grandma.run("send", hello, "--to", "aunt")
    assert sent["to"] == "Aunt"
    assert once(near)["arrived"] == [], "it is not the parent's"
    assert once_far(aunt)["arrived"] == [sent["id"]]
    (there,) = aunt.run("inbox")["received"]
    assert there["name"] == "Grandma"
    aunt.run("play", there["id"], "--out", tmp_path / "heard.wav")
    once_far(aunt)
    once(near)
    once_far(grandma)
    assert state(grandma.run("sent")) == "heard"
    back = aunt.run("send", hello, "--to", "Grandma")
    once_far(aunt)
    once(near)
    assert once_far(grandma)["arrived"] == [back["id"]]
    assert state(grandma.run("sent")) == "answered"
    assert {each["from"] for each in said(near, "sent")["sent"]} == {"Grandma", "Aunt"}


def test_who_is_near_the_toy_is_known_and_not_reached(
    parent: FarPhone, grandma: FarPhone, near: Command, toy: Toy, hello: Path
) -> None:
    toy.phones[1] = (b"mother\0\0", 1_790_000_000, b"Mama")
    invite(parent, grandma, "Grandma")
    once(near)
    once_far(grandma)
    (mama,) = [each for each in grandma.run("family")["members"] if each["name"] == "Mama"]
    assert mama["role"] == "phone" and mama["since"]
    assert grandma.run("send", hello, "--to", "Mama", code=8)["error"]["code"] == "no-such-member"


def test_what_was_heard_is_told_though_the_phone_was_away(
    parent: FarPhone, grandma: FarPhone, near: Command, toy: Toy, hello: Path, server: Process,
) -> None:  # fmt: skip
    invite(parent, grandma, "Grandma")
    said(near, "approve", "--always", "Grandma")
    sent = grandma.run("send", hello)
    once(near)
    server.stop()
    toy.find(wire.INBOX, bytes.fromhex(sent["id"])).done = True
    assert near("run", "--once").exit_code == 15
    server.start()
    once(near)
    once_far(grandma)
    assert state(grandma.run("sent")) == "heard"
    assert len(received(grandma.toy)) == 0
