"""What paws make of contacts that bounce, on every target, without a toy round them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from host_tests.targets import Target
from host_tests.virtual import VirtualToy

FOLLOW = """
from hushbear import paws

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
    source = FOLLOW + f"\nresult(follow(paws.{paw}(), {edges!r}, {until}))"
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


def test_times_wrap_around(target: Target) -> None:
    source = """
        from hushbear.paws import PlayPaw
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
