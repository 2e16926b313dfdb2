"""The toy's whole day, from the phone's side and the child's: a message comes, is heard, is
answered, and the answer is fetched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from host_tests.family import client, spoken
from host_tests.messages import speech
from host_tests.virtual.radio import VirtualRadio
from host_tests.virtual.toy import VirtualToy
from hushbear_companion.records import Box


async def live_a_day(
    toy: VirtualToy,
    radio: VirtualRadio,
    link: str,
    directory: Path,
    stage: Callable[[str], None] = lambda _: None,
) -> None:
    """Boot, session, receive 40 s, play them, record 10 s, send them. What does not work out
    raises. `stage` is told what begins."""
    content = spoken(40)
    stage("idle")
    await asyncio.sleep(2)
    stage("receiving 40 s")
    async with client(radio.phone(), link) as phone:
        await phone.send(content)

    stage("playing them")
    await toy.hold("play", 0.3)
    await asyncio.sleep(42)
    assert toy.speaker.underruns == 0

    stage("recording 10 s")
    toy.mic.speak(speech(12))
    await toy.hold("record", 10)
    await asyncio.sleep(2)

    stage("sending them")
    async with client(radio.phone(), link) as phone:
        status = await phone.status()
        assert (status.inbox, status.unheard, status.outbox) == (1, 0, 1)
        (entry,) = await phone.entries(Box.OUTBOX)
        assert len(await phone.fetch(entry, directory / "part")) == entry.size
        await phone.fetched(entry.id)
        assert await phone.crashlog() == ""
    stage("evening")
    await asyncio.sleep(2)
