"""`hushbear seal`, `receive`, `inbox`, `play`, `approve`, `refuse` and `deliver`."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from host_tests.companion_command import Command, command_near, error_of, one_line
from host_tests.companion_toy import FAMILY, SENDER, Air, Toy, blocks_of, make_message
from hushbear import wire
from hushbear_companion import link, sealing
from hushbear_companion.keystore import KeyStore

KEY = bytes(range(32))
LINK = str(link.ToyLink(KEY))
GRANDMA = b"grandma\0"
STRANGER = b"stranger"


@pytest.fixture
def toy() -> Toy:
    return Toy(KEY)


@pytest.fixture
def air(toy: Toy) -> Air:
    return Air(toy)


@pytest.fixture
def hushbear(air: Air, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.delenv("HUSHBEAR_PLAYER", raising=False)
    return command_near(air, tmp_path, monkeypatch)


@pytest.fixture
def known(hushbear: Command, toy: Toy) -> Command:
    """The command, with a toy that it has been connected to."""
    assert hushbear("add", LINK).exit_code == 0
    assert hushbear("status").exit_code == 0
    toy.asked.clear()
    return hushbear


Post = Callable[..., Path]


@pytest.fixture
def post(tmp_path: Path) -> Post:
    """Returns a file with a message from somebody."""

    def post(sender: bytes = GRANDMA, content: bytes | None = None, **options: Any) -> Path:
        content = content or make_message(sender=sender, **options)
        path = tmp_path / f"{content[16:32].hex()}.hushbear"
        path.write_bytes(content)
        return path

    return post


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    path = tmp_path / "hello.wav"
    soundfile.write(path, 0.3 * np.sin(np.arange(32000) / 8), 16000)
    return path


def values_of(result: Any) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(result.stdout)
    return values


def received(hushbear: Command, *paths: Path) -> list[str]:
    """Take files in; return the messages' ids."""
    result = hushbear("receive", *paths, "--json")
    assert result.exit_code == 0, result.stdout
    return [row["id"] for row in values_of(result)["received"]]


# The whole way


def test_from_one_members_file_to_the_toy(known: Command, toy: Toy, post: Post) -> None:
    path = post()
    result = known("receive", path)
    assert result.exit_code == 0 and "from Grandma, 0.6 s: waiting" in result.stdout
    short = path.name[:8]
    assert "Grandma" in known("inbox").stdout and short in known("inbox").stdout
    assert "Nothing that is approved" in known("deliver").stdout and not toy.inbox()
    assert "1 message approved" in known("approve", short).stdout
    assert "approved" in known("inbox").stdout
    result = known("deliver")
    assert f"bear has {short} from Grandma, 0.6 s." in result.stdout
    assert toy.inbox() == [path.read_bytes()]
    assert "Nothing waits for bear" in known("inbox").stdout
    toy.boxes[wire.INBOX][0].done = True
    known("deliver")
    assert "heard" in known("inbox", "--all").stdout


def test_the_same_for_programs(known: Command, toy: Toy, post: Post) -> None:
    path = post()
    message_id = path.stem
    (row,) = values_of(known("receive", path, "--json"))["received"]
    assert list(row) == [
        *("file", "id", "from", "name", "size", "seconds", "time", "received", "state"),
        *("changed", "new"),
    ]
    assert (row["id"], row["from"], row["name"]) == (message_id, GRANDMA.hex(), "Grandma")
    assert row["new"] and row["state"] == "waiting" and row["time"].endswith("+00:00")
    values = values_of(known("inbox", "--json"))
    assert [each["state"] for each in values["messages"]] == ["waiting"]
    assert values["toy"] == "bear" and values["always"] == []
    values = values_of(known("approve", message_id, "--json"))
    assert [each["state"] for each in values["approved"]] == ["approved"]
    assert values_of(known("deliver", "--json")) == {
        "toy": "bear",
        "delivered": [{"id": message_id, "from": GRANDMA.hex(), "name": "Grandma"}],
        "failed": [],
    }
    assert values_of(known("inbox", "--json"))["messages"] == []
    (row,) = values_of(known("inbox", "--all", "--json"))["messages"]
    assert row["state"] == "delivered"


def test_the_next_send_delivers_too(known: Command, toy: Toy, post: Post, sound: Path) -> None:
    message_id, other = received(known, post(), post())
    known("approve", message_id)
    result = known("send", sound, "--json")
    assert [row["id"] for row in values_of(result)["delivered"]] == [message_id]
    assert [stored[32:40] for stored in toy.inbox()] == [SENDER, GRANDMA]
    known("approve", other)
    result = known("send", sound)
    assert "bear has it" in result.stdout and f"{other[:8]} from Grandma" in result.stdout


