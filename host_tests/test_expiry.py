"""Messages are kept for as long as the family wants, counted by the toy's own clock."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import pytest

from host_tests.messages import crash_log, outbox
from host_tests.ram_flash import SOURCE
from host_tests.targets import Target, dedent
from host_tests.test_toy_play import A, Make, heard, start, tap
from host_tests.virtual.radio import VirtualRadio
from hushbear.settings_wire import SETTINGS_BODY, UNTIL_HEARD

NOON = 1_795_219_200 + 12 * 3600  # 2026-11-21 12:00 UTC
DAY = 86400

EXPIRY = """
from hushbear import expiry
from hushbear.settings import Settings
from hushbear.settings_file import change


class Clock:
    unix = 0

    def now(self):
        return self.unix


class Services:
    pass


def begin():
    global services
    services = Services()
    services.store = boot()
    services.clock = clock
    services.settings = Settings("/flash/settings.bin", log.append)


def look(interrupted=lambda: False):
    asyncio.run(expiry.look(services, interrupted, "/flash/msg/seen"))


def look_at(seconds):
    clock.unix = seconds
    look()
    return ids(INBOX), ids(OUTBOX)


def ids(box):
    return [int(entry.id) for entry in services.store.entries(box)]


clock = Clock()
flash = new_flash(128)
begin()
change(services.settings, settings)
"""


def run(target: Target, source: str, days: int = 0, until_heard: bool = False) -> Any:
    flags = UNTIL_HEARD if until_heard else 0
    settings = struct.pack(SETTINGS_BODY, 70, 85, 60, flags, 0, 0, 300, 40, days, b"")
    args = {"settings": settings, "noon": NOON, "day": DAY}
    return target.run(SOURCE + EXPIRY + dedent(source), args=args)


def test_a_message_goes_so_many_days_after_it_was_seen_heard_or_not(target: Target) -> None:
    # Their senders' clocks stand in 1970, and the toy's own for the answer.
    assert run(
        target,
        """
        receive(services.store, 1, 2)
        found = [look_at(noon)]
        receive(services.store, 2, 2)
        services.store.mark_done(INBOX, make_id(2))
        record(services.store, 3, 2)
        found.append(look_at(noon + day))
        found.append(look_at(noon + 3 * day - 1))
        restart(flash)
        begin()
        found += [look_at(noon + at) for at in (3 * day, 4 * day - 1, 4 * day)]
        result((found, log))
        """,
        days=3,
    ) == (
        [([1], []), ([1, 2], [3]), ([1, 2], [3]), ([2], [3]), ([2], [3]), ([], [])],
        [],
    )


def test_without_a_clock_and_without_the_setting_nothing_goes(target: Target) -> None:
    source = """
    receive(services.store, 1, 2)
    services.store.mark_done(INBOX, make_id(1))
    record(services.store, 2, 2)
    found = [look_at(noon), look_at(0), look_at(noon + times * day)]
    result((found, "seen" in os.listdir("/flash/msg")))
    """
    both = ([1], [2])
    assert run(target, source.replace("times", "1000")) == ([both, both, both], False)
    assert run(target, source.replace("times", "6"), days=7) == ([both, both, both], True)


def test_a_clock_that_is_set_back_keeps_messages_longer_and_never_shorter(target: Target) -> None:
    assert run(
        target,
        """
        receive(services.store, 1, 2)
        seconds = (noon, noon - 100 * day, noon - 98 * day - 1, noon - 98 * day)
        result([look_at(unix)[0] for unix in seconds])
        """,
        days=2,
    ) == [[1], [1], [1], []]


def test_what_was_heard_or_fetched_goes_and_nothing_else(target: Target) -> None:
    assert run(
        target,
        """
        for n in (1, 2, 3):
            receive(services.store, n, 2)
        for n in (4, 5):
            record(services.store, n, 2)
        services.store.mark_done(INBOX, make_id(2))
        services.store.mark_done(INBOX, make_id(3))
        services.store.mark_done(OUTBOX, make_id(4))
        with services.store.open(INBOX, make_id(3)):
            found = [look_at(0)]  # no clock is needed for this
        found.append(look_at(0))
        message = Message(2, 2)
        again = message.offer_to(services.store) == message.size
        result((found, again, os.listdir("/flash/msg/in")[1:]))
        """,
        until_heard=True,
    ) == ([([1, 3], [5]), ([1], [5])], True, [])


def test_a_paw_stops_the_look(target: Target) -> None:
    assert run(
        target,
        """
        for n in range(4):
            receive(services.store, n, 2)
            services.store.mark_done(INBOX, make_id(n))
        asked = []

        def interrupted():
            asked.append(1)
            return len(asked) == 2

        look(interrupted)
        left = ids(INBOX)
        look()
        result((left, ids(INBOX)))
        """,
        until_heard=True,
    ) == ([2, 3], [])


@pytest.mark.parametrize(
    "damage", ["data[9] ^= 1", "data = data[:-1]", "data = b''", "data += bytes(5000)"]
)
def test_where_the_days_are_lost_they_begin_again(target: Target, damage: str) -> None:
    assert run(
        target,
        f"""
        receive(services.store, 1, 2)
        look_at(noon)
        with open("/flash/msg/seen", "rb") as file:
            data = bytearray(file.read())
        {damage}
        with open("/flash/msg/seen", "wb") as file:
            file.write(data)
        found = [look_at(noon + days * day)[0] for days in (2, 3, 4)]
        result((found, log))
        """,
        days=2,
    ) == ([[1], [1], []], [])


def test_a_power_cut_loses_no_message_that_may_stay(target: Target) -> None:
    assert run(
        target,
        """
        receive(services.store, 1, 2)
        look_at(noon)
        receive(services.store, 2, 2)
        record(services.store, 3, 2)
        image = {block: bytes(data) for block, data in flash.blocks.items()}
        seen = set()
        failed, cut_at = True, 0
        while failed:
            blocks = {block: bytearray(data) for block, data in image.items()}
            flash = RamFlash(128, 512, blocks, cut_at, 1)
            mount(flash)
            try:
                begin()
                look_at(noon + 2 * day)
            except (OSError, StoreError):
                assert flash.dead
            failed = flash.dead
            flash = restart(flash)
            begin()
            seen.add((tuple(ids(INBOX)), tuple(ids(OUTBOX))))
            assert look_at(noon + 2 * day) == ([2], [3])
            cut_at += 1
        result((sorted(seen), cut_at > 5, log))
        """,
        days=2,
    ) == ([((1, 2), (3,)), ((2,), (3,))], True, [])


# The app's hour takes 36 s here, and its ten seconds a tenth of one.
FAST = """
import board, gc, time
board.safe_mode = board.locked = False
gc.threshold(2048)
from hushbear.audio import Buffers
buffers = Buffers()
from hushbear import app


