"""Playing, as a child has it: the paws, speaker and LED of the virtual toy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import pytest

from host_tests import messages
from host_tests.messages import configure, crash_log, give, speech
from host_tests.virtual import FlashModel, VirtualToy
from host_tests.virtual.radio import VirtualRadio

pytestmark = [pytest.mark.targets("unix"), pytest.mark.virtual_time]

Make = Callable[..., VirtualToy]

A, B = b"A" * 16, b"B" * 16
VOICES = {A: speech(1.5, 1), B: speech(1.2, 2)}


async def start(toy: VirtualToy, *inbox: bytes, **settings: int) -> None:
    """Put the messages of these ids into the inbox, set settings, and switch the toy on."""
    await give(toy, *(messages.make(VOICES[message_id], message_id) for message_id in inbox))
    if settings:
        await configure(toy, **settings)
    await toy.restart()
    await asyncio.sleep(1)


async def tap(toy: VirtualToy, listen: float = 3.0, seconds: float = 0.1) -> float:
    """Tap the play paw and listen; return when it was tapped."""
    at = asyncio.get_running_loop().time()
    await toy.hold("play", seconds)
    await asyncio.sleep(listen)
    return at


def heard(toy: VirtualToy, since: float) -> bytes | None:
    """Return which message came out of the speaker since then, whole, and nothing else."""
    pcm = toy.speaker.pcm(since)
    for message_id, voice in VOICES.items():
        if len(pcm) > 0.9 * len(voice) and messages.snr(pcm, voice) > 20:
            return message_id
    return None


async def test_the_oldest_unheard_message_plays_and_plays_again(virtual_toy: Make) -> None:
    async with virtual_toy(autostart=False, air=VirtualRadio()) as toy:
        await start(toy, A, B)
        assert heard(toy, await tap(toy)) == A
        assert heard(toy, await tap(toy)) == A  # again
        await asyncio.sleep(11)  # somebody comes back later
        assert heard(toy, await tap(toy)) == B
        await asyncio.sleep(11)
        assert heard(toy, await tap(toy)) == B  # nothing new: the last one
        assert toy.speaker.underruns == 0


async def test_holding_the_play_paw_skips_to_the_next_message(virtual_toy: Make) -> None:
    async with virtual_toy(autostart=False, air=VirtualRadio()) as toy:
        await start(toy, A, B)
        now = asyncio.get_running_loop().time()
        await toy.hold("play", 1.0)
        await asyncio.sleep(2)
        assert heard(toy, now + 0.9) == B
        await asyncio.sleep(3)
        assert toy.led.lit(toy.led.history[-1].time, asyncio.get_running_loop().time()) == 0
        assert not toy.led.on


async def test_pressing_while_it_plays_begins_again(virtual_toy: Make) -> None:
    async with virtual_toy(autostart=False, air=VirtualRadio()) as toy:
        await start(toy, A)
        await tap(toy, 0.5)
        assert heard(toy, await tap(toy)) == A


async def test_sound_comes_within_150_ms_of_the_press(virtual_toy: Make) -> None:
    async with virtual_toy(autostart=False, air=VirtualRadio()) as toy:
        await start(toy, A)
        for pause in (0.0, 0.0013, 0.0031):  # wherever in the toy's round the press comes
            await asyncio.sleep(pause)
            at = await tap(toy)
            sound = toy.speaker.sounds[-1]
            assert 0 < sound.start - at <= 0.150


async def test_a_full_message_through_a_slow_flash_that_is_written_meanwhile(
    virtual_toy: Make,
) -> None:
    flash = FlashModel(erase_ms=100, program_ms=2.4)
    writer = """
async def scribble():
    import asyncio
    block = bytes(1024)
    while True:
        with open("/scribble", "wb") as file:
            for _ in range(8):
                file.write(block)
                file.flush()
                await asyncio.sleep_ms(150)
