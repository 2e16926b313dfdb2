"""What the toy does when something is wrong with it, or with its firmware."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from host_tests import messages
from host_tests.messages import crash_log, give, outbox, speech
from host_tests.virtual import VirtualToy
from host_tests.virtual.radio import VirtualRadio

pytestmark = [pytest.mark.targets("unix"), pytest.mark.virtual_time]

Make = Callable[..., VirtualToy]

VOICE = speech(1.2, 5)

# The firmware with a defect, put in before it runs
WITH = """
import board
board.safe_mode = board.mode = board.locked = False
{defect}
exec(open("/firmware/main.py").read())
"""

ALLOCATES = """
from hushbear import {module}
right = {module}.{function}
def wrong(*args):
    bytearray(100)
    return right(*args)
{module}.{function} = wrong
"""


@pytest.mark.parametrize(("module", "function"), [("ima", "decode"), ("dsp", "scale")])
async def test_playing_runs_with_the_heap_locked(
    virtual_toy: Make, module: str, function: str
) -> None:
    main = WITH.format(defect=ALLOCATES.format(module=module, function=function))
    async with virtual_toy(autostart=False, air=VirtualRadio(), main=main) as toy:
        await give(toy, messages.make(VOICE, b"A" * 16))
        await toy.restart()
        await asyncio.sleep(1)
        await toy.hold("play", 0.2)
        await asyncio.sleep(3)
        assert "MemoryError: memory allocation failed, heap is locked" in await crash_log(toy)


@pytest.mark.parametrize("method", ["process", "write"])
async def test_recording_runs_with_the_heap_locked(virtual_toy: Make, method: str) -> None:
    where = {
        "process": "from hushbear.dsp import Capture as Class",  # in the callback
        "write": "from hushbear.store.record import Recording as Class",  # in the task
    }
    defect = (
        f"{where[method]}\nright = Class.{method}\n"
        f"def wrong(*args):\n    bytearray(100)\n    return right(*args)\n"
        f"Class.{method} = wrong\n"
    )
    main = WITH.format(defect=defect)
    async with virtual_toy(air=VirtualRadio(), main=main) as toy:
        await asyncio.sleep(1)
        await toy.hold("record", 2)
        await asyncio.sleep(1)
        assert "MemoryError: memory allocation failed, heap is locked" in await crash_log(toy)


async def test_recording_and_playing_allocate_nothing(virtual_toy: Make) -> None:
    async with virtual_toy(autostart=False, air=VirtualRadio()) as toy:
        await give(toy, messages.make(VOICE, b"A" * 16))
        await toy.restart()
        await asyncio.sleep(1)
        await toy.hold("play", 0.2)
        await asyncio.sleep(3)
        await toy.hold("record", 2)
        await asyncio.sleep(1)
        assert len(await outbox(toy)) == 1
        assert "MemoryError" not in await crash_log(toy)


async def test_a_microphone_that_fails_is_reported_and_the_toy_lives_on(
    virtual_toy: Make,
) -> None:
    defect = "def broken(ibuf):\n    raise OSError(5)\nboard.microphone = broken\n"
    async with virtual_toy(
        autostart=False, air=VirtualRadio(), main=WITH.format(defect=defect)
    ) as toy:
        await give(toy, messages.make(VOICE, b"A" * 16))
        await toy.restart()
        await asyncio.sleep(1)
        await toy.hold("record", 1)
        await toy.led.wait_for(lambda light: light.level > 0)
        await asyncio.sleep(3)
        since = asyncio.get_running_loop().time()
        await toy.hold("play", 0.2)
        await asyncio.sleep(3)
        assert messages.snr(toy.speaker.pcm(since), VOICE) > 20
        assert len(toy.causes) == 2  # for the message, and the start: it was not reset
        assert "EIO" in await crash_log(toy)


@pytest.mark.parametrize("board", ["esp32_devkitc", "esp32_s3", "esp32_c3"])
async def test_the_record_paw_held_at_power_up_is_safe_mode(virtual_toy: Make, board: str) -> None:
    async with virtual_toy(autostart=False, air=VirtualRadio(), board=board) as toy:
        toy.press("record")
        await toy.restart()
        assert await toy.wait_stopped() == "ended"  # the REPL
        assert toy.led.on
        assert toy.led.now.blink_hz == 2 or toy.led.now.colour is not None
        await asyncio.sleep(2)
        assert toy.mic.opened == []
        toy.release("record")
        await toy.restart()
        await asyncio.sleep(1)
        assert toy.stopped is None
        await toy.hold("record", 1.5)
        assert len(toy.mic.opened) == 1


async def test_a_toy_that_hangs_is_restarted_by_the_watchdog(virtual_toy: Make) -> None:
    defect = (
        "from hushbear.audio import speaker\n"
        "async def hang(*args):\n"
        "    import asyncio\n"
        "    await asyncio.sleep(3600)\n"
        "speaker.Speaker.sound = hang\n"
    )
    async with virtual_toy(air=VirtualRadio(), main=WITH.format(defect=defect)) as toy:
        await asyncio.sleep(1)
        await toy.hold("play", 0.2)
        assert await toy.wait_restart(2) == 3  # the watchdog
        assert "paws is stuck" in await crash_log(toy)


async def test_ctrl_c_ends_in_the_repl_with_the_microphone_off(virtual_toy: Make) -> None:
    defect = (
        "from hushbear.audio.mic import Mic\n"
        "def interrupted(mic):\n"
        "    raise KeyboardInterrupt\n"
        "Mic.full = interrupted\n"
    )
    async with virtual_toy(air=VirtualRadio(), main=WITH.format(defect=defect)) as toy:
        await asyncio.sleep(1)
        toy.press("record")
        assert await toy.wait_stopped() == "ended"
        assert toy.mic.opened
        assert not toy.mic.running
        assert not toy.led.on
        await asyncio.sleep(60)
        assert len(toy.causes) == 1  # the watchdog leaves the flash tool time


async def test_a_message_that_the_flash_lost_says_so_and_lets_the_next_one_pass(
    virtual_toy: Make,
) -> None:
    spoil = (
        "import os\n"
        "for name in os.listdir('/msg/in'):\n"
        "    if '42' * 16 in name:\n"
        "        with open('/msg/in/' + name, 'r+b') as file:\n"
        "            file.write(b'XXXX')\n"
    )
    async with virtual_toy(autostart=False, air=VirtualRadio()) as toy:
        await give(toy, messages.make(VOICE, b"B" * 16), messages.make(VOICE, b"C" * 16))
        await toy.exec_repl(spoil)
        await toy.restart()
        await asyncio.sleep(1)
        now = asyncio.get_running_loop().time()
        await toy.hold("play", 0.2)
        await asyncio.sleep(12)
        if not toy.speaker.sounds or messages.snr(toy.speaker.pcm(now), VOICE) < 20:
            since = asyncio.get_running_loop().time()
            await toy.hold("play", 0.2)
            await asyncio.sleep(3)
            assert messages.snr(toy.speaker.pcm(since), VOICE) > 20
            assert any(light.level for light in toy.led.history if light.time > now)
        else:
            await asyncio.sleep(1)
            assert not toy.led.on  # the store itself saw at the start that it is lost


async def test_the_led_blinks_twice_a_second_while_a_phone_sends(virtual_toy: Make) -> None:
    defect = "from hushbear.link import Link\nLink.transferring = True\n"
    async with virtual_toy(air=VirtualRadio(), main=WITH.format(defect=defect)) as toy:
        await asyncio.sleep(4)
        now = asyncio.get_running_loop().time()
        lit = [x for x in toy.led.history if x.level and now - 2 <= x.time < now]
        assert len(lit) == 4
        assert toy.led.lit(now - 2, now) == pytest.approx(0.5, abs=0.1)
