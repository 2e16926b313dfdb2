"""Settings: checked, saved whole, and never a reason not to start."""

import struct
import zlib
from typing import Any

import pytest

from host_tests.ram_flash import SOURCE
from host_tests.targets import Target, dedent
from hushbear.settings_wire import QUIET_HOURS, SETTINGS_BODY, UNTIL_HEARD

DEFAULTS = struct.pack(SETTINGS_BODY, 70, 85, 60, 0, 19 * 60 + 30, 7 * 60, 300, 40, 0, b"")
FLAGS = QUIET_HOURS | UNTIL_HEARD
OTHERS = struct.pack(SETTINGS_BODY, 30, 50, 10, FLAGS, 20 * 60, 6 * 60, 500, 10, 30, b"")

SETTINGS = """
from hushbear import settings_file
from hushbear.settings import Settings
from hushbear.settings_file import body, change

PATH = "/flash/settings.bin"


def settings():
    return Settings(PATH, log.append)


def taken(settings):
    return (
        settings.volume, settings.brightness, settings.quiet_from, settings.quiet_to,
        settings.record_min_ms, settings.record_max_s, settings.voice,
    )
"""


def run(target: Target, source: str, **args: object) -> Any:
    return target.run(SOURCE + SETTINGS + dedent(source), args=args)


def test_settings_survive_a_restart(target: Target) -> None:
    assert run(
        target,
        """
        flash = new_flash(16)
        first = settings()
        before = body(first), taken(first)
        change(first, others)
        now = taken(first)
        restart(flash)
        again = settings()
        kept = settings_file.kept(again)
        result((before, body(again), now, taken(again) == now, kept, log))
        """,
        others=OTHERS,
    ) == (
        (DEFAULTS, (70, 60, 0, 0, 300, 40, "/voice")),
        OTHERS,
        (30, 10, 1200, 360, 500, 10, "/voice"),
        True,
        (30, True),
        [],
    )


@pytest.mark.parametrize(
    "values",
    [
        (101, 85, 60, 0, 0, 0, 300, 40, 0, b""),
        (70, 101, 60, 0, 0, 0, 300, 40, 0, b""),
        (70, 85, 255, 0, 0, 0, 300, 40, 0, b""),
        (70, 85, 60, 4, 0, 0, 300, 40, 0, b""),
        (70, 85, 60, 0, 1440, 0, 300, 40, 0, b""),
        (70, 85, 60, 0, 0, 65535, 300, 40, 0, b""),
        (70, 85, 60, 0, 0, 0, 299, 40, 0, b""),
        (70, 85, 60, 0, 0, 0, 5001, 40, 0, b""),
        (70, 85, 60, 0, 0, 0, 300, 0, 0, b""),
        (70, 85, 60, 0, 0, 0, 300, 61, 0, b""),
        (70, 85, 60, 0, 0, 0, 1001, 1, 0, b""),
        (70, 85, 60, 0, 0, 0, 300, 40, 366, b""),
        (70, 85, 60, 0, 0, 0, 300, 40, 0, b"/."),
        (70, 85, 60, 0, 0, 0, 300, 40, 0, b"\xc3\xa4"),
    ],
)
def test_a_value_out_of_range_changes_nothing(target: Target, values: tuple[Any, ...]) -> None:
    assert run(
        target,
        """
        flash = new_flash(16)
        first = settings()
        refused = 0
        before = taken(first)
        for wrong in (new, new[:-1], new + b"0", new[:12], b""):
            try:
                change(first, wrong)
            except ValueError:
                refused += 1
        result((refused, body(first), taken(first) == before, os.listdir("/flash")))
        """,
        new=struct.pack(SETTINGS_BODY, *values),
    ) == (5, DEFAULTS, True, [])


@pytest.mark.parametrize(
    "damage",
    [
        "data[7] ^= 1",
        "data[-1] ^= 128",
        "data = data[:10]",
        "data = b''",
        "data += b'0'",
        "data = bytes(24)",
        "data[3] ^= 9",
        "data = b'HBS3' + data[4:-4]; data += struct.pack('<I', crc32(data))",
        "data = b'HBS1' + data[4:-4]; data += struct.pack('<I', crc32(data))",
        "data = b'HBS2' + data[4:16]; data += struct.pack('<I', crc32(data))",
        "data[4] = 101; data[-4:] = struct.pack('<I', crc32(data[:-4]))",
    ],
)
def test_a_damaged_file_gives_defaults_and_is_logged(target: Target, damage: str) -> None:
    standard, lines, after = run(
        target,
        """
        import struct
        from binascii import crc32

        flash = new_flash(16)
        standard = taken(settings())
        change(settings(), others)
        with open(PATH, "rb") as file:
            data = bytearray(file.read())
        exec(damage)
        with open(PATH, "wb") as file:
            file.write(data)
        damaged = settings()
        lines = list(log)
        standard = taken(damaged) == standard
        change(damaged, others)  # and saving heals it
        result((standard, lines, body(settings())))
        """,
        others=OTHERS,
        damage=damage,
    )
    assert standard
    assert len(lines) == 1
    assert "settings" in lines[0]
    assert after == OTHERS


