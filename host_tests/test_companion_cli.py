"""The `hushbear` command: what it prints, its exit codes, its JSON, and the files it leaves."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from shutil import which

import numpy as np
import pytest
import soundfile

from host_tests.companion_command import Command, command_near, error_of, one_line
from host_tests.companion_toy import (
    FAMILY,
    SENDER,
    Air,
    Link,
    Refused,
    Toy,
    blocks_of,
    make_message,
)
from hushbear import upkeep_wire, wire
from hushbear_companion import link, sealing, speech
from hushbear_companion.cli_settings import parse_quiet_hours
from hushbear_companion.errors import UsageError
from hushbear_companion.keystore import KeyStore

KEY = bytes(range(32))
LINK = str(link.ToyLink(KEY))


@pytest.fixture
def toy() -> Toy:
    return Toy(KEY)


@pytest.fixture
def air(toy: Toy) -> Air:
    return Air(toy)


@pytest.fixture
def hushbear(air: Air, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    return command_near(air, tmp_path, monkeypatch)


@pytest.fixture
def known(hushbear: Command) -> Command:
    """The same, with the toy added."""
    assert hushbear("add", LINK).exit_code == 0
    return hushbear


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    path = tmp_path / "hello.wav"
    soundfile.write(path, 0.3 * np.sin(np.arange(32000) / 8), 16000)
    return path


# Toys


def test_add_keeps_the_key_private_and_says_the_name(hushbear: Command, tmp_path: Path) -> None:
    result = hushbear("add", LINK, "--name", "Bruno")
    assert (result.exit_code, result.stdout) == (0, "Bruno is known now.\n")
    path = tmp_path / "config" / "toys.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(hushbear("toys", "list", "--json").stdout) == {"toys": [{"name": "Bruno"}]}


def test_add_reads_the_link_from_stdin_so_that_no_shell_remembers_it(hushbear: Command) -> None:
    assert hushbear("add", text=LINK + "\n").exit_code == 0
    assert KeyStore().get("bear").key == KEY


def test_add_again_keeps_the_name(known: Command) -> None:
    known("add", LINK, "--name", "Bruno")
    assert json.loads(known("add", LINK, "--json").stdout) == {"toy": "Bruno"}


def test_add_refuses_what_is_no_link(hushbear: Command) -> None:
    result = hushbear("add", "hushbear://toy/short?v=1")
    assert result.exit_code == 2
    assert "no Hushbear link" in one_line(result)
    assert error_of(hushbear("add", "x", "--json"))["code"] == "bad-link"


def test_show_gives_the_link_and_the_qr_code(known: Command, tmp_path: Path) -> None:
    assert LINK in known("toys", "show").stdout
    result = known("toys", "show", "bear", "--png", tmp_path / "qr.png", "--json")
    assert json.loads(result.stdout)["link"] == LINK
    assert (tmp_path / "qr.png").exists()
    result = known("toys", "show", "--svg", tmp_path / "none" / "qr.svg")
    assert result.exit_code == 6 and "cannot be written" in one_line(result)


def test_forget(known: Command) -> None:
    assert known("toys", "forget", "bear").exit_code == 0
    result = known("status")
    assert result.exit_code == 8 and "hushbear add" in one_line(result)


def test_keys_that_others_can_read_are_refused(known: Command, tmp_path: Path) -> None:
    (tmp_path / "config" / "toys.json").chmod(0o644)
    result = known("status")
    assert result.exit_code == 11 and "chmod 600" in one_line(result)
    assert error_of(known("list", "--json"))["code"] == "keys-unsafe"


# Near the toy


def test_scan(hushbear: Command, air: Air) -> None:
    assert json.loads(hushbear("scan", "--json").stdout) == {
        "toys": [{"address": "0", "rssi": -50}]
    }
    assert "-50 dBm" in hushbear("scan").stdout
    air.in_sight = False
    assert hushbear("scan").exit_code == 3
    assert error_of(hushbear("scan", "--json"))["code"] == "not-found"


def test_send_puts_the_message_on_the_toy_once(known: Command, toy: Toy, sound: Path) -> None:
    result = known("send", sound, "--json")
    assert result.exit_code == 0
    values = json.loads(result.stdout)
    assert list(values) == ["toy", "file", "id", "size", "seconds", "delivered", "failed"]
    assert values["seconds"] == pytest.approx(2.0, abs=0.04)
    (content,) = toy.inbox()
    assert content[16:32].hex() == values["id"] and len(content) == values["size"]
    header, blocks = sealing.unseal(content, FAMILY)
    assert (header.sender, header.epoch) == (SENDER, 2)
    assert len(blocks) == 64 * 256 and KeyStore().get(None).family == FAMILY
    assert "has it: 2.0 s" in known("send", sound).stdout
    assert len(toy.inbox()) == 2  # once sent, the same file is another message


def test_a_send_that_failed_goes_on_and_arrives_once(
    known: Command, toy: Toy, air: Air, sound: Path, tmp_path: Path
) -> None:
    air.lost = set(range(20, 100))
    result = known("send", sound)
    assert result.exit_code == 5 and "same command again" in result.stderr.splitlines()[-1]
    (kept,) = (tmp_path / "config" / "outbox").iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    air.lost = set()
    assert known("send", sound).exit_code == 0
    assert len(toy.inbox()) == 1 and toy.data_seen < 1.5 * len(toy.inbox()[0])
    assert not list((tmp_path / "config" / "outbox").iterdir())


def test_fetch_writes_wavs_and_tells_the_toy(known: Command, toy: Toy, tmp_path: Path) -> None:
    for blocks in (10, 40):
        toy.record(make_message(blocks))
    result = known("fetch", tmp_path / "in", "--json")
    assert result.exit_code == 0
    values = json.loads(result.stdout)
    assert [f["seconds"] for f in values["fetched"]] == [0.32, 1.26] and not values["failed"]
    for row in values["fetched"]:
        assert list(row) == ["id", "file", "sealed", "seconds", "time"]
        assert soundfile.info(row["file"]).samplerate == 16000
        content = toy.find(wire.OUTBOX, bytes.fromhex(row["id"])).content
        assert Path(row["sealed"]).read_bytes() == content
        assert Path(row["file"]).read_bytes().endswith(blocks_of(content))
    assert all(stored.done for stored in toy.boxes[wire.OUTBOX])
    assert "Nothing new" in known("fetch", tmp_path / "in").stdout
    assert (
        json.loads(known("fetch", tmp_path / "in", "--all", "--json").stdout)["fetched"]
        == (values["fetched"])
    )
    assert len(list((tmp_path / "in").iterdir())) == 2


def test_one_bad_message_does_not_keep_the_others(
    known: Command, toy: Toy, tmp_path: Path
) -> None:
    good = make_message(10)
    toy.record(b"HBMG\x09" + make_message(10)[5:])
    toy.record(good)
    result = known("fetch", tmp_path / "in", "--json")
    values = json.loads(result.stdout)
    assert result.exit_code == 6
    assert [row["id"] for row in values["fetched"]] == [good[16:32].hex()]
    assert values["failed"][0]["error"]["code"] == "bad-message"


def test_list_and_delete(known: Command, toy: Toy, sound: Path) -> None:
    assert "no messages" in known("list").stdout
    known("send", sound)
    toy.record(make_message(40, time=0))
    rows = json.loads(known("list", "--json").stdout)["messages"]
    assert [row["box"] for row in rows] == ["inbox", "outbox"]
    assert [row["from"] for row in rows] == ["here", "toy"]
    assert rows[1]["time"] is None and rows[0]["time"].endswith("+00:00")
    shown = known("list").stdout
    assert rows[0]["id"][:8] in shown and "not fetched yet" in shown
    begin = rows[1]["id"][:8]
    result = known("delete", begin)
    assert result.exit_code == 2 and "--force" in one_line(result)
    result = known("delete", begin, "--force", "--json")
    assert json.loads(result.stdout)["deleted"] == [{"id": rows[1]["id"], "box": "outbox"}]
    assert known("delete", begin).exit_code == 8
    assert not toy.boxes[wire.OUTBOX]


@pytest.mark.parametrize("seconds", [0, 1, 0x7FFFFFFF, 0xFFFFFFFF])
def test_messages_of_any_time_are_listed_and_fetched(
    known: Command, toy: Toy, tmp_path: Path, seconds: int
) -> None:
    toy.record(make_message(1, time=seconds))
    (row,) = json.loads(known("list", "--json").stdout)["messages"]
    assert (row["time"] is None) == (seconds == 0)
    assert known("list").exit_code == 0
    assert known("fetch", tmp_path / "in").exit_code == 0
    assert len(list((tmp_path / "in").iterdir())) == 1


def test_status(known: Command, toy: Toy) -> None:
    toy.crashlog = b"x" * 10
    assert "crash log 10 bytes" in known("status").stdout
    values = json.loads(known("status", "--json").stdout)
    assert values["firmware"] == "0.1" and values["battery_mv"] is None
    assert values["doing"] == "idle" and values["crashlog"] == 10


def test_settings_are_shown_and_set(known: Command) -> None:
    assert "20:00-07:00" in known("settings").stdout
    result = known(
        *("settings", "--volume", 35, "--volume-max", 70, "--led", 5, "--record-min", 0.8),
        *("--record-max", 30, "--quiet-hours", "19:30-6:45", "--keep-days", 30),
        *("--keep-until-heard", "on", "--language", "de", "--json"),
    )
    assert json.loads(result.stdout)["settings"] == {
        "volume": 35,
        "volume_max": 70,
        "led": 5,
        "quiet_hours": {"on": True, "from": "19:30", "to": "06:45"},
        "record_min": 0.8,
        "record_max": 30,
        "keep_days": 30,
        "keep_until_heard": True,
        "language": "de",
    }
    assert "messages     kept for 30 days, or until heard or fetched" in known("settings").stdout
    arguments = ("--keep-days", 0, "--keep-until-heard", "off", "--led", "off", "--language", "")
    shown = known("settings", *arguments).stdout
    assert "messages     kept as long as there is room" in shown
    assert "led          off, but while it records" in shown
    assert "language     the first that it was given" in shown
    assert "quiet hours  off" in known("settings", "--quiet-hours", "off").stdout
    assert "19:30-06:45" in known("settings", "--quiet-hours", "on").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["--volume", "101"],
        ["--volume", "loud"],
        ["--record-min", "0.2"],
        ["--record-max", "61"],
        ["--quiet-hours", "25:00-07:00"],
        ["--quiet-hours", "07:00-07:00"],
        ["--record-min", "2", "--record-max", "1"],
        ["--led", "-1"],
        ["--led", "dark"],
        ["--led", "101"],
        ["--keep-days", "-1"],
        ["--keep-days", "366"],
        ["--keep-until-heard", "perhaps"],
        ["--language", "DE"],
        ["--language", "deu"],
        ["--no-such-option"],
    ],
)
def test_settings_out_of_range_are_usage_errors_before_anything_is_sent(
    known: Command, toy: Toy, arguments: list[str]
) -> None:
    result = known("settings", *arguments)
    assert result.exit_code == 2 and one_line(result)
    assert error_of(known("settings", *arguments, "--json"))["code"] in ("usage",)
    assert not toy.asked


def test_a_name_is_recorded_or_spoken_and_taken_away(
    known: Command, toy: Toy, tmp_path: Path
) -> None:
    path = tmp_path / "name.wav"
    soundfile.write(path, np.sin(np.arange(16000) / 9) / 4, 16000)
    assert "spoken name  none" in known("settings").stdout
    assert json.loads(known("settings", "--spoken-name", path, "--json").stdout)[
        "spoken_name"
    ] == pytest.approx(1.0, abs=0.1)
    recorded = toy.name
    assert recorded == speech.recorded_name(path)
    if which("espeak-ng"):
        toy.settings = toy.settings[:-2] + b"de"
        assert "spoken name  none" not in known("settings", "--spoken-name", "Bärbel").stdout
        assert toy.name == speech.spoken_name("Bärbel", "de")
    assert known("settings", "--spoken-name", "").exit_code == 0
    assert toy.name == b""


@pytest.mark.parametrize("name", ["missing.wav", "...", "x" * 61, "x" * 5000])
def test_what_cannot_be_its_name_is_told_before_anything_is_sent(
    known: Command, toy: Toy, name: str
) -> None:
    result = known("settings", "--spoken-name", name, "--volume", 1)
    assert result.exit_code in (2, 6) and one_line(result)
    assert not toy.asked


def test_a_language_that_the_toy_does_not_speak_changes_nothing(known: Command, toy: Toy) -> None:
    before, toy.languages = toy.settings, {"de"}
    result = known("settings", "--language", "fr", "--volume", 1)
    assert result.exit_code == 8 and "'fr'" in one_line(result)
    assert toy.settings == before
    assert known("settings", "--language", "de").exit_code == 0


def test_a_longest_recording_below_the_shortest_is_a_usage_error(known: Command) -> None:
    assert known("settings", "--record-min", 2).exit_code == 0
    result = known("settings", "--record-max", 1)
    assert result.exit_code == 2 and "shortest" in one_line(result)


@pytest.mark.parametrize("text", ["", "20-7", "20:00", "20:60-07:00", "২০:00-07:00", "OFF"])
def test_quiet_hours_are_parsed_strictly(text: str) -> None:
    with pytest.raises(UsageError, match="20:00-07:00"):
        parse_quiet_hours(text)


def test_crashlog(known: Command, toy: Toy) -> None:
    assert "empty" in known("crashlog").stdout
    toy.crashlog = b"Traceback: ring\n"
    assert known("crashlog").stdout == "Traceback: ring\n"
    values = json.loads(known("crashlog", "--clear", "--json").stdout)
    assert values == {"toy": "bear", "crashlog": "Traceback: ring\n", "cleared": True}
    assert toy.crashlog == b""


STEERING = "\x1b[2J\x9b31m\x07\r\u202e\u200f[bold red]"


def test_nothing_that_a_toy_says_steers_a_terminal(
    known: Command, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toy, "firmware", b"\x1b[2J[b]\r\n\x9b")
    toy.crashlog = f"before {STEERING} after\n".encode()
    toy.record(make_message(1, sender=b"\x1b[2J[b]\x07"))
    for command in ("status", "crashlog", "list"):
        for result in (known(command), known(command, "--json")):
            assert result.exit_code == 0
            assert not [c for c in result.stdout if not c.isprintable() and c != "\n"]
    assert "[bold red] after" in known("crashlog").stdout  # as it is: no markup
    assert "[b]" in known("status").stdout


def test_the_name_of_a_file_does_not_steer_a_terminal(known: Command, tmp_path: Path) -> None:
    path = tmp_path / f"a{STEERING}.wav"
    path.write_bytes(b"")
    assert one_line(known("send", path)).isprintable()


# What goes wrong


def test_no_toy_in_sight(known: Command, air: Air) -> None:
    air.in_sight = False
    result = known("status")
    assert result.exit_code == 3 and "few metres" in one_line(result)


def test_the_wrong_key(hushbear: Command) -> None:
    hushbear("add", str(link.ToyLink(os.urandom(32))))
    result = hushbear("status")
    assert result.exit_code == 4 and "does not answer to the key" in one_line(result)
    assert error_of(hushbear("status", "--json"))["code"] == "refused"


@pytest.mark.parametrize(
    ("status", "code", "exit_code"),
    [
        (wire.FULL, "toy-full", 7),
        (wire.BUSY, "toy-busy", 9),
        (wire.FAILED, "toy-failed", 10),
        (wire.MALFORMED, "misbehaves", 10),
    ],
)
def test_refusals_have_codes_of_their_own(
    known: Command, toy: Toy, sound: Path, status: int, code: str, exit_code: int
) -> None:
    def refuse(*_: object) -> bytes:
        raise Refused(status)

    toy.offer = refuse  # type: ignore[assignment, method-assign]
    result = known("send", sound, "--json")
    assert result.exit_code == exit_code and error_of(result)["code"] == code
    assert one_line(known("send", sound))


def test_files_that_cannot_be_sent(known: Command, toy: Toy, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear bear")
    for name in ("letter.txt", "none.wav", "."):
        result = known("send", tmp_path / name)
        assert result.exit_code == 6 and one_line(result)
    assert error_of(known("send", tmp_path / "letter.txt", "--json"))["code"] == "bad-file"
    assert not toy.asked


def test_a_directory_that_cannot_be_made(known: Command, sound: Path) -> None:
    result = known("fetch", sound)
    assert result.exit_code == 6 and "cannot be written" in one_line(result)


def test_several_toys_need_a_choice(known: Command) -> None:
    known("add", str(link.ToyLink(os.urandom(32))), "--name", "rabbit")
    result = known("status")
    assert result.exit_code == 2 and "--toy" in one_line(result)
    assert known("status", "--toy", "bear").exit_code == 0


def test_a_bug_is_one_line_too(known: Command, toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("oops")

    monkeypatch.setattr("hushbear_companion.records.parse_status", broken)
    result = known("status")
    assert result.exit_code == 1 and "KeyError" in one_line(result)


def test_an_interrupt_is_one_line(known: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hushbear_companion.records.parse_status", interrupt)
    result = known("status", "--json")
    assert result.exit_code == 130 and error_of(result)["code"] == "interrupted"


def test_a_toy_that_drops_every_link_is_given_up(known: Command, air: Air) -> None:
    class Dropping(Link):
        async def handle(self, kind: int, tag: int, body: bytes) -> None:
            if kind == upkeep_wire.STATUS:
                raise ConnectionError
            await super().handle(kind, tag, body)

    air._link = Dropping
    result = known("status", "--json")
    assert result.exit_code == 5 and error_of(result)["code"] == "link-lost"


def test_help_and_start_up_load_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from hushbear_companion.cli import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit as done:\n    assert not done.code\n"
        "heavy = {'numpy', 'scipy', 'bleak', 'soundfile', 'bumble', 'cryptography', 'segno'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for command in ("scan", "add", "send", "fetch", "list", "delete", "status", "settings"):
        assert command in done.stdout


def test_the_version(hushbear: Command) -> None:
    result = hushbear("--version")
    assert result.exit_code == 0 and result.stdout.startswith("hushbear 0.")


def test_a_radio_that_is_not_there() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hushbear_companion", "scan", "--json", "--radio", "nonsense:1"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 12, done
    assert json.loads(done.stdout)["error"]["code"] == "no-bluetooth"
