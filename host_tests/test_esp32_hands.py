"""Hands on a toy with the official ESP32 image: it speaks its real voice, pairs, and erases.

Its voice is in the flash that it starts from, and its flash is slow here: see esp32_emulator.py.
"""

from __future__ import annotations

import base64
import pathlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from host_tests import hand
from host_tests.family import GOOD_AIR, add_phone
from host_tests.targets.esp32_emulator import partition
from host_tests.test_esp32_story import PATIENCE, Family, until
from host_tests.virtual.body import Cause
from host_tests.virtual.esp32_toy import Esp32Toy
from host_tests.virtual.i2s import Sound
from host_tests.virtual.radio import VirtualRadio
from hushbear_companion.errors import LinkLost, NoOpenWindow, WindowClosed
from hushbear_companion.link import parse_link
from hushbear_companion.session import Timing
from tools import flash, voice
from tools.ears import Ears

pytestmark = [pytest.mark.targets("qemu-esp32"), pytest.mark.timeout(900)]

PATIENT = Timing(
    scan=PATIENCE, connect=PATIENCE, handshake=PATIENCE, pairing=PATIENCE, response=PATIENCE
)
ERASING_S = 1500.0  # a change of a file takes a second or two of this computer's time
PAUSE_S = 0.2  # of silence: a sound is over
KEYS = "from hushbear.keys import Keys; print(Keys().psks())"
FILES = "import os; print(sorted(os.listdir('/')))"
# A message, and voices that leave little of the file system to be overwritten
MESSAGE = bytes(range(1, 97)) * 40
OTHER_VOICE = bytes(1500 << 10)


@dataclass
class Home:
    toy: Esp32Toy
    radio: VirtualRadio
    ears: Ears

    def over(self, since: float = 0.0) -> list[Sound]:
        """Return the sounds that began at `since` or later, and are over."""
        now = self.toy.clock.time() - PAUSE_S
        sounds = [s for s in self.toy.speaker.sounds if s.start >= since]
        return [s for s in sounds if s.start + s.seconds < now]

    async def hear(self, *words: str, since: float = 0.0) -> None:
        await until(lambda: set(words) <= set(self.ears.words(self.over(since))))

    async def switch_on(self) -> None:
        """Switch it on, or off and on, and wait until its app runs."""
        await self.toy.restart()
        await until(lambda: self.radio.ble(self.toy).advertising)

    async def hold_both(self) -> None:
        """Hold both paws until the toy has understood, which takes 5 s of its time."""
        starts = len(self.toy.causes)
        pressed = self.toy.clock.time()
        self.toy.press("record")
        self.toy.press("play")
        await until(lambda: len(self.toy.causes) > starts)
        assert self.toy.causes[-1] is Cause.RESET
        assert self.toy.clock.time() - pressed > 4.9  # its clock stands still while it starts

    def let_go(self) -> None:
        self.toy.release("play")
        self.toy.release("record")

    async def open_window(self) -> str:
        """Return the code that was heard."""
        since = self.toy.clock.time()
        await self.hold_both()
        self.let_go()
        await until(lambda: self.ears.code(self.over(since)))
        return self.ears.code(self.over(since)) or ""


@pytest.fixture
async def home(tmp_path: pathlib.Path) -> AsyncIterator[Home]:
    path = voice.kept("en", flash.cache() / "voices")
    files = {"voice": path.read_bytes(), "voice-de": OTHER_VOICE, "msg/in/7": MESSAGE}
    async with (
        VirtualRadio(GOOD_AIR) as radio,
        Esp32Toy(tmp_path, air=radio, autostart=False, files=files) as toy,
    ):
        yield Home(toy, radio, Ears(voice.read(path)[1]))


def piece(path: pathlib.Path, at: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(at)
        return file.read(size)


async def test_a_phone_pairs_by_the_code_that_it_heard(home: Home) -> None:
    toy = home.toy
    await home.switch_on()
    code = await home.open_window()
    starts = len(toy.causes)
    paired = await hand.pair(home.radio.phone(), code, timing=PATIENT)
    await home.hear("paired")
    assert await toy.wait_restart(starts + 1, PATIENCE) is Cause.RESET
    await until(lambda: home.radio.ble(toy).advertising)
    key = base64.urlsafe_b64encode(paired.key).decode().rstrip("=")
    async with Family(toy, home.radio, f"hushbear://toy/{key}?v=1").phone() as phone:
        assert phone.family == paired.family
        assert await phone.crashlog() == ""
    assert toy.speaker.underruns == 0


async def test_a_power_cut_closes_the_window(home: Home) -> None:
    await home.switch_on()
    code = await home.open_window()
    await home.switch_on()
    assert home.toy.causes[-1] is Cause.POWER_ON
    with pytest.raises((NoOpenWindow, WindowClosed, LinkLost)):
        await hand.pair(home.radio.phone(), code)
    assert (await home.toy.exec_repl(KEYS)).strip() == "[]"


@pytest.mark.timeout(ERASING_S + 900)
async def test_hands_that_hold_on_erase_everything_even_with_a_power_cut(home: Home) -> None:
    toy = home.toy
    key = parse_link(await add_phone(toy)).key
    await home.switch_on()
    contents = toy.directory / "flash.bin"
    assert key in contents.read_bytes() and MESSAGE[:96] in contents.read_bytes()
    await home.hold_both()
    await home.hear("let-go", *"54321", "erasing")
    nvs = partition(contents.read_bytes(), "nvs")
    await until(lambda: not piece(contents, *nvs).strip(b"\xff"))
    toy.power_cut()
    home.let_go()
    assert key not in contents.read_bytes()

    await toy.restart()
    starts = len(toy.causes)
    assert await toy.wait_restart(starts + 2, ERASING_S) is Cause.RESET
    await home.hear("erased")
    await until(lambda: home.radio.ble(toy).advertising)
    assert MESSAGE[:96] not in contents.read_bytes()
    assert (await toy.exec_repl(KEYS)).strip() == "[]"
    left = ["boot.py", "lib", "main.py", "msg", "voice", "voice-de"]
    assert (await toy.exec_repl(FILES)).strip() == str(left)
