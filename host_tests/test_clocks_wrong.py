"""A phone whose clock is a century off, and a toy whose messages are of such times."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from host_tests.companion_toy import FAMILY, QUICK, SENDER, Air, Toy
from hushbear_companion import message, outbox
from hushbear_companion.client import Client
from hushbear_companion.toy import Toy as KnownToy

KEY = bytes(range(32))
CENTURY = 100 * 365.25 * 24 * 3600


@pytest.fixture(params=[1, -1], ids=["2126", "1926"])
def wrong(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[float]:
    """The phone's clock says a century later or earlier."""
    now = time.time() + request.param * CENTURY

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Clock:
            return cls.fromtimestamp(now, tz)

    monkeypatch.setattr("hushbear_companion.client.datetime", Clock)
    monkeypatch.setattr("hushbear_companion.outbox.time.time", lambda: now)
    yield now


async def test_a_phone_with_a_wrong_clock_connects_and_leaves_the_toys_alone(
    wrong: float,
) -> None:
    toy = Toy(KEY)
    async with Client(KEY, Air(toy), timing=QUICK) as phone:
        assert (await phone.status()).firmware == "0.1"
    assert toy.clock and toy.clock[0] == 0  # implausible, which the toy refuses


def test_what_is_recorded_under_a_wrong_clock_is_of_an_unknown_time(
    wrong: float, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "hello.wav", 0.3 * np.sin(np.arange(8000) / 8), 16000)
    box = outbox.Outbox(tmp_path)
    draft = box.draft(KnownToy("bear", KEY, bytes(8)), tmp_path / "hello.wav")
    assert message.parse_header(box.seal(draft, SENDER, FAMILY)).time == 0