class Fast:
    def __getattr__(self, name):
        return getattr(time, name)

    def ticks_ms(self):
        return time.ticks_ms() * 100 & 0x3FFFFFFF


app.time = Fast()
app.run(board, buffers)
"""


@pytest.mark.targets("unix")
@pytest.mark.virtual_time
async def test_the_child_can_repeat_what_it_heard_until_an_hour_without_a_paw(
    virtual_toy: Make,
) -> None:
    async with virtual_toy(autostart=False, air=VirtualRadio(), main=FAST) as toy:
        await start(toy, A, flags=UNTIL_HEARD)
        for _ in range(3):
            assert heard(toy, await tap(toy)) == A
            await asyncio.sleep(25)
        await asyncio.sleep(20)
        assert heard(toy, await tap(toy)) is None
        await toy.hold("record", 1.0)
        await asyncio.sleep(45)
        assert len(await outbox(toy)) == 1  # nobody has fetched it
        assert not await crash_log(toy)


@pytest.mark.targets("unix")
@pytest.mark.virtual_time
async def test_the_toy_forgets_what_is_older_than_the_family_wants(virtual_toy: Make) -> None:
    async with virtual_toy(autostart=False, air=VirtualRadio()) as toy:
        await start(toy, A, keep_days=2)
        for day, there in ((22, True), (23, True), (24, False)):
            date = f"(2026, 11, {day}, 6, 12, 0, 0, 0)"
            await toy.exec_repl(f"from machine import RTC\nRTC().datetime({date})")
            await asyncio.sleep(2)
            assert (heard(toy, await tap(toy)) == A) == there
        assert not await crash_log(toy)