def test_a_fetch_is_done_even_if_the_inbox_cannot_be_used(
    known: Command, toy: Toy, post: Post, tmp_path: Path
) -> None:
    received(known, post())
    toy.record(make_message())
    (database,) = tmp_path.glob("config/data/*/inbox.db")
    database.write_bytes(b"x" * 1000)
    result = known("fetch", tmp_path / "answers")
    assert result.exit_code == 0 and "left alone" in result.stderr
    assert len(list((tmp_path / "answers").iterdir())) == 1


def test_a_send_is_done_even_if_the_inbox_is_not(
    known: Command, toy: Toy, sound: Path, post: Post, tmp_path: Path
) -> None:
    known("approve", *received(known, post(blocks=100)))
    toy.room = 17000  # for what is sent, and not for the other
    result = known("send", sound, "--json")
    assert result.exit_code == 0 and len(toy.inbox()) == 1
    assert values_of(result)["failed"][0]["error"]["code"] == "toy-full"
    assert "failed: The toy has no room" in known("send", sound).stdout
    (database,) = tmp_path.glob("config/data/*/inbox.db")
    database.write_bytes(b"x" * 1000)
    result = known("send", sound)
    assert result.exit_code == 0 and "left alone" in result.stderr and len(toy.inbox()) == 3


def test_a_toy_without_room(known: Command, toy: Toy, post: Post) -> None:
    (message_id,) = received(known, post())
    known("approve", message_id)
    toy.room = 100
    result = known("deliver", "--json")
    assert result.exit_code == 7
    assert values_of(result)["failed"][0]["error"]["code"] == "toy-full"
    assert "failed" in known("deliver").stdout
    toy.room = 1 << 20
    assert known("deliver").exit_code == 0 and len(toy.inbox()) == 1


def test_a_toy_out_of_sight(known: Command, air: Air, post: Post) -> None:
    known("approve", *received(known, post()))
    air.in_sight = False
    result = known("deliver")
    assert result.exit_code == 3 and "few metres" in one_line(result)


# Sealing and receiving


def test_a_sealed_file_is_for_the_family(known: Command, sound: Path, tmp_path: Path) -> None:
    out = tmp_path / "hello.hushbear"
    values = values_of(known("seal", sound, out, "--json"))
    content = out.read_bytes()
    header, _ = sealing.unseal(content, FAMILY)
    assert (header.sender, header.epoch) == (SENDER, 2)
    assert values == {
        "toy": "bear",
        "file": str(out),
        "id": header.id.hex(),
        "size": len(content),
        "seconds": 2.02,
    }
    assert "sealed for the family of bear" in known("seal", sound, tmp_path / "again").stdout
    assert (tmp_path / "again").read_bytes()[16:32] != header.id
    assert known("receive", out).exit_code == 0


def test_sealing_needs_the_familys_key_and_a_place(
    hushbear: Command, sound: Path, tmp_path: Path
) -> None:
    hushbear("add", LINK)
    result = hushbear("seal", sound, tmp_path / "out")
    assert result.exit_code == 10 and "hushbear status" in one_line(result)
    hushbear("status")
    result = hushbear("seal", sound, tmp_path / "none" / "out")
    assert result.exit_code == 6 and "cannot be written" in one_line(result)


def test_a_file_that_comes_again(known: Command, post: Post) -> None:
    path = post()
    received(known, path)
    result = known("receive", path)
    assert result.exit_code == 0 and "here before, waiting" in result.stdout
    assert not values_of(known("receive", path, "--json"))["received"][0]["new"]


def test_files_that_are_no_messages(known: Command, post: Post, tmp_path: Path) -> None:
    letter = tmp_path / "letter.txt"
    letter.write_text("Dear bear")
    for path in (letter, tmp_path / "none", tmp_path):
        result = known("receive", path)
        assert result.exit_code == 6 and one_line(result)
    altered = bytearray(make_message(sender=GRANDMA))
    altered[999] ^= 4
    bad = post(content=bytes(altered))
    assert error_of(known("receive", bad, "--json"))["code"] == "broken"
    newer = post(content=make_message(sender=GRANDMA, family={3: bytes(32)}))
    assert "hushbear status" in one_line(known("receive", newer))
    child = post(content=make_message())
    assert "own child" in one_line(known("receive", child))
    result = known("receive", post(), bad, letter, "--json")
    assert result.exit_code == 6 and len(values_of(result)["received"]) == 1
    assert [row["error"]["code"] for row in values_of(result)["failed"]] == [
        "broken",
        "bad-message",
    ]
    assert len(values_of(known("inbox", "--json"))["messages"]) == 1


