"""How long the toy lets one wait: for its radio, its speaker, its microphone.

Virtual time, in which the peripherals take theirs and computing takes none; what loading computes
is counted on the emulated boards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import numpy as np

from host_tests.family import GOOD_AIR, spoken
from host_tests.messages import decode, find, give, outbox
from host_tests.targets.unix import Unix
from host_tests.virtual.fixtures import run_virtual
from host_tests.virtual.radio import VirtualRadio
from host_tests.virtual.toy import BOOT_S, VirtualToy
from hushbear.container import RATE

from .counting import NS_PER_INSTRUCTION, Board, on_boards
from .figures import Figure, Row
from .heap import WHERE, made

ADVERTISING = Figure(
    "boot to advertising",
    "ms",
    f"from the reset, of which {1000 * BOOT_S:.0f} ms until Python runs are assumed; to add: what"
    " loading the app computes",
)
LOADING = Figure(
    "loading the app",
    "million instructions",
    "the first import of hushbear.app and of all it needs, as .mpy from memory, not from flash",
)
SOUND = Figure(
    "press to sound: play", "ms", "from the paw's contact to the message's first sample out"
)
LISTENING = Figure(
    "press to listening: record", "ms", "from the paw's contact to the microphone on, and the LED"
)
KEPT = Figure(
    "press to recording: record",
    "ms",
    "from the paw's contact to the first sample that is in the message; the beep comes before",
)
FIGURES = [ADVERTISING, LOADING, SOUND, LISTENING, KEPT]
_STEP = 0.001  # s


def measure() -> Iterator[Row]:
    if reason := Unix.missing():
        yield from (figure.missing(WHERE, reason) for figure in FIGURES if figure != LOADING)
    else:
        yield from run_virtual(_wait())
    yield from on_boards([LOADING], _load)


async def _wait() -> list[Row]:
    radio = VirtualRadio(GOOD_AIR)
    async with made() as make, radio, make(air=radio) as toy:
        loop = asyncio.get_running_loop()
        await give(toy, spoken(3))

        await toy.restart()
        began = loop.time()
        while not radio.ble(toy).advertising:
            await asyncio.sleep(_STEP)
        took = loop.time() - began
        boot = ADVERTISING.on(
            WHERE,
            1000 * (BOOT_S + took),
            f"{1000 * BOOT_S:.0f} chip and image, {1000 * took:.0f} radio and waiting",
        )
        await asyncio.sleep(2)
        return [boot, await _play(toy), *await _record(toy)]


def _until_on(toy: VirtualToy, pin: int) -> list[float]:
    """Return a list in which the times will stand when the toy switches `pin` on."""
    times: list[float] = []

    def watch(changed: int, duty: float, _: float) -> None:
        if changed == pin and duty:
            times.append(toy.loop.time())

    toy.pins.watchers.append(watch)
    return times


async def _play(toy: VirtualToy) -> Row:
    opened = _until_on(toy, toy.facts["AMPLIFIER"])
    pressed = toy.loop.time()
    await toy.hold("play", 0.2)
    await asyncio.sleep(5)
    sound = next(sound for sound in toy.speaker.sounds if sound.start >= pressed)
    to_open, ring = opened[0] - pressed, sound.start - opened[0]
    return SOUND.on(
        WHERE,
        1000 * (sound.start - pressed),
        f"{1000 * to_open:.0f} paw, task and flash, {1000 * ring:.0f} one turn of the I2S ring",
    )


async def _record(toy: VirtualToy) -> list[Row]:
    rng = np.random.default_rng(1)
    pressed = toy.loop.time()
    beeps = len(toy.speaker.sounds)
    voice = (rng.standard_normal(3 * RATE) * 4000).astype(np.int16)
    toy.mic.speak(voice)
    await toy.hold("record", 2)
    await asyncio.sleep(2)
    listening = toy.mic.opened[-1] - pressed
    (content,) = await outbox(toy)
    first = find(decode(content), voice) / RATE
    beep = toy.speaker.sounds[beeps].start - pressed
    return [
        LISTENING.on(WHERE, 1000 * listening, "paw and task"),
        KEPT.on(
            WHERE,
            1000 * first,
            f"{1000 * listening:.0f} until it listens, {1000 * (first - listening):.0f} of warm-up"
            f" and beep; the beep sounds after {1000 * beep:.0f}",
        ),
    ]


# What the app imports and a board lacks that has no radio
_STUBS = """
import gc, sys
gc.threshold(2048)  # as main.py does
sys.path[:] = [path for path in sys.path if path]  # the flash is not searched

class Nothing:
    def __getattr__(self, name):
        return lambda *args: None

for name in ("bluetooth", "esp32", "machine"):
    try:
        __import__(name)
    except ImportError:
        sys.modules[name] = Nothing()
"""


def _load(board: Board) -> Iterator[Row]:
    board.run("result(None)")  # a board that has just started counts a little more
    (count,) = board.count("from hushbear import app", _STUBS, first=True)
    seconds = count * NS_PER_INSTRUCTION / 1e9
    yield LOADING.on(
        board.name, count / 1e6, f"{1000 * seconds:.0f} ms at {NS_PER_INSTRUCTION} ns each"
    )
