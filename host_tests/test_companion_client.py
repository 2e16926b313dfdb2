"""The companion's client on a toy in memory: transfers, lost links, and toys that mean harm."""

from __future__ import annotations

import asyncio
import itertools
import os
import struct
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from host_tests.companion_toy import (
    FAMILY,
    NEVER,
    QUICK,
    SENDER,
    Air,
    Link,
    Refused,
    Stored,
    Toy,
    blocks_of,
    make_message,
)
from hushbear import family_wire, settings_wire, upkeep_wire, wire
from hushbear_companion import errors, recordings
from hushbear_companion.client import CRASHLOG_MAX, ENTRIES_MAX, Client, find
from hushbear_companion.records import Box, Entry
from hushbear_companion.session import Session, State

KEY = bytes(range(32))


def client(air: Air, key: bytes = KEY) -> Client:
    return Client(key, air, timing=QUICK)


async def only_entry(toy: Client) -> Entry:
    (entry,) = await toy.entries(Box.OUTBOX)
    return entry


# Finding the toy


async def test_the_toys_in_sight_are_tried_until_one_answers_to_the_key() -> None:
    air = Air(Toy(os.urandom(32)), Toy(os.urandom(32)), Toy(KEY))
    async with client(air) as toy:
        assert (await toy.status()).firmware == "0.1"
    assert air.opened == [0, 1, 2]


async def test_a_wrong_key_is_refused_in_one_line() -> None:
    with pytest.raises(errors.NotThisToy, match="answer"):
        await client(Air(Toy(os.urandom(32)))).connect()


async def test_no_toy_in_sight() -> None:
    with pytest.raises(errors.NoToyInSight):
        await client(Air()).connect()


async def test_the_clock_is_set_on_every_connect() -> None:
    toy = Toy(KEY)
    async with client(Air(toy)):
        assert toy.clock is not None
        seconds, minutes = toy.clock
        assert seconds > 1_700_000_000 and -14 * 60 <= minutes <= 14 * 60


async def test_connecting_brings_the_keys_of_the_family_that_are_new() -> None:
    toy = Toy(KEY)
    told: list[tuple[bytes | None, dict[int, bytes]]] = []

    def learned(phone: Client) -> None:
        told.append((phone.sender, dict(phone.family)))

    air = Air(toy)
    async with Client(KEY, air, timing=QUICK, learned=learned) as phone:
        assert (phone.sender, phone.family, phone.epoch) == (SENDER, FAMILY, 2)
        assert {sender: each.name for sender, each in phone.members.items()} == {
            SENDER: "parent", b"grandma\0": "Grandma"
        }  # fmt: skip
    assert told[-1] == (SENDER, FAMILY)
    told.clear()
    toy.asked.clear()
    knowing = partial(Client, KEY, air, timing=QUICK, learned=learned, sender=SENDER)
    async with knowing(family_keys=FAMILY) as phone:
        assert phone.family == FAMILY
    assert not told and family_wire.PHONES not in toy.asked
    toy.family[7] = b"7" * 32
    async with knowing(family_keys=FAMILY) as phone:
        assert phone.epoch == 7 and phone.family == FAMILY | {7: b"7" * 32}
    assert told


async def test_a_toy_whose_firmware_knows_no_family_is_to_be_updated() -> None:
    class Old(Toy):
        async def answer(self, link: Link, kind: int, tag: int, body: bytes) -> bytes:
            if kind == family_wire.FAMILY:
                raise Refused(wire.UNKNOWN)
            return await super().answer(link, kind, tag, body)

    with pytest.raises(errors.FirmwareTooOld, match="Update the toy's firmware"):
        await client(Air(Old(KEY))).connect()


async def test_a_toy_that_cannot_tell_its_phones_now_is_asked_again_when_it_matters() -> None:
    class Short(Toy):
        failures = 1

        async def answer(self, link: Link, kind: int, tag: int, body: bytes) -> bytes:
            if kind == family_wire.PHONES and self.failures:
                self.failures -= 1
                raise Refused(wire.FAILED)
            return await super().answer(link, kind, tag, body)

    async with client(Air(Short(KEY))) as phone:
        assert phone.family == FAMILY and phone.sender is None
        assert [each.name for each in await phone.phones()] == ["parent", "Grandma"]
        assert phone.sender == SENDER


