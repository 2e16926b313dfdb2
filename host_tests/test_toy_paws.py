"""What paws make of contacts that bounce, on every target, without a toy round them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from host_tests.targets import Target
from host_tests.virtual import VirtualToy

FOLLOW = """
from hushbear.one_paw import OnlyPaw
from hushbear.two_paws import PlayPaw, RecordPaw

def follow(paw, edges, until):
    '''Return [(ms, gesture)]; edges: {ms: down}; sampled every millisecond.'''
    down, seen = False, []
    for ms in range(until):
        down = edges.get(ms, down)
        gesture = paw.sample(down, ms)
        if gesture:
            seen.append((ms, gesture))
    return seen
"""


def gestures(target: Target, paw: str, edges: dict[int, bool], until: int = 3000) -> object:
    source = FOLLOW + f"\nresult(follow({paw}(), {edges!r}, {until}))"
    return target.run(source)


def test_a_press_acts_on_its_first_edge_and_bounces_do_nothing(target: Target) -> None:
    bounces = {100: True, 101: False, 103: True, 108: False, 112: True}
    release = {900: False, 902: True, 903: False, 907: True, 910: False}
    assert gestures(target, "RecordPaw", bounces | release) == [(100, "record"), (900, "keep")]


def test_a_release_within_the_lockout_counts_when_the_lockout_ends(target: Target) -> None:
    assert gestures(target, "RecordPaw", {100: True, 110: False}) == [
        (100, "record"),
        (125, "keep"),
    ]


def test_the_play_paw_plays_at_once_and_skips_once_when_held(target: Target) -> None:
    assert gestures(target, "PlayPaw", {50: True, 90: False}) == [(50, "play")]
    assert gestures(target, "PlayPaw", {50: True, 2500: False}) == [(50, "play"), (850, "skip")]


def test_the_only_paw_plays_when_tapped_and_records_when_held(target: Target) -> None:
    assert gestures(target, "OnlyPaw", {50: True, 250: False}) == [(250, "play")]
    assert gestures(target, "OnlyPaw", {50: True, 1250: False}) == [
        (350, "record"),
        (1250, "keep"),
    ]


TAPS = {start + up: not up for start in range(0, 1600, 400) for up in (0, 150)}


@pytest.mark.parametrize(
    ("edges", "until", "seen"),
    [
        (TAPS | {1600: True, 9000: False}, 9500, [(6600, "hand"), (9000, "keep")]),
        (TAPS | {1600: True, 6500: False}, 8000, []),  # let go too early
        (TAPS | {1600: True, 1700: False}, 8000, [(1700, "play")]),
        (TAPS | {1600: True, 1750: False, 2000: True}, 8000, [(1750, "play"), (7000, "hand")]),
        (TAPS | {2000: True, 8000: False}, 9500, [(2300, "record"), (8000, "keep")]),  # too slow
        ({400: True, 9000: False}, 9500, [(700, "record"), (9000, "keep")]),  # tapped too seldom
    ],
)
def test_five_quick_taps_of_the_only_paw_the_last_one_held_are_a_hand(
    target: Target, edges: dict[int, bool], until: int, seen: list[tuple[int, str]]
) -> None:
    taps = [(edge, "play") for edge, down in TAPS.items() if not down and edge in edges]
    assert gestures(target, "OnlyPaw", edges, until) == taps + seen


def test_five_taps_again_are_a_hand_again(target: Target) -> None:
    first = TAPS | {1600: True, 9000: False}
    both = first | {20000 + at: down for at, down in first.items()}
    seen = gestures(target, "OnlyPaw", both, 30000)
    assert isinstance(seen, list)
    assert [each for each in seen if each[1] == "hand"] == [(6600, "hand"), (26600, "hand")]


def test_times_wrap_around(target: Target) -> None:
    source = """
        from hushbear.two_paws import PlayPaw
        import time
        now = time.ticks_add(0, -10)
        paw, seen = PlayPaw(), []
        for ms in range(900):
            gesture = paw.sample(True, time.ticks_add(now, ms))
            if gesture:
                seen.append((ms, gesture))
        result(seen)
    """
    assert target.run(source) == [(0, "play"), (800, "skip")]


WATCH = """
import board, time
from hushbear.paws import Paws
paws = Paws(board)
began = time.ticks_ms()
recording = False
print("ready")
while (now := time.ticks_diff(time.ticks_ms(), began)) < 8000:
    gesture = paws.next()
    if gesture:
        print(round(now / 100), gesture)
    if recording and not paws.recording:
        print(round(now / 100), "held", paws.held_ms)
    recording = paws.recording
    time.sleep_ms(5)
"""


@pytest.mark.targets("unix")
@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("paws", "lines"),
    [
        ({"record": (1, 7), "play": (1.5, 7)}, ["10 record", "65 hand", "65 held 0"]),
        ({"record": (1.5, 7), "play": (1, 7)}, ["10 play", "15 record", "65 hand", "65 held 0"]),
        (
            {"record": (2, 7.5), "play": (0.5, 7)},
            ["5 play", "13 skip", "20 record", "75 held 5500"],
        ),
        ({"record": (1, 7), "play": (1.5, 6)}, ["10 record", "70 held 6000"]),
        ({"play": (1, 7)}, ["10 play", "18 skip"]),
    ],
    ids=["record first", "play first", "record too short", "play too short", "one of them"],
)
async def test_both_paws_held_for_five_seconds_are_a_hand(
    virtual_toy: Callable[..., VirtualToy],
    paws: dict[str, tuple[float, float]],
    lines: list[str],
) -> None:
    async with virtual_toy(main=WATCH) as toy:
        await toy.wait_console("ready")
        loop = asyncio.get_running_loop()
        for paw, (down, up) in paws.items():
            loop.call_later(down, toy.press, paw, 3)
            loop.call_later(up, toy.release, paw, 3)
        assert await toy.wait_stopped() == "ended"
        assert toy.console[1:] == lines


STALLS = """
import board, bus, time
from hushbear.paws import Paws
paws = Paws(board)
print("ready")
for i in range(200):
    gesture = paws.next()
    if gesture:
        print(gesture, paws.recording)
    if i == 10:
        bus.stall(100000)  # a block of flash is erased
    else:
        time.sleep_ms(5)
print(paws.recording, paws.held_ms)
"""


@pytest.mark.targets("unix")
@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("board", "paw", "gestures"),
    [
        ("esp32_devkitc", "play", ["play False", "False 0"]),
        ("esp32_devkitc", "record", ["record True", "False 25"]),
        ("esp32_c3", "play", ["play False", "False 0"]),
    ],
)
async def test_a_tap_while_the_flash_holds_everything_up_is_not_lost(
    virtual_toy: Callable[..., VirtualToy], board: str, paw: str, gestures: list[str]
) -> None:
    async with virtual_toy(board=board, main=STALLS) as toy:
        await toy.wait_console("ready")
        await asyncio.sleep(0.07)
        await toy.hold(paw, 0.05, bounce=3)
        assert await toy.wait_stopped() == "ended"
        assert toy.console[1:] == gestures


@pytest.mark.targets("unix")
@pytest.mark.virtual_time
async def test_a_tap_at_any_time_is_one_tap(virtual_toy: Callable[..., VirtualToy]) -> None:
    async with virtual_toy(main=STALLS.replace("i == 10", "i % 10 == 0")) as toy:
        await toy.wait_console("ready")
        for n in range(11):
            await asyncio.sleep(0.1 + 0.0137 * n)
            await toy.hold("play", 0.06, bounce=2)
        assert await toy.wait_stopped() == "ended"
        assert toy.console[1:-1] == ["play False"] * 11
