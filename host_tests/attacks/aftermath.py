"""What every attack ends with: the toy is well."""

from __future__ import annotations

import asyncio

from host_tests.family import client, spoken
from host_tests.messages import snr, speech
from host_tests.virtual import VirtualToy
from host_tests.virtual.radio import VirtualRadio
from hushbear_companion.records import Box

SEED = 99  # of a message that no attack has sent


async def well(toy: VirtualToy, radio: VirtualRadio, link: str) -> None:
    """The phone with this link gets through, what it sends is heard, and nothing is in the crash
    log. Makes room in the inbox for that."""
    async with client(radio.phone(), link) as phone:
        for entry in await phone.entries(Box.INBOX):
            await phone.delete(Box.INBOX, entry.id)
        await phone.send(spoken(1, SEED, phone))
        since = toy.loop.time()
        await toy.hold("play", 0.1)
        await asyncio.sleep(2)
        assert snr(toy.speaker.pcm(since), speech(1, SEED)) > 15
        (entry,) = await phone.entries(Box.INBOX)
        assert entry.done
        assert await phone.crashlog() == ""
    assert toy.stopped is None
