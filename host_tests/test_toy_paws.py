"""What paws make of contacts that bounce, on every target, without a toy round them."""

from __future__ import annotations

from host_tests.targets import Target

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
