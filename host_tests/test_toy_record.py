"""Recording, as a child has it: the paws, microphone, LED and speaker of the virtual toy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from host_tests import messages
from host_tests.messages import configure, crash_log, give, outbox, speech
from host_tests.virtual import FlashModel, VirtualToy
from host_tests.virtual.radio import VirtualRadio
from hushbear import container

pytestmark = [pytest.mark.targets("unix"), pytest.mark.virtual_time]

Make = Callable[..., VirtualToy]

SPOKEN_SNR = 18  # dB; the filter against the microphone's offset turns the phase of low notes


async def start(toy: VirtualToy, **settings: int) -> None:
    if settings:
        await configure(toy, **settings)
    await toy.restart()
    await asyncio.sleep(1)


async def say(toy: VirtualToy, seconds: float, paw: str = "record") -> messages.Pcm:
    """Hold the paw, speak after the beep, let go; return what was said."""
    voice = speech(seconds, 7)
    toy.press(paw)
    await asyncio.sleep(0.6)
    toy.mic.speak(voice)
    await asyncio.sleep(seconds + 0.1)
    toy.release(paw)
    await asyncio.sleep(1)
    return voice


def led_is_on_while_the_microphone_is(toy: VirtualToy) -> bool:
    spans = zip(toy.mic.opened, toy.mic.closed, strict=True)
    lit = [toy.led.lit(opened, closed) for opened, closed in spans]
    return bool(lit) and all(share == 1 for share in lit)


@pytest.mark.parametrize("board", ["esp32_devkitc", "esp32_s3", "esp32_c3"])
async def test_what_was_spoken_is_in_the_outbox(virtual_toy: Make, board: str) -> None:
    async with virtual_toy(autostart=False, air=VirtualRadio(), board=board) as toy:
        await start(toy)
        voice = await say(toy, 2)
        assert led_is_on_while_the_microphone_is(toy)
        assert not toy.mic.running
        start_beep, stop_notes = toy.speaker.sounds
        assert start_beep.start < toy.mic.closed[-1] < stop_notes.start
        assert toy.mic.overruns == 0
        await toy.restart()  # it survives
        (message,) = await outbox(toy)
        assert container.parse_header(message[:48])[1] == container.TOY
        pcm = messages.decode(message)
        assert abs(len(pcm) / 16000 - 2.5) < 0.4
        spoken = messages.find(voice, pcm)
        assert spoken >= 0
        assert messages.snr(pcm[spoken : spoken + len(voice)], voice) > SPOKEN_SNR


async def test_a_short_press_is_discarded_with_a_blip(virtual_toy: Make) -> None:
    async with virtual_toy(air=VirtualRadio()) as toy:
        await asyncio.sleep(1)
        await toy.hold("record", 0.2)
        await asyncio.sleep(1)
        beep, blip = toy.speaker.sounds
        assert beep.seconds < 0.2
        assert blip.seconds < 0.2
        assert led_is_on_while_the_microphone_is(toy)
        assert await outbox(toy) == []


async def test_a_press_as_long_as_the_shortest_recording_is_kept(virtual_toy: Make) -> None:
    async with virtual_toy(autostart=False, air=VirtualRadio()) as toy:
        await start(toy, record_min_ms=300)
        await toy.hold("record", 0.34)
        await asyncio.sleep(1)
        await start(toy, record_min_ms=2000)
        await toy.hold("record", 1.9)
        await asyncio.sleep(1)
        assert len(await outbox(toy)) == 1


async def test_a_recording_ends_at_the_limit(virtual_toy: Make) -> None:
    async with virtual_toy(autostart=False, air=VirtualRadio()) as toy:
        await start(toy, record_max_s=1)
        toy.press("record")
        await asyncio.sleep(2)
        assert not toy.mic.running
        assert len(toy.speaker.sounds) == 2  # the stop notes came by themselves
        await asyncio.sleep(3)
        toy.release("record")
        await asyncio.sleep(1)
        (message,) = await outbox(toy)
        assert 0.9 < len(messages.decode(message)) / 16000 <= 1.0
        assert toy.mic.opened[1:] == []


async def test_bouncing_contacts_make_one_recording(virtual_toy: Make) -> None:
    async with virtual_toy(air=VirtualRadio()) as toy:
        await asyncio.sleep(1)
        await toy.hold("record", 1.0, bounce=6)
        await asyncio.sleep(1)
        assert len(toy.mic.opened) == 1
        assert len(await outbox(toy)) == 1


async def test_the_led_is_on_with_the_microphone_whatever_the_brightness(
    virtual_toy: Make,
) -> None:
    async with virtual_toy(autostart=False, air=VirtualRadio()) as toy:
        await start(toy, brightness=0, volume=0)
        await say(toy, 1)
        assert led_is_on_while_the_microphone_is(toy)
        assert toy.speaker.sounds == []
        assert len(await outbox(toy)) == 1


async def test_one_paw_records_when_held_and_plays_when_tapped(virtual_toy: Make) -> None:
    voice = speech(1.2, 3)
    async with virtual_toy(autostart=False, air=VirtualRadio(), board="esp32_c3") as toy:
        await give(toy, messages.make(voice, b"C" * 16))
        await start(toy)
        released = asyncio.get_running_loop().time() + 0.12
        await toy.hold("record", 0.12)
        await asyncio.sleep(2)
        assert toy.mic.opened == []
        assert messages.snr(toy.speaker.pcm(), voice) > 20
        assert toy.speaker.sounds[0].start - released <= 0.150
        await say(toy, 1)
        assert len(await outbox(toy)) == 1


async def test_a_slow_flash_costs_no_sound(virtual_toy: Make) -> None:
    async with virtual_toy(autostart=False, air=VirtualRadio()) as toy:
        await start(toy)
        toy.flash.model = FlashModel(erase_ms=100, program_ms=1)
        await toy.flash.apply()
        voice = await say(toy, 4)
        await asyncio.sleep(2)
        assert toy.mic.overruns == 0
        toy.flash.model = FlashModel()
        (message,) = await outbox(toy)
        pcm = messages.decode(message)
        spoken = messages.find(voice, pcm)
        assert messages.snr(pcm[spoken : spoken + len(voice)], voice) > SPOKEN_SNR


async def test_a_full_flash_is_heard_and_seen_and_loses_nothing(virtual_toy: Make) -> None:
    small = FlashModel(blocks=64)  # 256 kB, of which the store reserves 96
    async with virtual_toy(autostart=False, air=VirtualRadio(), flash=small) as toy:
        await start(toy)
        kept = 0
        for _ in range(20):
            before = len(toy.speaker.sounds)
            await toy.hold("record", 1.5)
            await asyncio.sleep(2)
            if sum(sound.seconds for sound in toy.speaker.sounds[before:]) > 0.5:
                break  # the sound that says so is the longest
            kept += 1
        else:
            pytest.fail("never full")
        assert kept >= 1
        flashes = [x for x in toy.led.history if x.time > toy.mic.closed[-1] and x.level > 0]
        assert len(flashes) >= 5
        assert len(await outbox(toy)) in (kept, kept + 1)


async def test_a_power_cut_while_recording_leaves_the_earlier_ones(virtual_toy: Make) -> None:
    async with virtual_toy(air=VirtualRadio()) as toy:
        await asyncio.sleep(1)
        await say(toy, 1)
        toy.press("record")
        await asyncio.sleep(2)
        toy.power_cut()
        toy.release("record")
        await toy.restart()
        await asyncio.sleep(1)
        await say(toy, 1)
        assert len(await outbox(toy)) == 2
        assert "store" not in await crash_log(toy)