NAME = bytes(i * 7 & 255 for i in range(64 * 256))


async def test_a_name_is_given_over_a_bad_link_and_taken_away() -> None:
    toy = Toy(KEY)
    air = Air(toy)
    async with client(air) as phone:
        air.lost = {air.frames + 9}
        await phone.give_name(NAME)
        assert toy.name == NAME and await phone.name_size() == len(NAME)
        await phone.give_name(b"")
        assert toy.name == b"" and await phone.name_size() == 0


async def test_a_name_begins_anew_where_another_phone_gives_one_too() -> None:
    class Busy(Toy):
        meetings = 1

        def take_name(self, body: bytes) -> bytes:
            if len(self.naming) > 5000 and self.meetings:
                self.meetings -= 1
                self.naming = b"another"
            return super().take_name(body)

    toy = Busy(KEY)
    async with client(Air(toy)) as phone:
        await phone.give_name(NAME)
        assert toy.name == NAME
        toy.naming, toy.meetings = b"", NEVER
        with pytest.raises(errors.ToyMisbehaves, match="spoken name"):
            await phone.give_name(NAME)


async def test_a_name_that_is_too_long_is_not_sent() -> None:
    toy = Toy(KEY)
    async with client(Air(toy)) as phone:
        for blocks in (NAME + bytes(256), NAME[:-1]):
            with pytest.raises(errors.BadVoice):
                await phone.give_name(blocks)
    assert upkeep_wire.NAME not in toy.asked


def epoch(number: int, key: bytes = b"k" * 32) -> bytes:
    return struct.pack(family_wire.EPOCH, number, key)


def phone(slot: int, sender: bytes = b"12345678", name: bytes = b"x") -> bytes:
    return struct.pack(family_wire.PHONE, slot, sender, 0, name)


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        (family_wire.FAMILY, epoch(1)[:-1]),
        (family_wire.FAMILY, epoch(0)),
        (family_wire.FAMILY, epoch(1, bytes(32))),
        (family_wire.FAMILY, epoch(2) + epoch(1)),
        (family_wire.FAMILY, epoch(1) + epoch(1)),
        (family_wire.FAMILY, b"".join(epoch(n) for n in range(1, 10))),
        (family_wire.PHONES, b""),
        (family_wire.PHONES, phone(1)),
        (family_wire.PHONES, phone(0x81) + phone(0x82)),
        (family_wire.PHONES, phone(0x81) + phone(1)),
        (family_wire.PHONES, phone(0x88)),
        (family_wire.PHONES, phone(0x80) + phone(8)),
        (family_wire.PHONES, phone(0x80)[:-1]),
        (family_wire.PHONES, phone(0x80, bytes(8))),
    ],
)
async def test_an_impossible_family_is_refused(kind: int, answer: bytes) -> None:
    with pytest.raises(errors.ToyMisbehaves):
        await client(Air(Faithless(kind, answer))).connect()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\0\0",
        b"\xff\xff",
        b"\x30\0" + bytes(48),
        b"\x10\0" + bytes(16),
        b"\x31\0" + bytes(49),
    ],
    ids=["nothing", "zero", "huge", "forged", "short", "long"],
)
async def test_a_device_that_answers_with_something_else_is_not_the_toy(answer: bytes) -> None:
    class Impostor(Link):
        async def run(self) -> None:
            await self.frame()
            self.phone.arrived(answer)
            await asyncio.sleep(0)
            self.drop()

    with pytest.raises(errors.NotThisToy):
        await client(Air(Toy(KEY), link=Impostor)).connect()


async def test_a_device_that_says_nothing_is_given_up() -> None:
    class Mute(Link):
        async def run(self) -> None:
            await self.to_toy.read()

    with pytest.raises(errors.LinkLost, match="in time"):
        await client(Air(Toy(KEY), link=Mute)).connect()


async def test_the_states_of_a_session() -> None:
    air = Air(Toy(KEY))
    (sighting,) = await air.sightings(1)
    session = Session(await air.open(sighting, 1), QUICK)
    states = [session.state]
    await session.open(KEY)
    states.append(session.state)
    await session.close()
    assert [*states, session.state] == [State.HELLO, State.READY, State.CLOSED]
    with pytest.raises(errors.LinkLost):
        await session.request(upkeep_wire.STATUS, b"", "tell its state")