def test_a_huge_file_is_not_read_whole(known: Command, tmp_path: Path) -> None:
    path = tmp_path / "huge"
    path.write_bytes(make_message(sender=GRANDMA))
    os.truncate(path, 1 << 40)
    assert known("receive", path).exit_code == 6


# Approving and refusing


def test_always(known: Command, toy: Toy, post: Post) -> None:
    waiting, other = received(known, post(), post(STRANGER))
    result = known("approve", "--always", "grandma")
    assert "1 message approved" in result.stdout
    assert "What Grandma sends needs no approval" in result.stdout
    (later,) = received(known, post())
    assert "Approved always: Grandma" in known("inbox").stdout
    assert values_of(known("inbox", "--json"))["always"] == [
        {"id": GRANDMA.hex(), "name": "Grandma"}
    ]
    delivered = values_of(known("deliver", "--json"))["delivered"]
    assert [row["id"] for row in delivered] == [waiting, later]
    assert "waits again" in known("approve", "--ask", "Grandma").stdout
    received(known, post())
    assert not values_of(known("deliver", "--json"))["delivered"]
    rows = values_of(known("inbox", "--json"))["messages"]
    assert rows[0]["id"] == other and [row["state"] for row in rows] == ["waiting"] * 2


def test_always_is_not_for_older_keys(known: Command, toy: Toy, post: Post) -> None:
    known("approve", "--always", "Grandma")
    received(known, post(family={1: FAMILY[1]}), post())
    states = [row["state"] for row in values_of(known("inbox", "--json"))["messages"]]
    assert states == ["waiting", "approved"]
    toy.family[3] = os.urandom(32)
    assert "Nothing that is approved" in known("deliver").stdout and not toy.inbox()
    states = [row["state"] for row in values_of(known("inbox", "--json"))["messages"]]
    assert states == ["waiting", "waiting"]


def test_a_member_whose_name_is_not_known_is_named_by_id(known: Command, post: Post) -> None:
    received(known, post(STRANGER))
    assert STRANGER.hex() in known("inbox").stdout
    assert known("approve", "--always", STRANGER.hex()).exit_code == 0
    assert values_of(known("inbox", "--json"))["always"] == [{"id": STRANGER.hex(), "name": None}]


def test_an_imitated_name_is_no_approval(known: Command, toy: Toy, post: Post) -> None:
    toy.phones[5] = (STRANGER, 0, b"Grandma")
    known("phones")
    received(known, post(STRANGER))
    assert f"Grandma ({STRANGER.hex()})" in known("inbox").stdout
    result = known("approve", "--always", "Grandma")
    assert result.exit_code == 8 and GRANDMA.hex() in one_line(result)
    assert known("approve", "--always", GRANDMA.hex()).exit_code == 0
    assert [row["state"] for row in values_of(known("inbox", "--json"))["messages"]] == ["waiting"]


@pytest.mark.parametrize("member", ["nobody", "", "parent", SENDER.hex()])
def test_members_that_are_not_there(known: Command, post: Post, member: str) -> None:
    received(known, post())
    result = known("approve", "--always", member)
    assert result.exit_code == 8 and "hushbear phones" in one_line(result)
    assert error_of(known("approve", "--ask", member, "--json"))["code"] == "no-such-member"


def test_refused_is_final(known: Command, toy: Toy, post: Post) -> None:
    path = post()
    (message_id,) = received(known, path)
    known("approve", message_id)
    result = known("refuse", message_id[:8], "--json")
    assert values_of(result) == {"toy": "bear", "refused": [{"id": message_id}]}
    assert "here before, refused" in known("receive", path).stdout
    for command in (["approve", message_id], ["play", message_id], ["refuse", message_id]):
        result = known(*command)
        assert result.exit_code == 8 and "was refused" in one_line(result)
    known("approve", "--always", "Grandma")
    assert "Nothing that is approved" in known("deliver").stdout and not toy.inbox()
    assert "refused" in known("inbox", "--all").stdout


def test_refusing_is_for_all_or_none(known: Command, toy: Toy, post: Post) -> None:
    heard, waiting = received(known, post(), post())
    known("approve", heard)
    known("deliver")
    toy.find(wire.INBOX, bytes.fromhex(heard)).done = True
    known("deliver")
    result = known("refuse", waiting, heard)
    assert result.exit_code == 2 and f"hushbear delete {heard[:8]}" in one_line(result)
    assert known("delete", heard[:8]).exit_code == 0 and not toy.inbox()
    assert known("refuse", waiting).stdout == "1 message deleted for good.\n"


def test_what_is_refused_goes_from_the_toy(known: Command, toy: Toy, post: Post) -> None:
    (delivered,) = received(known, post())
    known("approve", delivered)
    known("deliver")
    assert len(toy.inbox()) == 1
    assert "has 1 message of them" in known("refuse", delivered).stdout
    known("deliver")
    assert not toy.inbox()


