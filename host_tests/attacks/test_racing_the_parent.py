"""A stranger's radio is faster than the parent's phone: into an open window, before it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
from collections.abc import AsyncIterator

import pytest
from bleak.exc import BleakError

from host_tests import hand
from host_tests.attacks.home import NOTHING, Home, home, tell
from host_tests.family import MakeToy
from hushbear import pairing_wire
from hushbear_companion import errors
from hushbear_companion.cpace import Initiator as CPace
from hushbear_companion.framing import frame
from hushbear_companion.session import Timing

pytestmark = [pytest.mark.targets("unix"), pytest.mark.virtual_time]


def guess(code: str) -> bytes:
    """Return what a phone says first that believes in this code."""
    sid = os.urandom(16)
    share = CPace(code.encode(), pairing_wire.CI, sid, pairing_wire.AD_PHONE).share
    return frame(struct.pack(pairing_wire.HELLO, pairing_wire.VERSION, sid, share))


def another(code: str) -> str:
    return f"{(int(code) + 500_001) % 1_000_000:06}"


async def rush(here: Home, said: bytes, heard: bytearray, hurry: asyncio.Event) -> None:
    """Take a connection again and again, say this, and keep the connection."""
    phone = here.radio.phone()
    while True:
        with contextlib.suppress(errors.HushbearError, BleakError, AssertionError, TimeoutError):
            async with hand.caller(phone) as this:
                hurry.set()
                await this.send(said)
                await this.hung_up(within=60)
                heard += this.heard
        await asyncio.sleep(0.5)


@contextlib.asynccontextmanager
async def rushing(here: Home, radios: int, said: bytes, heard: bytearray) -> AsyncIterator[None]:
    """So many radios of the stranger's, all of which were there first."""
    first = [asyncio.Event() for _ in range(radios)]
    tasks = [asyncio.create_task(rush(here, said, heard, each)) for each in first]
    try:
        for each in first:
            await each.wait()
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_who_sits_in_the_window_in_silence_delays_nobody(virtual_toy: MakeToy) -> None:
    """Two of three connections are held, over and over: no attempt is spent, the parent pairs."""
    heard = bytearray()
    async with home(virtual_toy) as here:
        code = await here.open_window()
        async with rushing(here, 2, frame(b"\x01" * 49)[:20], heard):
            await asyncio.sleep(12)
            membership = await here.pair(here.air(), code)
        assert membership.key in here.known()
        assert heard == b"" and "wrong" not in hand.words(here.toy)
        tell("who sat in the window", here.learned(heard))
        assert here.learned(heard) == NOTHING
        await here.is_well()


async def test_who_guesses_first_costs_the_parent_an_attempt_and_some_seconds(
    virtual_toy: MakeToy,
) -> None:
    """He gets the toy's answer and holds on to it; the parent, whose greeting came second, is
    served in the same window, with the attempts that are left."""
    async with home(virtual_toy) as here:
        code = await here.open_window()
        async with hand.caller(here.radio.phone()) as stranger:
            await stranger.send(guess(another(code)))
            answer = await stranger.frame()
            assert answer and answer[0] == 2
            membership = await here.pair(here.air(), code)  # while the stranger is still there
            assert not stranger.bleak.is_connected
        await hand.wait_for_words(here.toy, "paired")
        assert membership.key in here.known()
        tell("who guessed first", here.learned(answer + stranger.heard))
        assert here.learned(answer + stranger.heard) == NOTHING
        await here.is_well()


async def test_who_guesses_three_times_closes_the_window_and_the_parent_is_told(
    virtual_toy: MakeToy,
) -> None:
    """He can spend all the attempts. The parent's phone says that the window has closed, the toy
    says so too, and the next window, with another code, is as good as new."""
    heard = b""
    async with home(virtual_toy) as here:
        code = await here.open_window()
        for left in (2, 1, 0):
            async with hand.caller(here.radio.phone()) as stranger:
                await stranger.send(guess(another(code)))
                answer = await stranger.frame()
                assert answer and answer[0] == left
                heard += answer
        with pytest.raises((errors.WindowClosed, errors.NoOpenWindow)) as told:
            await here.pair(here.air(), code)
        assert "Hold both paws" in told.value.hint
        await hand.wait_for_words(here.toy, "closed")
        await here.window_closes()
        tell("who guessed three times", here.learned(heard))
        assert here.learned(heard) == NOTHING
        next_code = await here.open_window()
        assert next_code != code
        await here.pair(here.air(), next_code)
        await here.is_well()


async def test_who_takes_every_connection_has_them_for_seconds(virtual_toy: MakeToy) -> None:
    """The parent's phone says that no window is open near by; when the toy has dropped who says
    nothing, the same window is there, with all its attempts."""
    heard = b""
    async with home(virtual_toy) as here:
        code = await here.open_window()
        async with contextlib.AsyncExitStack() as stack:
            callers = [
                await stack.enter_async_context(hand.caller(here.radio.phone())) for _ in range(3)
            ]
            with pytest.raises(errors.NoOpenWindow):
                await here.pair(here.air(), code, Timing(scan=1))
            await asyncio.sleep(7)
            await here.pair(here.air(), code)
            heard = b"".join(each.heard for each in callers)
        assert "wrong" not in hand.words(here.toy)
        assert heard == b""
        tell("who took every connection", here.learned(heard))
        assert here.learned(heard) == NOTHING
        await here.is_well()
