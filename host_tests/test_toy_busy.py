"""Sound while everything else goes on: a phone sends or fetches, and the flash is slow.

The air and the flash are as good or as bad as they get: each erase holds the whole toy up for 100
ms, and the radio loses packets and is slow to deliver the others.
"""

from __future__ import annotations

import asyncio

import pytest

from host_tests import messages
from host_tests.family import GOOD_AIR, MakeToy, client, family, spoken
from host_tests.messages import crash_log, outbox, speech
from host_tests.virtual import FlashModel
from host_tests.virtual.radio import AirModel
from hushbear_companion.records import Box

BAD = AirModel(interval=0.030, packets=4, loss=0.2, latency=0.05)
SLOW = FlashModel(erase_ms=100, program_ms=2.4)

pytestmark = [
    pytest.mark.targets("unix"),
    pytest.mark.virtual_time,
    pytest.mark.parametrize("air", [GOOD_AIR, BAD], ids=["good air", "bad air"]),
]


async def test_a_message_plays_without_a_gap_while_another_arrives(
    virtual_toy: MakeToy, air: AirModel
) -> None:
    first, second = spoken(3, 1), spoken(20, 2)
    async with family(virtual_toy, air) as (toy, radio, link):
        async with client(radio.phone(), link) as phone:
            await phone.send(first)
            toy.flash.model = SLOW
            await toy.flash.apply()
            before = await toy.flash.counts()
            sending = asyncio.create_task(phone.send(second))
            await asyncio.sleep(0.5)
            pressed = toy.loop.time()
            await toy.hold("play", 0.2)
            await asyncio.sleep(3.5)
            assert (await toy.flash.counts()).erases - before.erases >= 5
            await sending
            assert [entry.id for entry in await phone.entries(Box.INBOX)] == [
                first[16:32],
                second[16:32],
            ]
        heard = toy.speaker.pcm(pressed)
        assert messages.snr(heard[: 3 * 16000], speech(3, 1)) > 20
        assert toy.speaker.underruns == 0
        assert toy.speaker.sounds[-1].start - pressed < 0.15 + SLOW.erase_ms / 1000
        assert "came late" not in await crash_log(toy)


async def test_a_recording_loses_nothing_while_a_message_arrives(
    virtual_toy: MakeToy, air: AirModel
) -> None:
    sent, voice = spoken(20, 2), speech(4, 7)
    async with family(virtual_toy, air) as (toy, radio, link):
        async with client(radio.phone(), link) as phone:
            toy.flash.model = SLOW
            await toy.flash.apply()
            sending = asyncio.create_task(phone.send(sent))
            await asyncio.sleep(0.5)
            toy.press("record")
            await asyncio.sleep(1)
            await asyncio.sleep(toy.mic.speak(voice) + 0.1)
            toy.release("record")
            await sending
            await asyncio.sleep(1)
            assert len(await phone.entries(Box.INBOX)) == 1
        assert toy.mic.overruns == 0
        toy.flash.model = FlashModel()
        (message,) = await outbox(toy)
        pcm = messages.decode(message)
        at = messages.find(voice, pcm)
        assert messages.snr(pcm[at : at + len(voice)], voice) > 18
        assert "lost" not in await crash_log(toy)