def test_ids_that_are_not_there(known: Command, post: Post) -> None:
    for command in ("approve", "refuse", "play"):
        result = known(command, "00000000")
        assert result.exit_code == 8 and "hushbear inbox" in one_line(result)
        assert error_of(known(command, "", "--json"))["code"] == "no-such-message"
    contents = [make_message(sender=GRANDMA) for _ in range(17)]
    ids = received(known, *(post(content=content) for content in contents))
    twice = next(a for n, a in enumerate(ids) if any(b[0] == a[0] for b in ids[:n]))
    result = known("refuse", twice[0])
    assert result.exit_code == 8 and "more of the id" in one_line(result)
    assert len(values_of(known("inbox", "--json"))["messages"]) == 17


def test_approving_needs_a_name(known: Command) -> None:
    result = known("approve")
    assert result.exit_code == 2 and "--always" in one_line(result)


def test_a_toy_that_is_not_known(hushbear: Command, post: Post) -> None:
    for command in (["inbox"], ["receive", str(post())], ["deliver"], ["refuse", "x"]):
        assert hushbear(*command).exit_code == 8


def test_what_others_say_does_not_steer_a_terminal(known: Command, toy: Toy, post: Post) -> None:
    toy.phones[5] = (b"\x1b[2J[b]\x07", 0, b"\x1b[2J[red]\x07")
    known("phones")
    path = post(b"\x1b[2J[b]\x07")
    for result in (known("receive", path), known("inbox"), known("inbox", "--json")):
        assert result.exit_code == 0
        assert not [c for c in result.stdout if not c.isprintable() and c != "\n"]


# Playing


@pytest.fixture
def player(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A command that plays into this file."""
    heard = tmp_path / "heard.wav"
    program = tmp_path / "player.py"
    program.write_text(f"import shutil, sys\nshutil.copy(sys.argv[-1], {str(heard)!r})\n")
    monkeypatch.setenv("HUSHBEAR_PLAYER", f"'{sys.executable}' '{program}'")
    return heard


def test_play(
    known: Command, post: Post, player: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = tmp_path / "temporary"
    places.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(places))
    path = post()
    (message_id,) = received(known, path)
    result = known("play", message_id[:8])
    assert result.exit_code == 0 and "Grandma, 0.6 s" in result.stderr
    samples, rate = soundfile.read(player, dtype="int16")
    assert soundfile.info(player).subtype == "PCM_16" and rate == 16000
    assert known("play", message_id, "--out", tmp_path / "m.wav").exit_code == 0
    assert np.array_equal(samples, soundfile.read(tmp_path / "m.wav", dtype="int16")[0])
    assert not list(places.iterdir())  # nothing that could be heard is left behind


def test_play_into_a_file(known: Command, post: Post, tmp_path: Path) -> None:
    path = post()
    received(known, path)
    out = tmp_path / "m.wav"
    result = known("play", path.stem, "--out", out, "--json")
    values = values_of(result)
    assert (values["id"], values["file"], values["state"]) == (path.stem, str(out), "waiting")
    assert out.read_bytes().endswith(blocks_of(path.read_bytes()))
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    result = known("play", path.stem, "--out", tmp_path / "none" / "m.wav")
    assert result.exit_code == 6 and one_line(result)


@pytest.mark.parametrize("command", ["none-such-player", "false", "'", "/"])
def test_no_player(
    known: Command, post: Post, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    path = post()
    received(known, path)
    monkeypatch.setenv("HUSHBEAR_PLAYER", command)
    result = known("play", path.stem, "--json")
    assert result.exit_code == 14 and error_of(result)["code"] == "no-player"
    assert "--out" in error_of(result)["hint"]


def test_a_player_without_a_sound_server_lets_the_next_one_try(
    known: Command, post: Post, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, does in (("pw-play", "exit 1"), ("aplay", f'cp "$2" {tmp_path}/heard.wav')):
        (programs / name).write_text(f"#!/bin/sh\n{does}\n")
        (programs / name).chmod(0o755)
    path = post()
    received(known, path)
    monkeypatch.setenv("PATH", f"{programs}:/bin")
    assert known("play", path.stem).exit_code == 0
    assert soundfile.info(tmp_path / "heard.wav").subtype == "PCM_16"


def test_what_was_heard_cannot_be_played_any_more(known: Command, toy: Toy, post: Post) -> None:
    (message_id,) = received(known, post())
    known("approve", message_id)
    known("deliver")
    toy.boxes[wire.INBOX][0].done = True
    known("deliver")
    result = known("play", message_id)
    assert result.exit_code == 8 and "heard" in one_line(result)
    assert KeyStore().get(None).members[GRANDMA].name == "Grandma"