"""
    main = (
        "import board, gc\nboard.safe_mode = board.locked = False\ngc.threshold(2048)\n"
        "from hushbear.audio import Buffers\nbuffers = Buffers()\n"
        "from hushbear import app, crashlog\n" + writer + "import asyncio\n"
        "toy = app.App(board, buffers, crashlog.CrashLog())\n"
        "async def run():\n    asyncio.create_task(scribble())\n    await toy.run()\n"
        "asyncio.run(run())\n"
    )
    async with virtual_toy(autostart=False, air=VirtualRadio(), main=main) as toy:
        await start(toy, A)
        toy.flash.model = flash
        before = await toy.flash.apply()
        at = await tap(toy, 4, seconds=0.4)
        after = await toy.flash.counts()
        assert heard(toy, at) == A
        assert toy.speaker.underruns == 0
        assert after.erases - before.erases >= 3  # it was written, and slow
        assert "came late" not in await crash_log(toy)


async def test_the_led_pulses_while_a_message_waits_and_is_dark_once_it_is_heard(
    virtual_toy: Make,
) -> None:
    async with virtual_toy(autostart=False, air=VirtualRadio()) as toy:
        await start(toy, A)
        await asyncio.sleep(5)
        now = asyncio.get_running_loop().time()
        levels = {round(toy.led.at(now - t / 20).level, 1) for t in range(50)}
        assert len(levels) >= 3  # it swells and fades
        await tap(toy)
        await asyncio.sleep(1)
        assert not toy.led.on
        await toy.restart()
        await asyncio.sleep(2)
        assert not toy.led.on  # it knows that it was heard


async def test_interrupted_by_a_recording_a_message_stays_unheard(virtual_toy: Make) -> None:
    async with virtual_toy(autostart=False, air=VirtualRadio()) as toy:
        await start(toy, A)
        await tap(toy, 0.4)
        await toy.hold("record", 1.0)
        await asyncio.sleep(1)
        await toy.led.wait_for(lambda light: light.level > 0)  # it pulses
        assert heard(toy, await tap(toy)) == A


NOON = "from machine import RTC\nRTC().datetime((2026, 11, 22, 6, 12, 0, 0, 0))\n"


@pytest.mark.parametrize(
    "quiet", [{"flags": 1, "quiet_from": 660, "quiet_to": 780}, {"volume": 0}]
)
async def test_quiet_hours_are_silent_and_lose_nothing(
    virtual_toy: Make, quiet: dict[str, int]
) -> None:
    async with virtual_toy(autostart=False, air=VirtualRadio()) as toy:
        await start(toy, A)
        await configure(toy, **quiet)
        await toy.exec_repl(NOON)
        await asyncio.sleep(1)
        at = await tap(toy)
        await toy.hold("record", 1.0)
        await asyncio.sleep(1)
        assert not toy.speaker.sounds
        flashes = [x for x in toy.led.history if x.level > 0 and at <= x.time < at + 0.6]
        assert flashes
        if "flags" in quiet:  # dim: 10 %, which the eye's square makes 1 %
            assert max(x.level for x in toy.led.history if x.time >= at) < 0.02
        assert len(await messages.outbox(toy)) == 1
        await configure(toy, volume=70, flags=0)
        await asyncio.sleep(1)
        assert heard(toy, await tap(toy)) == A


async def test_nothing_is_louder_than_the_highest_volume(virtual_toy: Make) -> None:
    peaks = []
    async with virtual_toy(autostart=False, air=VirtualRadio()) as toy:
        await start(toy, A)
        for volume, volume_max in ((100, 40), (40, 100), (100, 100)):
            await configure(toy, volume=volume, volume_max=volume_max)
            await asyncio.sleep(1)
            at = await tap(toy)
            peaks.append(int(np.abs(toy.speaker.pcm(at).astype(int)).max()))
    assert peaks[0] == peaks[1] < peaks[2] / 3


async def test_with_the_led_off_a_waiting_message_does_not_show_and_plays(
    virtual_toy: Make,
) -> None:
    async with virtual_toy(autostart=False, air=VirtualRadio()) as toy:
        await start(toy, A, brightness=0)
        await asyncio.sleep(5)
        assert heard(toy, await tap(toy)) == A
        assert max(state.level for state in toy.led.history) == 0


async def test_an_empty_inbox_answers_with_two_notes(virtual_toy: Make) -> None:
    async with virtual_toy(air=VirtualRadio()) as toy:
        await asyncio.sleep(1)
        at = await tap(toy, 1)
        assert 0.1 < toy.speaker.sounds[-1].seconds < 0.5
        assert toy.speaker.sounds[-1].start > at
