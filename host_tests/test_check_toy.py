"""tools/check-toy: a human who has built a toy is led through its parts, and told what to mend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from host_tests.family import GOOD_AIR
from host_tests.messages import find, snr, speech
from host_tests.virtual.radio import VirtualRadio
from host_tests.virtual.toy import VirtualToy
from hushbear_companion.errors import NoBluetooth
from hushbear_companion.transport import Radio, Sighting
from tools.check_toy import FACTS, RIGHT, SCRIPTS, UNKNOWN, WRONG, Check, table

pytestmark = [pytest.mark.targets("unix"), pytest.mark.virtual_time]

MakeToy = Callable[..., VirtualToy]
VOICE = speech(2.5, 3)


class OnUsb:
    """A virtual toy as tools/check-toy reaches a real one by mpremote."""

    def __init__(self, toy: VirtualToy) -> None:
        self._toy = toy

    async def run(self, script: str, **values: object) -> str:
        given = "".join(f"{name} = {value!r}\n" for name, value in values.items())
        return await self._toy.exec_repl(given + (SCRIPTS / f"{script}.py").read_text())

    async def one_paw(self) -> bool:
        return "True" in await self._toy.exec_repl(FACTS)


class Builder:
    """Does what they are asked; gives these answers in turn, and yes after them."""

    def __init__(self, toy: VirtualToy, *answers: bool, presses: bool = True) -> None:
        self._toy = toy
        self._answers = list(answers)
        self._presses = presses
        self.heard: list[str] = []
        self._doing: set[asyncio.Task[None]] = set()

    async def told(self, what: str) -> None:
        self.heard.append(what)
        if "paw, and let it go" in what and self._presses:
            hold = 0.1 if what.startswith("Tap") else 1.0
            self._do(self._press("play" if "play" in what else "record", hold))

    async def ready(self, what: str) -> None:
        self.heard.append(what)
        if "Speak" in what:
            self._do(self._speak())

    async def says_yes(self, question: str) -> bool:
        self.heard.append(question)
        return self._answers.pop(0) if self._answers else True

    def _do(self, what: object) -> None:
        self._doing.add(asyncio.create_task(what))  # type: ignore[arg-type]

    async def _press(self, paw: str, seconds: float) -> None:
        await asyncio.sleep(2)
        await self._toy.hold(paw, seconds)

    async def _speak(self) -> None:
        await self._toy.led.wait_for(lambda light: light.level > 0)
        self._toy.mic.speak(np.concatenate((np.zeros(4000, np.int16), VOICE)))


class NoAdapter(Radio):
    async def sightings(self, *_: Any, **options: Any) -> list[Sighting]:
        raise NoBluetooth("Bluetooth cannot be used")


@asynccontextmanager
async def built(
    virtual_toy: MakeToy, board: str = "esp32_devkitc"
) -> AsyncIterator[tuple[VirtualToy, Radio]]:
    """A toy that lies on the table, its app running, and the radio of the computer beside it."""
    air = VirtualRadio(GOOD_AIR)
    async with air, virtual_toy(air=air, board=board) as toy:
        await asyncio.sleep(1)
        phone = air.phone()
        yield toy, Radio(scanner=phone.scanner, client=phone.client)


@pytest.mark.parametrize("board", ["esp32_devkitc", "esp32_s3", "esp32_c3"])
async def test_a_toy_that_is_right_is_told_so(board: str, virtual_toy: MakeToy) -> None:
    async with built(virtual_toy, board) as (toy, radio):
        check = Check(OnUsb(toy), Builder(toy), radio)
        await check.all()
        assert [(r.part, r.verdict) for r in check.results if r.verdict != RIGHT] == []
        assert [r.part for r in check.results] == [
            *("light", "record paw", "play paw", "speaker"),
            *("microphone", "recording", "flash", "radio"),
        ]
        ((opened, closed),) = zip(toy.mic.opened, toy.mic.closed, strict=True)
        assert toy.led.lit(opened, closed) == 1
        assert closed - opened < 3.5
        *_, played = toy.speaker.sounds
        assert snr(played.pcm, VOICE) > 12
        assert find(VOICE[:16000], played.pcm) > 0
        assert toy.running  # and so is its app again
        levels = {round(light.level, 2) for light in toy.led.history[:30]}
        assert len(levels) >= 3


async def test_what_is_wrong_is_listed_with_what_to_do(virtual_toy: MakeToy) -> None:
    async with built(virtual_toy) as (toy, _):
        toy.mic.level = toy.mic.noise = 0.0
        builder = Builder(toy, True, False, True, False, presses=False)
        check = Check(OnUsb(toy), builder, NoAdapter())
        await check.all()
    verdicts = {result.part: result.verdict for result in check.results}
    assert verdicts == {
        **{"light": RIGHT, "record paw": WRONG, "play paw": WRONG, "speaker": WRONG},
        **{"microphone": WRONG, "recording": WRONG, "flash": RIGHT, "radio": UNKNOWN},
    }
    printed = table(check.results)
    assert "docs/hardware.md" in printed
    assert "speaker: nothing: SD of the amplifier not at its GPIO" in printed
    assert "record paw  WRONG        no press came" in printed
    assert "flash: run tools/flash.sh" not in printed


async def test_a_paw_whose_wire_touches_ground_is_told(virtual_toy: MakeToy) -> None:
    async with built(virtual_toy) as (toy, radio):
        toy.press("play")
        check = Check(OnUsb(toy), Builder(toy, presses=False), radio)
        await check._paw("play", "Press the play paw")
    (result,) = check.results
    assert (result.verdict, result.seen) == (WRONG, "it is down, or its wire touches GND")
