"""Replay: whole sessions and a whole pairing, recorded off the air, said again byte for byte."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from host_tests import hand
from host_tests.attacks.home import NOTHING, home, tell
from host_tests.attacks.middle import Between, Man
from host_tests.family import MakeToy, spoken
from hushbear import pairing_wire, wire
from hushbear_companion import errors
from hushbear_companion.client import Client
from hushbear_companion.framing import FrameReader, frame
from hushbear_companion.link import parse_link
from hushbear_companion.records import Box
from hushbear_companion.session import Timing

pytestmark = [pytest.mark.targets("unix"), pytest.mark.virtual_time]


class Player(Man):
    """Answers a phone with what a toy once said; the toy of today hears nothing of it."""

    def __init__(self, recorded: list[bytes]) -> None:
        super().__init__()
        self._recorded = list(recorded)

    async def from_phone(self, n: int, payload: bytes) -> None:
        if n < len(self._recorded):
            self.link.to_phone(self._recorded[n])
        else:
            self.link.hang_up()


def player(recorded: list[bytes]) -> Callable[[], Man]:
    return lambda: Player(recorded)


async def test_a_session_that_was_recorded_is_worth_nothing(virtual_toy: MakeToy) -> None:
    """What a phone said while it sent and deleted a message, said again to the toy; what the toy
    said, said again to the phone."""
    async with home(virtual_toy) as here:
        between = Between(here.air(), Man)
        key = parse_link(here.link).key
        async with Client(key, between) as phone:
            content = spoken(1)
            here.keep_secret("the message", content)
            await phone.send(content)
            (entry,) = await phone.entries(Box.INBOX)
            await phone.delete(Box.INBOX, entry.id)
        (recorded,) = between.men
        answer = bytearray()
        air = here.air()
        (sighting,) = await air.sightings(3, 0.6)
        stream = await air.open(sighting, 10)
        await stream.write(frame(recorded.said[0]))
        await asyncio.sleep(2)
        answer += stream.read_nowait()
        assert len(answer) == 2 + wire.HANDSHAKE_SIZE  # a fresh one, of use to nobody else
        assert bytes(answer[2:]) != recorded.answered[0]
        for payload in recorded.said[1:]:
            try:
                await stream.write(frame(payload))
            except errors.LinkLost:
                break
        async with asyncio.timeout(6):
            while piece := await stream.read():
                answer += piece
        await stream.close()
        assert len(answer) == 2 + wire.HANDSHAKE_SIZE
        with pytest.raises(errors.NotThisToy):
            await Client(key, Between(here.air(), player(recorded.answered))).connect()
        async with here.parent() as phone:
            assert await phone.entries(Box.INBOX) == []
        heard = between.heard + answer
        tell("who replayed a session", here.learned(heard))
        assert here.learned(heard) == NOTHING
        await here.is_well()


async def test_a_pairing_that_was_recorded_is_worth_nothing(virtual_toy: MakeToy) -> None:
    """Said again into the next window it is a wrong guess; said again to a phone, a wrong code."""
    async with home(virtual_toy) as here:
        between = Between(here.air(), Man)
        await here.pair(between, await here.open_window())
        (recorded,) = between.men
        assert (len(recorded.said), len(recorded.answered)) == (4, 4)
        await here.window_closes()
        known = here.known()

        code = await here.open_window()
        async with hand.caller(here.radio.phone()) as stranger:
            await stranger.send(frame(recorded.said[0]))
            answer = await stranger.frame()
            assert answer and len(answer) == pairing_wire.ANSWER_SIZE
            assert answer[0] == pairing_wire.ATTEMPTS - 1  # it was one
            assert answer != recorded.answered[0]
            for payload in recorded.said[1:]:
                await stranger.send(frame(payload))
            assert await stranger.hung_up(within=6)
            frames = FrameReader()
            frames.feed(bytes(stranger.heard))
            assert frames.next() is None
        assert here.known() == known

        kept = set(here.keys)
        with pytest.raises(errors.WrongCode) as told:
            await here.pair(Between(here.air(), player(recorded.answered)), code, Timing(scan=3))
        assert told.value.left == recorded.answered[0][0]
        assert here.keys == kept and here.known() == known
        await here.pair(here.air(), code)  # the toy's own attempts were left alone

        heard = between.heard + answer
        tell("who replayed a pairing", here.learned(heard))
        assert here.learned(heard) == NOTHING
        await here.is_well()
