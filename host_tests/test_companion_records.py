"""Frames and records from a toy: whatever comes, they are taken whole or refused."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hushbear import wire
from hushbear_companion import records
from hushbear_companion.errors import ToyMisbehaves, UsageError
from hushbear_companion.framing import PAYLOAD_MAX, FrameError, FrameReader, frame
from hushbear_companion.records import Box, Settings

SETTINGS = Settings(60, 80, 50, True, 20 * 60, 7 * 60, 500, 45, 30, True, "de")


@given(
    st.lists(st.binary(min_size=1, max_size=PAYLOAD_MAX), max_size=5),
    st.integers(min_value=1, max_value=600),
)
def test_frames_come_out_as_they_went_in(payloads: list[bytes], size: int) -> None:
    stream = b"".join(map(frame, payloads))
    reader = FrameReader()
    out = []
    for at in range(0, len(stream), size):
        reader.feed(stream[at : at + size])
        while (payload := reader.next()) is not None:
            out.append(payload)
    assert out == payloads


@pytest.mark.parametrize("length", [0, PAYLOAD_MAX + 1, 0xFFFF])
def test_a_length_that_cannot_be_is_refused_before_the_rest_has_come(length: int) -> None:
    reader = FrameReader()
    reader.feed(struct.pack("<H", length))
    with pytest.raises(FrameError):
        reader.next()


def test_a_frame_as_long_as_the_layout_allows() -> None:
    assert len(frame(bytes(PAYLOAD_MAX))) == wire.FRAME_MAX
    for payload in (b"", bytes(PAYLOAD_MAX + 1)):
        with pytest.raises(ValueError, match="impossible"):
            frame(payload)


@pytest.mark.parametrize(
    "parse",
    [
        records.parse_record,
        records.parse_status,
        records.parse_settings,
        records.parse_grant,
        records.parse_fetch,
        records.parse_data,
        records.parse_end,
        lambda body: records.parse_send(body, 1000),
        lambda body: records.parse_entries(body, Box.INBOX, 5),
    ],
)
def test_parsers_take_it_or_say_that_the_toy_misbehaves(parse: Callable[[bytes], object]) -> None:
    @given(st.binary(max_size=1100) | st.binary(min_size=64, max_size=64))
    def run(body: bytes) -> None:
        try:
            parse(body)
        except ToyMisbehaves as error:
            assert error.hint

    run()


@given(
    st.tuples(*[st.integers(0, 100)] * 3),
    st.booleans(),
    st.tuples(*[st.integers(0, 1439)] * 2),
    st.integers(300, 5000),
    st.integers(1, 60),
    st.tuples(st.integers(0, 365), st.booleans()),
    st.sampled_from(("", "de", "zz")),
)
def test_settings_survive_the_link(
    levels: tuple[int, int, int],
    quiet: bool,
    hours: tuple[int, int],
    low: int,
    high: int,
    kept: tuple[int, bool],
    language: str,
) -> None:
    assume(low <= 1000 * high)
    settings = Settings(*levels, quiet, *hours, low, high, *kept, language)
    assert records.parse_settings(records.pack_settings(settings)) == settings


@pytest.mark.parametrize(
    "change",
    [
        {"volume": 101},
        {"volume": -1},
        {"volume_max": 300},
        {"led": 101},
        {"quiet_from": 1440},
        {"quiet_to": -1},
        {"record_min_ms": 299},
        {"record_min_ms": 5001},
        {"record_max_s": 0},
        {"record_max_s": 61},
        {"keep_days": -1},
        {"keep_days": 366},
    ],
)
def test_settings_out_of_range_say_the_range(change: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=r"must be .* to "):
        SETTINGS.changed(**change)


def test_the_edges_of_every_setting_are_in_range() -> None:
    ranges = {"quiet_from": (0, 1439), "quiet_to": (0, 1439), "record_min_ms": (300, 5000)}
    ranges |= dict.fromkeys(("volume", "volume_max", "led"), (0, 100))
    for name, edges in ranges.items():
        for edge in edges:
            assert getattr(SETTINGS.changed(**{name: edge}), name) == edge
    for edge in (0, 365):
        assert SETTINGS.changed(keep_days=edge).keep_days == edge
    for edge in (1, 60):
        assert SETTINGS.changed(record_max_s=edge).record_max_s == edge


def test_text_from_the_toy_cannot_steer_a_terminal() -> None:
    assert records.clean(b"a\x1b[2J\x07\tb\n\xffc\r") == "a�[2J�\tb\n�c�"


def test_lists_that_do_not_go_forward_are_refused() -> None:
    entry = struct.pack(wire.ENTRY, 6, bytes(16), bytes(8), 304, 0, 0)
    assert len(records.parse_entries(entry, Box.OUTBOX, 5)) == 1
    for body, after in ((entry, 6), (entry + entry, 5)):
        with pytest.raises(ToyMisbehaves):
            records.parse_entries(body, Box.OUTBOX, after)