# Requests


async def test_settings_are_read_changed_and_read_back() -> None:
    async with client(Air(Toy(KEY))) as toy:
        settings = await toy.settings()
        await toy.configure(settings.changed(volume=30, quiet=False))
        now = await toy.settings()
    assert (now.volume, now.quiet, now.volume_max) == (30, False, 80)


async def test_a_long_list_comes_in_several_answers() -> None:
    toy = Toy(KEY)
    for _ in range(2 * upkeep_wire.ENTRIES_MAX + 3):
        toy.record(make_message(1))
    async with client(Air(toy)) as phone:
        entries = await phone.entries(Box.OUTBOX)
    assert [e.sequence for e in entries] == list(range(1, 2 * upkeep_wire.ENTRIES_MAX + 4))


async def test_the_crash_log_is_read_whole_cleaned_and_cleared() -> None:
    toy = Toy(KEY)
    toy.crashlog = b"Traceback\x1b[2J\n" + b"x" * 3000
    async with client(Air(toy)) as phone:
        text = await phone.crashlog()
        assert "\x1b" not in text and len(text) == len(toy.crashlog)
        await phone.clear_crashlog()
        assert await phone.crashlog() == ""


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (wire.UNKNOWN, errors.ToyMisbehaves),
        (wire.FULL, errors.ToyFull),
        (wire.BUSY, errors.ToyBusy),
        (wire.NOT_FOUND, errors.NoSuchMessage),
        (wire.DAMAGED, errors.Damaged),
        (wire.FAILED, errors.ToyFailed),
        (250, errors.ToyMisbehaves),
    ],
)
async def test_each_refusal_is_an_error_of_its_own(
    status: int, error: type[errors.HushbearError]
) -> None:
    class Refusing(Toy):
        async def answer(self, link: Link, kind: int, tag: int, body: bytes) -> bytes:
            if kind == wire.SEND:
                raise Refused(status)
            return await super().answer(link, kind, tag, body)

    async with client(Air(Refusing(KEY))) as phone:
        with pytest.raises(error) as raised:
            await phone.send(make_message())
        assert raised.value.hint
        await phone.status()  # a refusal does not cost the link


async def test_a_toy_that_is_busy_for_a_moment_is_asked_again() -> None:
    class Busy(Toy):
        left = 3

        def offer(self, *args: Any) -> bytes:
            self.left -= 1
            if self.left >= 0:
                raise Refused(wire.BUSY)
            return super().offer(*args)

    toy = Busy(KEY)
    async with client(Air(toy)) as phone:
        await phone.send(make_message())
    assert len(toy.inbox()) == 1


async def test_delete_and_what_is_not_there() -> None:
    toy = Toy(KEY)
    toy.record(make_message(1))
    async with client(Air(toy)) as phone:
        entry = await only_entry(phone)
        await phone.delete(entry.box, entry.id)
        with pytest.raises(errors.NoSuchMessage):
            await phone.delete(entry.box, entry.id)
    assert not toy.boxes[wire.OUTBOX]


def test_a_message_is_found_by_how_its_id_begins() -> None:
    entries = [
        Entry(Box.INBOX, n, bytes([16 * 10 + n]) * 16, bytes(8), 320, None, False) for n in (1, 2)
    ]
    assert find(entries, "A1") is entries[0]
    for text in ("", "a", "b"):
        with pytest.raises(errors.NoSuchMessage):
            find(entries, text)


# Transfers


async def test_send_and_fetch_bring_every_byte(tmp_path: Path) -> None:
    toy, sent, answer = Toy(KEY), make_message(200), make_message(200)
    toy.record(answer)
    seen: list[tuple[int, int]] = []
    async with client(Air(toy)) as phone:
        await phone.send(sent, lambda done, total: seen.append((done, total)))
        fetched = await phone.fetch(await only_entry(phone), tmp_path / "part")
    assert toy.inbox() == [sent] and fetched == answer
    assert seen[0] == (0, len(sent)) and seen[-1] == (len(sent), len(sent))
    assert not toy.boxes[wire.OUTBOX][0].done


