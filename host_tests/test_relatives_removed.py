"""Somebody far away is removed: there is another mailbox and another family key, the others follow
by themselves, and what the removed one has opens nothing that comes later."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from host_tests.companion_command import Command
from host_tests.companion_toy import FAMILY, Toy, make_message
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
from hushbear_companion import mailboxes, sealing, telling
from hushbear_companion.errors import UnknownEpoch
from hushbear_companion.letters import Family
from hushbear_companion.received import received
from hushbear_companion.toy import Relative, without
from hushbear_companion.toy import Toy as Known
from hushbear_relay.client.errors import NotFound
from hushbear_relay.client.http import Relay
from hushbear_relay.client.mailbox import Letterbox, Listing, Mailbox, writing_key

__all__ = ["aunt", "grandma", "hello", "near", "parent", "server", "toy"]


def mailbox_of(phone: FarPhone, server: Process, number: int) -> Listing | None:
    """Return what waits in a phone's mailbox of that number, None where there is no such one."""
    key = mailboxes.get(phone.directory).key(phone.toy.id, number)

    async def ask() -> Listing | None:
        async with Relay(server.url) as relay:
            try:
                return await Mailbox(relay, key).list()
            except NotFound:
                return None

    return asyncio.run(ask())


def test_who_was_removed_writes_and_hears_no_more(
    parent: FarPhone, grandma: FarPhone, near: Command, toy: Toy, hello: Path, server: Process
) -> None:
    invite(parent, grandma, "Grandma")
    said(near, "send", hello, "--to", "Grandma")  # she does not fetch it in time
    said(near, "approve", "--always", "Grandma")
    values = said(near, "remove", "grandma")
    assert values["told"] and not values["new_key"]
    assert not said(near, "inbox")["always"]
    assert [each["role"] for each in said(near, "family")["members"]].count("relative") == 0
    assert said(near, "family")["new_key_due"]
    assert once_far(grandma)["arrived"] == [], "what waited for her is taken back"
    grandma.run("send", hello)
    toy.record(make_message(sender=bytes(8)))
    assert once(near)["arrived"] == []
    assert once_far(grandma)["arrived"] == []
    assert not toy.inbox() and not received(grandma.toy)
    assert mailbox_of(parent, server, 0) is None, "the mailbox that she knows is gone"


def test_the_toy_makes_a_key_that_who_was_removed_has_not(
    parent: FarPhone, grandma: FarPhone, near: Command, toy: Toy, hello: Path
) -> None:
    invite(parent, grandma, "Grandma")
    once(near)
    said(near, "remove", "Grandma")
    assert max(toy.family) == max(FAMILY)
    said(near, "status")
    assert max(toy.family) == max(FAMILY) + 1 == max(parent.toy.family)
    said(near, "status")
    assert len(toy.family) == len(FAMILY) + 1, "one new key for one removal"
    assert not said(near, "family")["new_key_due"]
    said(near, "send", hello)
    (content,) = toy.inbox()
    with pytest.raises(UnknownEpoch):
        sealing.unseal(content, grandma.toy.family)
    sealing.unseal(content, parent.toy.family)


def test_the_others_follow_by_themselves(
    parent: FarPhone, grandma: FarPhone, aunt: FarPhone, near: Command, toy: Toy, hello: Path,
    server: Process,
) -> None:  # fmt: skip
    invite(parent, grandma, "Grandma")
    invite(parent, aunt, "Aunt")
    once(near)
    once_far(aunt)
    under_way = aunt.run("send", hello)  # waits in the mailbox that goes
    said(near, "remove", "Grandma")
    assert once(near)["arrived"] == []
    later = aunt.run("send", hello)  # to the mailbox that is gone
    assert not later["at_relay"]
    once_far(aunt)
    assert set(once(near)["arrived"]) == {under_way["id"], later["id"]}
    assert aunt.toy.family[3] == toy.family[3]
    assert "Grandma" not in [each["name"] for each in aunt.run("family")["members"]]
    last = aunt.run("send", hello)
    assert last["at_relay"]
    assert once(near)["arrived"] == [last["id"]]
    toy.record(make_message(sender=bytes(8), family=toy.family))
    once(near)
    assert len(once_far(aunt)["arrived"]) == 1
    assert max(grandma.toy.family) == 2, "who was removed has heard of none of it"
    left = mailbox_of(aunt, server, 0)
    assert left and not left.messages


