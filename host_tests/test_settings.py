"""Settings: checked, saved whole, and never a reason not to start."""

import struct
from typing import Any

import pytest

from host_tests.ram_flash import SOURCE
from host_tests.targets import Target, dedent
from hushbear import wire

DEFAULTS = struct.pack(wire.SETTINGS_BODY, 70, 85, 60, 0, 19 * 60 + 30, 7 * 60, 300, 40)
OTHERS = struct.pack(wire.SETTINGS_BODY, 30, 50, 10, 1, 20 * 60, 6 * 60, 500, 10)

SETTINGS = """
from hushbear.settings import Settings

PATH = "/flash/settings.bin"


def settings():
    return Settings(PATH, log.append)
"""


def run(target: Target, source: str, **args: object) -> Any:
    return target.run(SOURCE + SETTINGS + dedent(source), args=args)


def test_settings_survive_a_restart(target: Target) -> None:
    assert run(
        target,
        """
        flash = new_flash(16)
        first = settings()
        before = first.pack()
        first.apply(others)
        restart(flash)
        again = settings()
        result((before, again.pack(), again.volume, again.record_max_s, log))
        """,
        others=OTHERS,
    ) == (DEFAULTS, OTHERS, 30, 10, [])


@pytest.mark.parametrize(
    "values",
    [
        (101, 85, 60, 0, 0, 0, 300, 40),
        (70, 101, 60, 0, 0, 0, 300, 40),
        (70, 85, 255, 0, 0, 0, 300, 40),
        (70, 85, 60, 2, 0, 0, 300, 40),
        (70, 85, 60, 0, 1440, 0, 300, 40),
        (70, 85, 60, 0, 0, 65535, 300, 40),
        (70, 85, 60, 0, 0, 0, 299, 40),
        (70, 85, 60, 0, 0, 0, 5001, 40),
        (70, 85, 60, 0, 0, 0, 300, 0),
        (70, 85, 60, 0, 0, 0, 300, 61),
        (70, 85, 60, 0, 0, 0, 1001, 1),
    ],
)
def test_a_value_out_of_range_changes_nothing(target: Target, values: tuple[int, ...]) -> None:
    assert run(
        target,
        """
        flash = new_flash(16)
        first = settings()
        refused = 0
        for wrong in (body, body[:-1], body + b"0", b""):
            try:
                first.apply(wrong)
            except ValueError:
                refused += 1
        result((refused, first.pack(), os.listdir("/flash")))
        """,
        body=struct.pack(wire.SETTINGS_BODY, *values),
    ) == (4, DEFAULTS, [])


@pytest.mark.parametrize(
    "damage",
    [
        "data[7] ^= 1",
        "data[-1] ^= 128",
        "data = data[:10]",
        "data = b''",
        "data += b'0'",
        "data = bytes(24)",
        "data = b'HBS2' + data[4:]",
    ],
)
def test_a_damaged_file_gives_defaults_and_is_logged(target: Target, damage: str) -> None:
    pack, lines, after = run(
        target,
        """
        flash = new_flash(16)
        settings().apply(others)
        with open(PATH, "rb") as file:
            data = bytearray(file.read())
        exec(damage)
        with open(PATH, "wb") as file:
            file.write(data)
        damaged = settings()
        lines = list(log)
        before = damaged.pack()
        damaged.apply(others)  # and saving heals it
        result((before, lines, settings().pack()))
        """,
        others=OTHERS,
        damage=damage,
    )
    assert pack == DEFAULTS
    assert len(lines) == 1
    assert "settings" in lines[0]
    assert after == OTHERS


def test_a_power_cut_leaves_the_old_settings_or_the_new(target: Target) -> None:
    assert run(
        target,
        """
        flash = new_flash(16)
        settings().apply(others)
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
                    settings().apply(new)
                except OSError:
                    assert flash.dead
                failed = flash.dead
                flash = restart(flash)
                found = settings().pack()
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
        flash.dead = True
        try:
            first.apply(others)
        except OSError:
            result(first.pack())
        """,
        others=OTHERS,
    ) == (DEFAULTS)


def test_the_same_settings_again_write_nothing(target: Target) -> None:
    assert run(
        target,
        """
        flash = new_flash(16)
        first = settings()
        first.apply(others)
        operations = flash.operations
        first.apply(others)
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
        first.apply(bytes([90, 50]) + others[2:])  # quiet from 20:00 to 6:00
        volumes.append(first.effective_volume(clock))  # nobody has set the clock
        for hour in (5, 6, 19, 20, 23, 0):
            clock.minute = hour * 60
            volumes.append((hour, first.effective_volume(clock), first.quiet(clock)))
        first.apply(bytes([90, 50, 10, 0]) + others[4:])
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
