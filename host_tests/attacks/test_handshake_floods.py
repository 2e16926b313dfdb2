"""Somebody floods the toy with handshakes, while a child records and plays: with keys that are
none, with recordings of the family's, with halves.

What comes of it: the toy's answers come later, by the pause between failed handshakes, and the
child hears and says what it wants, without a gap. What is learned: nothing but that the phone of
the recording is still paired.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import Counter

import pytest
from bleak.exc import BleakError

from host_tests import messages
from host_tests.attacks.aftermath import well
from host_tests.family import MakeToy, client, family, spoken
from host_tests.messages import snr, speech
from host_tests.strangers import connection, hung_up, send
from host_tests.virtual import FlashModel
from host_tests.virtual.radio import VirtualRadio
from hushbear import wire
from hushbear_companion import sealing
from hushbear_companion.framing import frame
from hushbear_companion.link import parse_link
from hushbear_companion.noise import Initiator
from hushbear_companion.records import Box

pytestmark = [
    pytest.mark.targets("unix"),
    pytest.mark.virtual_time,
    pytest.mark.timeout(3600),  # for --long
]

MINUTES = 60  # with --long
SAMPLE = 3  # else
SLOW = FlashModel(erase_ms=60, program_ms=1.2)


def hello(key: bytes) -> bytes:
    return frame(Initiator(key, wire.PROLOGUE).write_1())


async def flood(radio: VirtualRadio, key: bytes | None, said: Counter[str]) -> None:
    """Handshakes, one after the other, for ever: recorded ones of the phone with this key, or such
    as nobody's phone sends."""
    recorded = key and hello(key)
    phone = radio.phone()
    heard = bytearray()
    for n in range(1 << 30):
        with contextlib.suppress(BleakError, AssertionError, TimeoutError):
            async with connection(phone, heard) as bleak:
                message = recorded or hello(os.urandom(32))
                await send(bleak, message[:30] if not recorded and n % 8 == 7 else message)
                said["recorded" if recorded else "made up"] += 1
                await hung_up(bleak, within=10)
                said["bytes"] += len(heard)
                said["answers"] += bool(recorded and heard)
                heard.clear()


async def test_an_hour_of_handshakes_while_a_child_records_and_plays(
    virtual_toy: MakeToy, long: bool
) -> None:
    said: Counter[str] = Counter()
    heap = []
    async with family(virtual_toy) as (toy, radio, link):
        await toy.sleep(1)
        toy.flash.model = SLOW
        await toy.flash.apply()
        key = parse_link(link).key
        floods = [asyncio.create_task(flood(radio, k, said)) for k in (None, key)]
        for minute in range(MINUTES if long else SAMPLE):
            content, voice = spoken(3, minute), speech(4, 1000 + minute)
            async with client(radio.phone(), link) as phone:
                await phone.send(content)
                ends = toy.loop.time() + 55
                since = toy.loop.time()
                await toy.hold("play", 0.1)
                await toy.sleep(4)
                heard = toy.speaker.pcm(since)
                assert snr(heard[: 3 * 16000], speech(3, minute)) > 15
                toy.press("record")
                await toy.sleep(1)
                await toy.sleep(toy.mic.speak(voice) + 0.1)
                toy.release("record")
                await toy.sleep(1)
                (entry,) = await phone.entries(Box.OUTBOX)
                part = toy.directory / "part"
                answer = await phone.fetch(entry, part)
                part.unlink(missing_ok=True)
                sealing.unseal(answer, phone.family)
                pcm = messages.decode(answer)
                at = messages.find(voice, pcm)
                assert snr(pcm[at : at + len(voice)], voice) > 15
                for box, each in ((Box.OUTBOX, entry.id), (Box.INBOX, content[16:32])):
                    await phone.delete(box, each)
            await toy.sleep(ends - toy.loop.time())
            heap.append((await toy.memory())[1])
        for task in floods:
            task.cancel()
        await asyncio.gather(*floods, return_exceptions=True)
        assert toy.speaker.underruns == 0 and toy.mic.overruns == 0
        assert max(heap[1:]) < heap[0] + 1024, heap
        assert min(said["recorded"], said["made up"]) > 5 * len(heap), said
        assert said["bytes"] == said["answers"] * (2 + wire.HANDSHAKE_SIZE) > 0, said
        assert len(toy.mic.opened) == len(heap), "a recording that no paw has begun"
        await well(toy, radio, link)