async def test_never_more_is_sent_than_was_granted() -> None:
    class Strict(Toy):
        granted = 0

        def offer(self, link: Link, tag: int, message_id: bytes, *args: Any) -> bytes:
            answer = super().offer(link, tag, message_id, *args)
            self.granted = struct.unpack(wire.SEND_RESPONSE, answer)[1]
            return answer

        async def data(self, link: Link, tag: int, body: bytes) -> None:
            assert struct.unpack_from("<I", body)[0] + len(body) - 4 <= self.granted
            await super().data(link, tag, body)

        async def grant(self, link: Link, tag: int, limit: int) -> None:
            self.granted = limit
            for _ in range(3):  # said three times, it counts once
                await super().grant(link, tag, limit)

    toy = Strict(KEY)
    async with client(Air(toy)) as phone:
        await phone.send(make_message(100))
    assert len(toy.inbox()) == 1


async def test_a_link_lost_at_any_frame_of_a_send_costs_nothing() -> None:
    content = make_message(20)
    for n in itertools.count(1):
        toy = Toy(KEY)
        air = Air(toy)
        air.lost = {n}
        async with client(air) as phone:
            await phone.send(content)
        assert toy.inbox() == [content]
        if air.frames < n:
            break
        assert toy.data_seen <= len(content) + wire.WINDOW
    assert n > 20


async def test_a_link_lost_at_any_frame_of_a_fetch_costs_nothing(tmp_path: Path) -> None:
    content = make_message(20)
    for n in itertools.count(1):
        toy = Toy(KEY)
        toy.record(content)
        air = Air(toy)
        air.lost = {n}
        directory = tmp_path / str(n)
        directory.mkdir()
        async with client(air) as phone:
            path, kept = await recordings.fetch_into(
                phone, await only_entry(phone), directory, directory
            )
        assert path.read_bytes().endswith(blocks_of(content))
        assert kept.read_bytes() == content
        assert toy.boxes[wire.OUTBOX][0].done
        assert set(directory.iterdir()) == {path, kept}
        if air.frames < n:
            break
    assert n > 12


async def test_a_link_that_is_lost_again_and_again_still_gets_there() -> None:
    toy, content = Toy(KEY), make_message(100)
    air = Air(toy)
    air.lost = set(range(12, 2000, 12))
    async with client(air) as phone:
        await phone.send(content)
    assert toy.inbox() == [content] and len(air.opened) > 5


async def test_a_toy_that_stays_away_is_given_up() -> None:
    toy = Toy(KEY)
    air = Air(toy)
    said: list[str] = []
    phone = Client(KEY, air, timing=QUICK, waiting=said.append)
    async with phone:
        air.lost = {air.frames + 6}
        air.opened.clear()

        async def gone(*_: object) -> None:
            raise errors.LinkLost("The toy is in sight, but connecting to it failed.")

        air.open = gone  # type: ignore[assignment, method-assign]
        with pytest.raises(errors.LinkLost, match="did not come back"):
            await phone.send(make_message())
    assert len(said) == QUICK.retries and "Trying again" in said[0]


async def test_a_message_sent_again_later_goes_on_and_arrives_once() -> None:
    toy, content = Toy(KEY), make_message(100)
    air = Air(toy)
    async with client(air) as phone:
        air.lost = {air.frames + 30}
        air_open, air.open = air.open, None  # type: ignore[method-assign, assignment]
        with pytest.raises(TypeError):
            await phone.send(content)
        air.open = air_open  # type: ignore[method-assign]
    before = toy.data_seen
    assert before > 4096
    for _ in range(2):
        async with client(air) as phone:
            await phone.send(content)
    assert toy.inbox() == [content]
    assert toy.data_seen == len(content)


async def test_a_fetch_goes_on_in_a_later_run(tmp_path: Path) -> None:
    toy, content = Toy(KEY), make_message(100)
    toy.record(content)
    (tmp_path / "part").write_bytes(content[:20000])
    async with client(Air(toy)) as phone:
        assert await phone.fetch(await only_entry(phone), tmp_path / "part") == content
    assert toy.data_sent == len(content) - 20000


