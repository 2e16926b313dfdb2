"""A message's way to the child on the official ESP32 image, radio and sound by the stand-ins."""

from __future__ import annotations

import asyncio
import pathlib

import numpy as np
import pytest

from host_tests.family import GOOD_AIR, add_phone, client, spoken
from host_tests.messages import Pcm, decode, snr
from host_tests.virtual.esp32_toy import Esp32Toy
from host_tests.virtual.radio import VirtualRadio

pytestmark = [pytest.mark.targets("qemu-esp32"), pytest.mark.timeout(900)]

PATIENCE = 200.0  # s for what an idle machine does in seconds
SLOW = {"scan": PATIENCE, "connect": PATIENCE, "handshake": PATIENCE, "response": PATIENCE}
PAUSE = 100  # samples: so many zeros in a row are not the voice's


def without_pauses(sound: Pcm) -> Pcm:
    """Cut out what the toy plays where a block comes late: the emulated flash is a slow one."""
    changes = np.flatnonzero(np.diff(sound == 0, prepend=False, append=False))
    pauses = [(a, b) for a, b in changes.reshape(-1, 2) if b - a >= PAUSE]
    return np.delete(sound, np.r_[tuple(slice(a, b) for a, b in pauses)]) if pauses else sound


async def test_a_message_comes_by_radio_and_out_of_the_speaker(tmp_path: pathlib.Path) -> None:
    message = spoken(1)
    voice = decode(message)
    async with (
        VirtualRadio(GOOD_AIR) as radio,
        Esp32Toy(tmp_path, air=radio, autostart=False) as toy,
    ):
        link = await add_phone(toy)
        await toy.restart()
        async with client(radio.phone(), link, write=PATIENCE, stall=PATIENCE, **SLOW) as phone:
            await phone.send(message)
        await toy.led.wait_for(lambda light: light.level > 0.2, PATIENCE)

        toy.press("play")
        async with asyncio.timeout(PATIENCE):
            while not toy.pins.level(toy.facts["AMPLIFIER"]):
                await asyncio.sleep(0.01)  # held on, the paw would skip the message
            toy.release("play")
            while len(heard := without_pauses(toy.speaker.pcm())) < len(voice):
                await asyncio.sleep(0.1)
        assert snr(heard, voice) > 50
