"""The inbox: what is let in, what of it reaches the toy, and that it does so once."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from host_tests.companion_toy import FAMILY, QUICK, Air, Link, Toy, make_message
from hushbear import wire
from hushbear_companion import errors, message, sealing
from hushbear_companion import inbox as inbox_module
from hushbear_companion.client import Client
from hushbear_companion.delivery import Delivery, deliver, for_toy
from hushbear_companion.inbox import PENDING_MAX, PENDING_OF_ONE_MAX, Inbox, State

KEY = bytes(range(32))
TOY_ID = b"the toy "
GRANDMA, PAPA = b"grandma\0", b"papa\0\0\0\0"


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    with Inbox(TOY_ID, tmp_path) as inbox:
        yield inbox


@pytest.fixture
def toy() -> Toy:
    return Toy(KEY)


@pytest.fixture
def air(toy: Toy) -> Air:
    return Air(toy)


def from_member(
    sender: bytes = GRANDMA, blocks: int = 4, epoch: int = 2, message_id: bytes = b""
) -> bytes:
    header = message.Header(message_id or message.new_id(), sender, 1_790_000_000, epoch)
    body = b"".join(b"\0\0\0\0" + os.urandom(252) for _ in range(blocks))
    return sealing.seal(header, body, FAMILY[epoch])


def take(inbox: Inbox, content: bytes | None = None) -> bytes:
    """Take a message in and return its id."""
    return inbox.take(content or from_member(), FAMILY)[0].id


def state_of(inbox: Inbox, message_id: bytes) -> State:
    (found,) = [each for each in inbox.messages() if each.id == message_id]
    return found.state


async def delivery(air: Air, inbox: Inbox) -> Delivery:
    async with Client(KEY, air, timing=QUICK, family_keys=FAMILY, sender=PAPA) as client:
        return await deliver(client, inbox)


# What is let in


def test_a_message_waits_as_it_came(inbox: Inbox) -> None:
    content = from_member()
    incoming, new = inbox.take(content, FAMILY)
    assert new and incoming.state is State.WAITING
    assert (incoming.sender, incoming.epoch, incoming.size) == (GRANDMA, 2, len(content))
    assert incoming.time and incoming.time.timestamp() == 1_790_000_000
    assert inbox.sealed(incoming.id) == content
    assert inbox.messages() == [incoming] and inbox.due(2) == []


def test_the_inbox_is_private(inbox: Inbox) -> None:
    take(inbox)
    assert stat.S_IMODE(inbox.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(inbox.path.parent.stat().st_mode) == 0o700


def altered(at: int) -> bytes:
    content = bytearray(from_member(blocks=9))
    content[at] ^= 1
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", errors.BadMessage),
        (os.urandom(3000), errors.BadMessage),
        (altered(8), errors.UnknownEpoch),  # the epoch
        (altered(35), errors.BrokenMessage),  # the sender
        (altered(1200), errors.BrokenMessage),
        (from_member(blocks=9)[:-272], errors.CutShort),
        (from_member(blocks=1920) + bytes(1), errors.BadMessage),
        (make_message(4), errors.BadMessage),  # the toy's own
    ],
)
def test_what_is_not_genuine_is_not_let_in(
    inbox: Inbox, content: bytes, error: type[errors.BadMessage]
) -> None:
    with pytest.raises(error):
        inbox.take(content, FAMILY)
    assert not inbox.messages()


def test_a_message_of_another_family_is_not_let_in(inbox: Inbox) -> None:
    with pytest.raises(errors.BrokenMessage):
        inbox.take(make_message(4, sender=GRANDMA, family={2: os.urandom(32)}), FAMILY)
    assert not inbox.messages()


@pytest.mark.parametrize("index", [89, 255])
def test_sound_that_the_toy_cannot_decode_is_not_let_in(inbox: Inbox, index: int) -> None:
    header = message.Header(message.new_id(), GRANDMA, 0, 2)
    body = bytes(256) + b"\0\0" + bytes([index]) + bytes(253)
    with pytest.raises(errors.BadMessage, match="garbled"):
        inbox.take(sealing.seal(header, body, FAMILY[2]), FAMILY)
    assert not inbox.messages()


def test_the_same_message_twice_is_one(inbox: Inbox) -> None:
    content = from_member()
    first, _ = inbox.take(content, FAMILY)
    assert inbox.take(content, FAMILY) == (first, False)
    other = from_member(message_id=first.id)
    assert inbox.take(other, FAMILY) == (first, False)
    assert inbox.sealed(first.id) == content


def test_a_member_who_floods_leaves_room_for_the_others(inbox: Inbox) -> None:
    for _ in range(PENDING_OF_ONE_MAX):
        take(inbox, from_member(blocks=1))
    with pytest.raises(errors.InboxFull):
        take(inbox)
    one = take(inbox, from_member(PAPA))
    inbox.refuse(inbox.messages()[0].id)
    take(inbox)
    assert state_of(inbox, one) is State.WAITING


def test_many_members_who_flood_do_not_fill_the_disk(inbox: Inbox) -> None:
    for number in range(PENDING_MAX):
        take(inbox, from_member(struct.pack(">Q", 1 + number % 8), blocks=1))
    with pytest.raises(errors.InboxFull):
        take(inbox, from_member(blocks=1))


# Approval


async def test_only_what_is_approved_reaches_the_toy(inbox: Inbox, toy: Toy, air: Air) -> None:
    contents = [from_member() for _ in range(3)]
    ids = [take(inbox, content) for content in contents]
    assert not (await delivery(air, inbox)).delivered and not toy.inbox()
    inbox.approve(ids[2])
    inbox.approve(ids[0])
    done = await delivery(air, inbox)
    assert [each.id for each in done.delivered] == [ids[0], ids[2]] and not done.failed
    assert toy.inbox() == [contents[0], contents[2]]
    assert [state_of(inbox, each) for each in ids] == [
        State.DELIVERED,
        State.WAITING,
        State.DELIVERED,
    ]


async def test_a_message_is_delivered_once(inbox: Inbox, toy: Toy, air: Air) -> None:
    content = from_member()
    inbox.approve(take(inbox, content))
    await delivery(air, inbox)
    toy.boxes[wire.INBOX].clear()  # heard there, and deleted long ago
    incoming, new = inbox.take(content, FAMILY)
    inbox.approve(incoming.id)
    assert not new and not (await delivery(air, inbox)).delivered and not toy.inbox()


async def test_a_refused_message_never_comes_back(inbox: Inbox, toy: Toy, air: Air) -> None:
    content = from_member()
    refused = take(inbox, content)
    inbox.approve(refused)
    inbox.refuse(refused)
    with pytest.raises(errors.NoSuchMessage):
        inbox.sealed(refused)
    incoming, new = inbox.take(content, FAMILY)
    assert not new and incoming.state is State.REFUSED
    inbox.approve(refused)
    inbox.approve_always(GRANDMA)
    assert not (await delivery(air, inbox)).delivered and not toy.inbox()
    with pytest.raises(errors.NoSuchMessage, match="refused"):
        inbox.find(refused.hex())


def test_nothing_of_a_refused_message_is_left_on_the_disk(inbox: Inbox) -> None:
    content = from_member(blocks=200)
    refused = take(inbox, content)
    pieces = [content[at : at + 64] for at in range(48, len(content) - 64, 1000)]
    assert any(piece in inbox.path.read_bytes() for piece in pieces)
    inbox.refuse(refused)
    left = b"".join(path.read_bytes() for path in inbox.path.parent.iterdir())
    assert not any(piece in left for piece in pieces)
    assert len(left) < len(content)


async def test_what_the_toy_has_goes_from_there_where_it_is_refused(
    inbox: Inbox, toy: Toy, air: Air
) -> None:
    delivered, other = take(inbox), take(inbox)
    inbox.approve(delivered)
    inbox.approve(other)
    await delivery(air, inbox)
    assert len(toy.inbox()) == 2
    inbox.refuse(delivered)
    await delivery(air, inbox)
    assert [content[16:32] for content in toy.inbox()] == [other]
    assert state_of(inbox, delivered) is State.REFUSED


async def test_what_the_child_has_heard_cannot_be_refused(
    inbox: Inbox, toy: Toy, air: Air
) -> None:
    heard = take(inbox)
    inbox.approve(heard)
    await delivery(air, inbox)
    toy.find(wire.INBOX, heard).done = True
    await delivery(air, inbox)
    with pytest.raises(errors.UsageError, match="hushbear delete"):
        inbox.refuse(heard)


async def test_what_the_child_says_after_it_has_heard_is_an_answer(
    inbox: Inbox, toy: Toy, air: Air
) -> None:
    first, second = take(inbox), take(inbox)
    inbox.approve(first)
    toy.record(make_message())
    await delivery(air, inbox)
    toy.find(wire.INBOX, first).done = True
    await delivery(air, inbox)
    assert state_of(inbox, first) is State.HEARD, "what was said before it came is no answer"
    inbox.approve(second)
    toy.record(make_message())
    await delivery(air, inbox)
    assert state_of(inbox, first) is State.ANSWERED
    assert state_of(inbox, second) is State.DELIVERED


async def test_a_standing_approval(inbox: Inbox, toy: Toy, air: Air) -> None:
    before, other = take(inbox), take(inbox, from_member(PAPA))
    inbox.approve_always(GRANDMA)
    inbox.approve_always(GRANDMA)
    later = take(inbox)
    done = await delivery(air, inbox)
    assert [each.id for each in done.delivered] == [before, later]
    assert state_of(inbox, other) is State.WAITING
    inbox.ask_again(GRANDMA)
    assert inbox.standing() == []
    take(inbox)
    assert not (await delivery(air, inbox)).delivered


async def test_a_standing_approval_is_not_for_who_was_removed(
    inbox: Inbox, toy: Toy, air: Air
) -> None:
    """A removed phone has the older keys, and may say that it is anybody."""
    inbox.approve_always(GRANDMA)
    old = take(inbox, from_member(epoch=1))
    now_old = take(inbox)
    assert [each.id for each in inbox.due(2)] == [now_old]
    toy.family[3] = os.urandom(32)  # another phone has removed one; this one learns it now
    assert not (await delivery(air, inbox)).delivered
    inbox.approve(old)  # a parent has heard it
    assert [each.id for each in (await delivery(air, inbox)).delivered] == [old]


# On the way


@pytest.mark.parametrize("lost", [6, 9, 12, 14])
async def test_a_lost_link_delivers_once(inbox: Inbox, toy: Toy, air: Air, lost: int) -> None:
    content = from_member(blocks=40)
    inbox.approve(take(inbox, content))
    air.lost = {lost}
    assert len((await delivery(air, inbox)).delivered) == 1
    assert toy.inbox() == [content]


async def test_a_toy_that_went_away_gets_the_rest_later(inbox: Inbox, toy: Toy, air: Air) -> None:
    contents = [from_member(blocks=40) for _ in range(3)]
    for content in contents:
        inbox.approve(take(inbox, content))
    air.lost = set(range(25, 100))
    done = await delivery(air, inbox)
    assert len(done.failed) == 1 and isinstance(done.failed[0][1], errors.LinkLost)
    some = len(done.delivered)
    assert some < 3
    air.lost = set()
    assert len((await delivery(air, inbox)).delivered) == 3 - some
    assert toy.inbox() == contents


async def test_a_full_toy_keeps_nothing_waiting_but_what_it_has_no_room_for(
    inbox: Inbox, toy: Toy, air: Air
) -> None:
    approved = [take(inbox) for _ in range(2)]
    for each in approved:
        inbox.approve(each)
    toy.room = 10
    done = await delivery(air, inbox)
    assert isinstance(done.failed[0][1], errors.ToyFull) and not done.delivered
    assert [state_of(inbox, each) for each in approved] == [State.APPROVED] * 2
    toy.room = 1 << 20
    assert len((await delivery(air, inbox)).delivered) == 2


async def test_one_that_was_damaged_here_does_not_keep_the_others(
    inbox: Inbox, toy: Toy, air: Air
) -> None:
    ids = [take(inbox) for _ in range(2)]
    for each in ids:
        inbox.approve(each)
    with sqlite3.connect(inbox.path) as db:
        damaged = bytearray(inbox.sealed(ids[0]))
        damaged[100] ^= 1
        db.execute("UPDATE message SET sealed = ? WHERE id = ?", (bytes(damaged), ids[0]))
    done = await delivery(air, inbox)
    assert [each.id for each in done.delivered] == [ids[1]]
    assert isinstance(done.failed[0][1], errors.BrokenMessage)
    assert len(toy.inbox()) == 1


async def test_a_refusal_during_the_delivery_takes_it_from_the_toy(
    inbox: Inbox, toy: Toy, air: Air, tmp_path: Path
) -> None:
    refused = take(inbox)
    inbox.approve(refused)

    class Meanwhile(Link):
        async def handle(self, kind: int, tag: int, body: bytes) -> None:
            if kind == wire.COMMIT:
                with Inbox(TOY_ID, tmp_path) as other:
                    other.refuse(refused)
            await super().handle(kind, tag, body)

    air._link = Meanwhile
    assert not (await delivery(air, inbox)).delivered
    assert not toy.inbox() and state_of(inbox, refused) is State.REFUSED


async def test_two_deliveries_at_once_deliver_once(
    inbox: Inbox, toy: Toy, air: Air, tmp_path: Path
) -> None:
    contents = [from_member(blocks=40) for _ in range(3)]
    for content in contents:
        inbox.approve(take(inbox, content))
    with Inbox(TOY_ID, tmp_path) as other:
        await asyncio.gather(delivery(air, inbox), delivery(air, other))
        await delivery(air, other)
    assert toy.inbox() == contents
    assert {each.state for each in inbox.messages()} == {State.DELIVERED}


async def test_what_was_heard_is_noted_and_not_kept(inbox: Inbox, toy: Toy, air: Air) -> None:
    ids = [take(inbox) for _ in range(2)]
    for each in ids:
        inbox.approve(each)
    await delivery(air, inbox)
    toy.boxes[wire.INBOX][0].done = True
    await delivery(air, inbox)
    assert [state_of(inbox, each) for each in ids] == [State.HEARD, State.DELIVERED]
    with pytest.raises(errors.NoSuchMessage, match="heard it"):
        inbox.sealed(ids[0])
    inbox.sealed(ids[1])


def test_a_key_that_the_toy_has_no_more() -> None:
    content = from_member(epoch=1)
    family = FAMILY | {epoch: os.urandom(32) for epoch in range(3, 9)}
    assert for_toy(content, family) == content
    family[9] = os.urandom(32)
    newer = for_toy(content, family)
    header, blocks = sealing.unseal(newer, {9: family[9]})
    assert header == replace(message.parse_header(content), epoch=9)
    assert blocks == sealing.unseal(content, FAMILY)[1]


# The file


def test_what_was_delivered_long_ago_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Inbox(TOY_ID, tmp_path) as inbox:
        delivered, waiting = take(inbox), take(inbox)
        inbox.delivered(delivered)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + inbox_module.KEEP + 60)
    with Inbox(TOY_ID, tmp_path) as inbox:
        with pytest.raises(errors.NoSuchMessage):
            inbox.sealed(delivered)
        inbox.sealed(waiting)
        assert state_of(inbox, delivered) is State.DELIVERED


def test_a_process_that_dies_in_a_change_leaves_all_as_it_was(tmp_path: Path) -> None:
    with Inbox(TOY_ID, tmp_path) as inbox:
        waiting = take(inbox)
    dying = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from hushbear_companion.inbox import Inbox\n"
        "inbox = Inbox(bytes.fromhex(sys.argv[1]), Path(sys.argv[2]))\n"
        "with inbox._changing():\n"
        "    inbox._db.execute('PRAGMA cache_spill = 1')\n"
        "    inbox._db.execute(\"UPDATE message SET state = 'refused', sealed = NULL\")\n"
        "    os._exit(9)\n"
    )
    done = subprocess.run([sys.executable, "-c", dying, TOY_ID.hex(), str(tmp_path)], check=False)
    assert done.returncode == 9
    with Inbox(TOY_ID, tmp_path) as inbox:
        assert state_of(inbox, waiting) is State.WAITING
        assert inbox.sealed(waiting)[16:32] == waiting


@pytest.mark.parametrize("content", [b"x" * 5000, b"SQLite format 3\0" + b"x" * 5000])
def test_a_file_that_is_no_inbox(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / TOY_ID.hex() / "inbox.db"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(errors.FileProblem, match="Move it away"):
        Inbox(TOY_ID, tmp_path)
    assert path.read_bytes() == content


def test_a_file_of_a_later_version(tmp_path: Path) -> None:
    with Inbox(TOY_ID, tmp_path) as inbox:
        path = inbox.path
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 3")
    with pytest.raises(errors.FileProblem, match="Update"):
        Inbox(TOY_ID, tmp_path)


def test_a_file_of_an_earlier_version_is_taken_over(tmp_path: Path) -> None:
    with Inbox(TOY_ID, tmp_path) as inbox:
        waiting, refused = take(inbox), take(inbox)
        inbox.refuse(refused)
        inbox.approve_always(GRANDMA)
        before = [replace(each) for each in inbox.messages()]
    with sqlite3.connect(inbox.path) as db:
        (made,) = db.execute("SELECT sql FROM sqlite_master WHERE name = 'message'").fetchone()
        db.execute("DROP INDEX by_state")
        db.execute("ALTER TABLE message RENAME TO later")
        db.execute(made.replace(", 'answered'", ""))
        db.execute("INSERT INTO message SELECT * FROM later")
        db.execute("DROP TABLE later")
        db.execute("CREATE INDEX by_state ON message (state, received)")
        db.execute("PRAGMA user_version = 1")
    with Inbox(TOY_ID, tmp_path) as inbox:
        assert inbox.messages() == before and inbox.standing() == [GRANDMA]
        assert inbox.sealed(waiting)
        inbox.delivered(waiting)
        inbox.heard([waiting])
        inbox.answered([waiting])
        assert state_of(inbox, waiting) is State.ANSWERED


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / TOY_ID.hex()).write_text("not a directory")
    with pytest.raises(errors.FileProblem, match="cannot be written"):
        Inbox(TOY_ID, tmp_path)