async def test_a_message_that_is_listed_twice_is_one_file(tmp_path: Path) -> None:
    toy = Toy(KEY)
    content = make_message()
    toy.record(content)
    toy.record(content)
    async with client(Air(toy)) as phone:
        paths = {
            await recordings.fetch_into(phone, entry, tmp_path, tmp_path)
            for entry in await phone.entries(Box.OUTBOX)
        }
    assert len(paths) == 1 and set(*paths) == set(tmp_path.iterdir())
    assert toy.data_sent == len(content)


@pytest.mark.parametrize("left", [b"x" * 20000, b"x" * 600_000, b"x" * 40_000])
async def test_what_was_left_of_something_else_is_thrown_away(tmp_path: Path, left: bytes) -> None:
    toy, content = Toy(KEY), make_message(100)
    toy.record(content)
    (tmp_path / "part").write_bytes(left)
    async with client(Air(toy)) as phone:
        assert await phone.fetch(await only_entry(phone), tmp_path / "part") == content


async def test_fetched_is_said_only_when_the_file_is_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = Toy(KEY)
    toy.record(make_message())

    def disk_full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", disk_full)
    async with client(Air(toy)) as phone:
        with pytest.raises(errors.FileProblem, match="No space left"):
            await recordings.fetch_into(phone, await only_entry(phone), tmp_path, tmp_path)
    assert not toy.boxes[wire.OUTBOX][0].done
    assert wire.FETCHED not in toy.asked


# Toys that have the key and mean harm


class Faithless(Toy):
    """Answers one kind of request with given bytes."""

    def __init__(self, kind: int, answer: bytes) -> None:
        super().__init__(KEY)
        self.kind, self.wrong = kind, answer

    async def answer(self, link: Link, kind: int, tag: int, body: bytes) -> bytes:
        return self.wrong if kind == self.kind else await super().answer(link, kind, tag, body)


@pytest.mark.parametrize(
    ("kind", "answer", "operation"),
    [
        (upkeep_wire.STATUS, b"\xff" * 8, lambda p: p.status()),
        (
            upkeep_wire.STATUS,
            b"\xff" * struct.calcsize(upkeep_wire.STATUS_BODY),
            lambda p: p.status(),
        ),
        (
            upkeep_wire.SETTINGS,
            b"\xff" * struct.calcsize(settings_wire.SETTINGS_BODY),
            lambda p: p.settings(),
        ),
        (upkeep_wire.LIST, b"\xff" * (wire.ENTRY_SIZE + 1), lambda p: p.entries(Box.INBOX)),
        (upkeep_wire.LIST, bytes(wire.ENTRY_SIZE), lambda p: p.entries(Box.INBOX)),
        (wire.SEND, b"\xff" * 8, lambda p: p.send(make_message())),
        (wire.SEND, struct.pack("<II", 300, 299), lambda p: p.send(make_message())),
        (wire.SEND, b"", lambda p: p.send(make_message())),
    ],
)
async def test_impossible_answers_are_refused(kind: int, answer: bytes, operation: Any) -> None:
    async with client(Air(Faithless(kind, answer))) as phone:
        with pytest.raises(errors.ToyMisbehaves):
            await operation(phone)


@pytest.mark.parametrize("size", [0, 47, 48, 319, 321, 48 + 260 * 1920 + 272, 0xFFFFFFFF])
async def test_impossible_sizes_are_refused_before_anything_is_kept(
    tmp_path: Path, size: int
) -> None:
    toy = Faithless(wire.FETCH, struct.pack("<I", size))
    toy.record(make_message())
    async with client(Air(toy)) as phone:
        with pytest.raises(errors.ToyMisbehaves):
            await phone.fetch(await only_entry(phone), tmp_path / "part")
    assert not (tmp_path / "part").read_bytes()


async def test_lists_that_never_end_do() -> None:
    class Endless(Toy):
        async def answer(self, link: Link, kind: int, tag: int, body: bytes) -> bytes:
            if kind == upkeep_wire.LIST:
                after = struct.unpack(upkeep_wire.LIST_REQUEST, body)[1]
                stored = [
                    Stored(after + n, MESSAGE).entry()
                    for n in range(1, 1 + upkeep_wire.ENTRIES_MAX)
                ]
                return b"".join(stored)
            if kind == upkeep_wire.CRASHLOG:
                return b"x" * wire.DATA_MAX
            return await super().answer(link, kind, tag, body)

    async with client(Air(Endless(KEY))) as phone:
        with pytest.raises(errors.ToyMisbehaves, match="does not end"):
            await phone.entries(Box.INBOX)
        assert len(await phone.crashlog()) == CRASHLOG_MAX
    assert ENTRIES_MAX < 10_000


