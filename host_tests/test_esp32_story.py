"""A toy and its family on the official ESP32 image, radio and sound by the stand-ins."""

from __future__ import annotations

import asyncio
import dataclasses
import pathlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from host_tests.family import GOOD_AIR, add_phone, client, spoken
from host_tests.messages import Pcm, decode, find, snr, speech
from host_tests.virtual.bus import Sys
from host_tests.virtual.esp32_toy import Esp32Toy
from host_tests.virtual.radio import VirtualRadio
from hushbear_companion.client import Client
from hushbear_companion.records import Box
from tools.stranger import Stranger

pytestmark = [pytest.mark.targets("qemu-esp32"), pytest.mark.timeout(900)]

PATIENCE = 200.0  # s for what an idle machine does in seconds
WAITS = ("scan", "connect", "handshake", "response", "write", "stall")
SPOKEN_SNR = 18  # dB, as in test_toy_record.py


@dataclasses.dataclass
class Family:
    toy: Esp32Toy
    radio: VirtualRadio
    link: str

    def phone(self) -> Client:
        return client(self.radio.phone(), self.link, **dict.fromkeys(WAITS, PATIENCE))

    async def switch_on(self) -> None:
        """Switch it on, or off and on, and wait until its app runs."""
        await self.toy.restart()
        await until(lambda: self.radio.ble(self.toy).advertising)

    async def play(self) -> Pcm:
        """Press the play paw; return what is heard until the toy is silent again."""
        pressed = self.toy.clock.time()
        await self.toy.hold("play", 0.1)
        await until(lambda: self.sounding)
        await until(lambda: not self.sounding)
        (sound,) = (s for s in self.toy.speaker.sounds if s.start >= pressed)
        return sound.pcm

    async def record(self, voice: Pcm) -> None:
        """Hold the record paw, and speak after the beep."""
        await self.speak_up()
        await self.toy.sleep(self.toy.mic.speak(voice) + 0.2)
        self.toy.release("record")
        await until(lambda: not self.toy.mic.running)
        await until(lambda: self.sounding)  # "it is kept"
        await until(lambda: not self.sounding)

    async def speak_up(self) -> None:
        """Press the record paw, and wait until the toy listens."""
        self.toy.press("record")
        await until(lambda: self.toy.mic.running and self.sounding)
        await until(lambda: not self.sounding)
        await self.toy.sleep(0.2)

    @property
    def sounding(self) -> bool:
        return bool(self.toy.pins.level(self.toy.facts["AMPLIFIER"]))


@pytest.fixture
async def family(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> AsyncIterator[Family]:
    wired = getattr(request, "param", True)
    async with (
        VirtualRadio(GOOD_AIR) as radio,
        Esp32Toy(tmp_path, air=radio, autostart=False, wired=wired) as toy,
    ):
        link = await add_phone(toy)
        family = Family(toy, radio, link)
        await family.switch_on()
        yield family


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.01)


async def fetch(phone: Client, part: pathlib.Path) -> Pcm:
    """Return the only message in the toy's outbox."""
    (entry,) = await phone.entries(Box.OUTBOX)
    return decode(await phone.fetch(entry, part), phone.family)


def similarity(heard: Pcm, voice: Pcm) -> float:
    """Return in dB how well a voice is in what was heard, all of it."""
    at = find(voice, heard)
    assert 0 <= at <= len(heard) - len(voice)
    return snr(heard[at : at + len(voice)], voice)


@pytest.mark.parametrize("family", [True, False], ids=["pins", "no pins"], indirect=True)
async def test_a_message_comes_by_radio_and_out_of_the_speaker(family: Family) -> None:
    async with family.phone() as phone:
        message = spoken(1, phone=phone)
        await phone.send(message)
    await family.toy.led.wait_for(lambda light: light.level > 0.2, PATIENCE)
    assert similarity(await family.play(), decode(message, phone.family)) > 50
    assert family.toy.speaker.underruns == 0


async def test_what_is_spoken_comes_to_the_phone(family: Family, tmp_path: pathlib.Path) -> None:
    voice = speech(2, 7)
    await family.record(voice)
    assert family.toy.mic.overruns == 0
    async with family.phone() as phone:
        assert similarity(await fetch(phone, tmp_path / "part"), voice) > SPOKEN_SNR
        assert await phone.crashlog() == ""


async def test_a_power_cut_takes_neither_keys_nor_messages(
    family: Family, tmp_path: pathlib.Path
) -> None:
    toy = family.toy
    voice = speech(1, 7)
    async with family.phone() as phone:
        message = spoken(1, phone=phone)
        await phone.send(message)
    await family.record(voice)
    await family.speak_up()
    toy.mic.speak(voice)
    await toy.sleep(0.5)
    toy.power_cut()
    toy.release("record")
    await family.switch_on()
    async with family.phone() as phone:
        status = await phone.status()
        assert (status.unheard, status.unfetched) == (1, 1)
        assert similarity(await fetch(phone, tmp_path / "part"), voice) > SPOKEN_SNR
    assert similarity(await family.play(), decode(message, phone.family)) > 50


async def test_a_stranger_gets_nowhere(family: Family) -> None:
    async for outcome in Stranger(family.radio.phone(), PATIENCE).attempts():
        assert outcome.refused, outcome
    assert family.toy.mic.opened == []
    async with family.phone() as phone:
        assert (await phone.status()).unheard == 0


async def test_a_hand_that_lets_go_while_the_chip_starts_has_let_go(family: Family) -> None:
    """Of the toy's body, not of the toy: a paw that is up looks so, whenever that came about."""
    answer = family.toy.bus.on_system[Sys.HELLO]

    def let_go(payload: bytes) -> bytes | Awaitable[bytes] | None:
        told = answer(payload)
        family.toy.release("record")
        return told

    family.toy.bus.on_system[Sys.HELLO] = let_go
    family.toy.press("record")
    await family.switch_on()  # else it is in safe mode