def test_a_file_of_the_first_version_keeps_its_values(target: Target) -> None:
    content = b"HBS1" + struct.pack("<BBBBHHHH", 30, 50, 10, 1, 1200, 360, 500, 10)
    assert run(
        target,
        """
        flash = new_flash(16)
        with open(PATH, "wb") as file:
            file.write(content)
        old = settings()
        result((taken(old), body(old), log))
        """,
        content=content + struct.pack("<I", zlib.crc32(content)),
    ) == (
        (30, 10, 1200, 360, 500, 10, "/voice"),
        struct.pack(SETTINGS_BODY, 30, 50, 10, 1, 1200, 360, 500, 10, 0, b""),
        [],
    )


def test_it_takes_a_language_that_it_speaks_and_no_other(target: Target) -> None:
    assert run(
        target,
        """
        class Voices:  # the files of a toy that speaks English first, and German
            def __getattr__(self, name):
                return getattr(os, name)

            def stat(self, path):
                if path != "/voice-de":
                    raise OSError(2)

        def opened(path, mode):
            return open("/flash/voice" if path == "/voice" else path, mode)

        flash = new_flash(16)
        with open("/flash/voice", "wb") as file:
            file.write(b"HBVC\1\0en")
        settings_file.os, settings_file.open = Voices(), opened
        first = settings()
        found = []
        for language in (b"de", b"fr", b"en", b"\0\0"):
            try:
                change(first, others[:-2] + language)
                found.append(first.voice)
            except LookupError:
                found.append((body(first)[-2:], first.voice))
        os.remove("/flash/voice")
        try:
            change(first, others[:-2] + b"en")
        except LookupError:
            found.append(first.voice)
        result(found)
        """,
        others=OTHERS,
    ) == ["/voice-de", (b"de", "/voice-de"), "/voice-en", "/voice", "/voice"]


def test_a_language_that_is_no_longer_spoken_stands_in_no_other_settings_way(
    target: Target,
) -> None:
    content = b"HBS2" + OTHERS[:-2] + b"de"
    assert run(
        target,
        """
        flash = new_flash(16)
        with open(PATH, "wb") as file:
            file.write(content)
        first = settings()
        change(first, bytes([99]) + body(first)[1:])
        result(body(first)[-2:])
        """,
        content=content + struct.pack("<I", zlib.crc32(content)),
    ) == (b"de")


def test_a_power_cut_leaves_the_old_settings_or_the_new(target: Target) -> None:
    assert run(
        target,
        """
        flash = new_flash(16)
        change(settings(), others)
        image = {block: bytes(data) for block, data in flash.blocks.items()}
        new = bytes([99]) + others[1:]
        seen = set()
        for torn in range(5):
            cut_at = 0
            failed = True
            while failed:
                blocks = {block: bytearray(data) for block, data in image.items()}
                flash = RamFlash(16, 512, blocks, cut_at, torn)
                try:
                    mount(flash)
                    change(settings(), new)
                except OSError:
                    assert flash.dead
                failed = flash.dead
                flash = restart(flash)
                found = body(settings())
                assert found == new or failed and found == others
                assert os.listdir("/flash") == ["settings.bin"]
                seen.add(found)
                cut_at += 1
        result((len(seen), cut_at > 3, log))
        """,
        others=OTHERS,
    ) == (2, True, [])


def test_a_full_or_failing_flash_keeps_the_old_settings(target: Target) -> None:
    assert run(
        target,
        """
        flash = new_flash(16)
        first = settings()
        before = taken(first)
        flash.dead = True
        try:
            change(first, others)
            saved = True
        except OSError:
            saved = False
        restart(flash)
        result((saved, taken(first) == before, body(first)))
        """,
        others=OTHERS,
    ) == (False, True, DEFAULTS)


def test_the_same_settings_again_write_nothing(target: Target) -> None:
    assert run(
        target,
        """
        flash = new_flash(16)
        first = settings()
        change(first, others)
        operations = flash.operations
        change(first, others)
        result(flash.operations == operations)
        """,
        others=OTHERS,
    )


def test_volume_has_a_maximum_and_quiet_hours(target: Target) -> None:
    assert run(
        target,
        """
        class Clock:
            minute = -1

            def minute_of_day(self):
                return self.minute

        flash = new_flash(16)
        first = settings()
        clock = Clock()
        volumes = [first.effective_volume(clock)]
        change(first, bytes([90, 50]) + others[2:])  # quiet from 20:00 to 6:00
        volumes.append(first.effective_volume(clock))  # nobody has set the clock
        for hour in (5, 6, 19, 20, 23, 0):
            clock.minute = hour * 60
            volumes.append((hour, first.effective_volume(clock), first.quiet(clock)))
        change(first, bytes([90, 50, 10, 0]) + others[4:])
        volumes.append(first.effective_volume(clock))
        result(volumes)
        """,
        others=OTHERS,
    ) == [
        70,
        50,
        (5, 0, True),
        (6, 50, False),
        (19, 50, False),
        (20, 0, True),
        (23, 0, True),
        (0, 0, True),
        50,
    ]