def test_who_was_away_for_several_removals_follows_too(
    parent: FarPhone, grandma: FarPhone, aunt: FarPhone, near: Command, toy: Toy, hello: Path
) -> None:
    invite(parent, aunt, "Aunt")
    sent = aunt.run("send", hello)
    for _ in range(2):
        invite(parent, grandma, "Grandma")
        said(near, "remove", "Grandma")
        grandma.run("toys", "forget", "Bruno")
        once(near)
    once_far(aunt)
    assert once(near)["arrived"] == [sent["id"]]
    assert aunt.toy.family[4] == toy.family[4] == parent.toy.family[4]
    assert parent.toy.away.mailbox == 2 and parent.toy.away.closing == ()


def test_a_relay_that_is_away_is_told_of_a_removal_later(
    parent: FarPhone, grandma: FarPhone, near: Command, hello: Path, server: Process
) -> None:
    invite(parent, grandma, "Grandma")
    said(near, "send", hello, "--to", "Grandma")
    server.stop()
    assert not said(near, "remove", "Grandma")["told"]
    assert parent.toy.away.leaving and parent.toy.away.closing == (0,)
    server.start()
    once(near)
    assert not parent.toy.away.leaving and not parent.toy.away.closing
    assert mailbox_of(parent, server, 0) is None
    assert once_far(grandma)["arrived"] == []


def test_a_removal_in_the_moment_in_which_the_others_are_told_is_not_lost(
    parent: FarPhone, grandma: FarPhone, aunt: FarPhone, near: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    invite(parent, grandma, "Grandma")
    invite(parent, aunt, "Aunt")
    (gone,) = [each for each in parent.toy.relatives if each.name == "Grandma"]
    tell = telling.family_now

    def removed_meanwhile(toy: Known, mailbox: bytes) -> tuple[Family, bytes]:
        family, _ = tell(toy, mailbox)
        parent.store.change(toy.id, lambda known: without(known, gone))
        return family, b"something new "

    with monkeypatch.context() as patch:
        patch.setattr(telling, "family_now", removed_meanwhile)
        near("run", "--once")
    assert [each.name for each in parent.toy.relatives] == ["Aunt"]
    assert parent.toy.away.mailbox == 1 and parent.toy.away.spent == max(FAMILY)


def test_a_backup_of_the_relay_brings_nobody_back(
    parent: FarPhone, grandma: FarPhone, aunt: FarPhone, near: Command, hello: Path,
    server: Process, tmp_path: Path,
) -> None:  # fmt: skip
    invite(parent, grandma, "Grandma")
    invite(parent, aunt, "Aunt")
    once(near)
    server.stop()
    shutil.copytree(tmp_path / "relay", tmp_path / "backup")
    server.start()
    said(near, "remove", "Grandma")
    once(near)
    once_far(aunt)
    server.stop()
    shutil.rmtree(tmp_path / "relay")
    shutil.copytree(tmp_path / "backup", tmp_path / "relay")
    server.start()
    grandma.run("send", hello)  # into the old mailbox, which is there again
    assert once(near)["arrived"] == []
    sent = aunt.run("send", hello)
    assert once(near)["arrived"] == [sent["id"]]


def test_somebody_with_the_secrets_of_who_was_removed_cannot_write(
    parent: FarPhone, grandma: FarPhone, near: Command, server: Process
) -> None:
    invite(parent, grandma, "Grandma")
    (papa,) = grandma.toy.relatives
    said(near, "remove", "Grandma")
    once(near)
    new = Mailbox(Relay(server.url), mailboxes.get(parent.directory).key(parent.toy.id, 1)).name

    async def write(to: Relative, mailbox: bytes) -> None:
        async with Relay(server.url) as relay:
            key = writing_key(to.secret, mailbox)
            with pytest.raises(NotFound):
                await Letterbox(relay, mailbox, key).put(bytes(16), b"still here")

    for mailbox in (papa.mailbox, new):  # if she came to know its name
        asyncio.run(write(papa, mailbox))


def test_a_relative_may_go(
    parent: FarPhone, grandma: FarPhone, near: Command, hello: Path
) -> None:
    invite(parent, grandma, "Grandma", "--as", "Papa")
    grandma.run("remove", "Papa")
    assert not grandma.toy.relatives
    assert grandma.run("send", hello, code=10)["error"]["code"] == "no-family"
    said(near, "send", hello, "--to", "Grandma")
    assert once_far(grandma)["arrived"] == []