MESSAGE = make_message(1)
GREETING = (upkeep_wire.TIME, family_wire.FAMILY, family_wire.PHONES)


@pytest.mark.parametrize("wrong", ["offset", "past-end", "past-limit", "empty", "early-end"])
async def test_pieces_that_do_not_fit_are_refused(tmp_path: Path, wrong: str) -> None:
    class Wrong(Toy):
        async def stream(self, link: Link) -> None:
            assert link.download is not None
            tag, content, _, _ = link.download
            link.download = None
            if wrong == "early-end":
                await link.send(wire.END, tag, bytes(32))
                return
            offsets = {
                "offset": [wire.DATA_MAX],
                "past-end": range(0, NEVER, wire.DATA_MAX),
                "past-limit": range(0, NEVER, wire.DATA_MAX),
                "empty": [0],
            }[wrong]
            for offset in offsets:
                piece = b"" if wrong == "empty" else bytes(wire.DATA_MAX)
                await link.send(wire.DATA, tag, struct.pack("<I", offset) + piece)
                if offset > len(content) + 20000:
                    break

    toy = Wrong(KEY)
    toy.record(make_message(20 if wrong == "past-end" else 500))
    async with client(Air(toy)) as phone:
        with pytest.raises(errors.ToyMisbehaves):
            await phone.fetch(await only_entry(phone), tmp_path / "part")


async def test_a_digest_that_never_matches_is_given_up_and_nothing_is_kept(tmp_path: Path) -> None:
    class Forger(Link):
        async def send(self, kind: int, tag: int, body: bytes) -> None:
            await super().send(kind, tag, bytes(32) if kind == wire.END else body)

    toy = Toy(KEY)
    toy.record(make_message())
    async with client(Air(toy, link=Forger)) as phone:
        with pytest.raises(errors.Damaged):
            await phone.fetch(await only_entry(phone), tmp_path / "part")
    assert toy.asked.count(wire.FETCH) == 3 and not (tmp_path / "part").read_bytes()


async def test_a_message_of_another_id_is_refused(tmp_path: Path) -> None:
    toy = Toy(KEY)
    toy.record(make_message())
    async with client(Air(toy)) as phone:
        entry = await only_entry(phone)
        other = make_message()
        toy.boxes[wire.OUTBOX][0] = Stored(1, other)
        toy.find = lambda *_: toy.boxes[wire.OUTBOX][0]  # type: ignore[method-assign]
        with pytest.raises(errors.ToyMisbehaves, match="another message"):
            await phone.fetch(entry, tmp_path / "part")


async def test_a_commit_that_always_finds_damage_is_given_up() -> None:
    class Never(Toy):
        def commit(self, link: Link, message_id: bytes) -> None:
            self.parts.clear()
            raise Refused(wire.DAMAGED)

    toy = Never(KEY)
    async with client(Air(toy)) as phone:
        with pytest.raises(errors.Damaged):
            await phone.send(make_message())
    assert toy.asked.count(wire.COMMIT) == 3


@pytest.mark.parametrize("kind", ["silent", "no-grants", "flood", "garbage", "replay"])
async def test_a_toy_that_stalls_or_babbles_is_given_up_in_bounded_time(kind: str) -> None:
    class Babbler(Link):
        async def handle(self, record: int, tag: int, body: bytes) -> None:
            if record in GREETING or (record == wire.SEND and kind == "no-grants"):
                await super().handle(record, tag, body)
            elif kind == "flood":
                for _ in range(300):
                    await self.send(wire.DATA, 99, bytes(wire.DATA_MAX))
                    await asyncio.sleep(0)
            elif kind == "garbage":
                self.phone.arrived(b"\x20\0" + os.urandom(32))
            elif kind == "replay":
                sealed = bytes(self.noise.encrypt(bytes([wire.SEND | wire.RESPONSE, 99])))
                await self.put(sealed)
                await self.put(sealed)

    async with client(Air(Toy(KEY), link=Babbler)) as phone:
        async with asyncio.timeout(20):
            with pytest.raises(errors.LinkLost):
                await phone.send(make_message())
