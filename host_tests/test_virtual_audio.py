"""Speaker and microphone of the virtual toy, with little scripts as its firmware."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from host_tests.virtual.toy import VirtualToy

pytestmark = [pytest.mark.targets("unix"), pytest.mark.virtual_time]

Make = Callable[..., VirtualToy]

# Plays BLOCKS blocks of 512 counting samples from the I2S callback, heap locked
PLAY = """
import bus, machine, micropython, time
from machine import I2S, Pin
Pin(21, Pin.OUT, value=1)
buf = bytearray(1024)
for i in range(512):
    buf[2 * i] = i & 255
    buf[2 * i + 1] = i >> 8
left = BLOCKS
def more(i2s):
    global left
    left -= 1
    if left > 0:
        i2s.write(buf)
    STALL
start = time.ticks_us()
tx = I2S(1, sck=Pin(26), ws=Pin(27), sd=Pin(22), mode=I2S.TX, bits=16, format=I2S.MONO,
         rate=16000, ibuf=4096)
tx.irq(more)
micropython.heap_lock()
tx.write(buf)
tx.write(buf)
while left > -1:
    time.sleep_ms(10)
time.sleep_ms(200)
micropython.heap_unlock()
tx.deinit()
print("started", start)
"""


def play(blocks: int, stall: str = "pass") -> str:
    return PLAY.replace("BLOCKS", str(blocks)).replace("STALL", stall)


async def test_the_first_sample_comes_one_turn_of_the_ring_after_opening(
    virtual_toy: Make,
) -> None:
    async with virtual_toy(main=play(10)) as toy:
        assert await toy.wait_stopped() == "ended"
        assert len(toy.speaker.sounds) == 1
        (started,) = (int(x.split()[1]) for x in toy.console if x.startswith("started"))
        # 8 descriptors of 16 ms: the first is given to the writer when it has been sent.
        assert toy.speaker.sounds[0].start - started / 1e6 == pytest.approx(0.128, abs=1e-4)


async def test_what_is_written_comes_out_without_a_gap(virtual_toy: Make) -> None:
    async with virtual_toy(main=play(50)) as toy:
        assert await toy.wait_stopped() == "ended"
        expected = np.tile(np.arange(512, dtype=np.int16), 51)
        np.testing.assert_array_equal(toy.speaker.pcm(), expected)
        assert toy.speaker.underruns == 0
        assert toy.i2s.dropped == 0


async def test_a_stall_longer_than_the_ring_is_an_underrun(virtual_toy: Make) -> None:
    stall = "if left == 25: bus.stall(200000)"
    async with virtual_toy(main=play(50, stall)) as toy:
        assert await toy.wait_stopped() == "ended"
        assert toy.speaker.underruns == 1


async def test_a_stall_shorter_than_the_ring_is_not_heard(virtual_toy: Make) -> None:
    stall = "if left % 10 == 5: bus.stall(60000)"
    async with virtual_toy(main=play(50, stall)) as toy:
        assert await toy.wait_stopped() == "ended"
        assert toy.speaker.underruns == 0


async def test_nothing_is_heard_while_the_amplifier_is_off(virtual_toy: Make) -> None:
    script = play(10).replace("value=1", "value=0")
    async with virtual_toy(main=script) as toy:
        assert await toy.wait_stopped() == "ended"
        assert len(toy.speaker.pcm()) and not toy.speaker.pcm().any()


async def test_a_blocking_write_takes_as_long_as_it_sounds(virtual_toy: Make) -> None:
    script = """
import time
from machine import I2S, Pin
tx = I2S(1, sck=Pin(26), ws=Pin(27), sd=Pin(22), mode=I2S.TX, bits=16, format=I2S.MONO,
         rate=16000, ibuf=4096)
start = time.ticks_ms()
print(tx.write(bytes(64000)), time.ticks_diff(time.ticks_ms(), start))
for wrong in (lambda: tx.readinto(bytearray(8)), lambda: I2S(2, sck=1, ws=2, sd=3, mode=9)):
    try:
        wrong()
    except (OSError, ValueError, TypeError) as e:
        print(repr(e))
"""
    async with virtual_toy(main=script) as toy:
        assert await toy.wait_stopped() == "ended"
        written, took = map(int, toy.console[0].split())
        assert written == 64000
        assert 1880 <= took <= 2016  # all but what is in the ring
        assert toy.console[1:] == ["OSError(1,)", "ValueError('invalid id',)"]


RECORD = """
import bus, machine, micropython, time
from machine import I2S, Pin
buf = bytearray(2048)
out = open("/take", "wb")
ready = False
i = 0
def filled(i2s):
    global ready
    ready = True
rx = I2S(0, sck=Pin(32), ws=Pin(25), sd=Pin(33), mode=I2S.RX, bits=32, format=I2S.MONO,
         rate=16000, ibuf=20480)
rx.irq(filled)
print("recording")
micropython.heap_lock()
rx.readinto(buf)
for i in range(BLOCKS):
    while not ready:
        time.sleep_ms(1)
    ready = False
    micropython.heap_unlock()
    out.write(buf)
    micropython.heap_lock()
    STALL
    rx.readinto(buf)
micropython.heap_unlock()
rx.deinit()
out.close()
"""

# Prints what was recorded
DUMP = """
import binascii
with open("/take", "rb") as take:
    while take.readinto(buf):
        print(binascii.hexlify(buf).decode())
"""


async def test_what_is_spoken_arrives_at_the_top_of_the_slots(virtual_toy: Make) -> None:
    script = RECORD.replace("BLOCKS", "40").replace("STALL", "pass") + DUMP
    speech = (np.sin(np.arange(8000) / 10) * 8000).astype(np.int16)
    async with virtual_toy(main=script) as toy:
        await toy.wait_console("recording")
        began = toy.loop.time()
        toy.mic.noise = 0
        toy.mic.speak(speech)
        assert toy.mic.running
        assert await toy.wait_stopped() == "ended"
        assert not toy.mic.running
        slots = np.frombuffer(bytes.fromhex("".join(toy.console[1:])), "<i4")
        assert len(slots) == 40 * 512
        assert not (slots & 0xFF).any()
        samples = (slots >> 8) - toy.mic.offset
        settled = slice(4000, 8000)
        np.testing.assert_allclose(samples[settled], speech[settled] * toy.mic.level * 256, atol=1)
        assert abs(samples[:100]).max() > 1_000_000  # the click
        assert abs(samples[8100:]).max() <= 1
        assert toy.mic.opened[0] == began
        assert toy.mic.overruns == 0


async def test_a_reader_that_comes_late_loses_what_was_spoken(virtual_toy: Make) -> None:
    stall = "if i == 10: bus.stall(400000)"
    script = RECORD.replace("BLOCKS", "40").replace("STALL", stall)
    async with virtual_toy(main=script) as toy:
        assert await toy.wait_stopped() == "ended"
        assert 10 <= toy.mic.overruns <= 20


async def test_a_minute_of_sound_has_no_gap(virtual_toy: Make) -> None:
    async with virtual_toy(main=play(1875)) as toy:
        assert await toy.wait_stopped(120) == "ended"
        assert toy.loop.time() > 60
        assert toy.speaker.underruns == 0


async def test_the_same_run_takes_the_same_course(virtual_toy: Make) -> None:
    courses = []
    for name in "ab":
        async with virtual_toy(
            name, main=RECORD.replace("BLOCKS", "20").replace("STALL", "pass") + DUMP
        ) as toy:
            began, frames = toy.loop.time(), toy.bus.frames
            toy.mic.speak(np.arange(-8000, 8000, dtype=np.int16))
            toy.press("play", bounce=9)
            assert await toy.wait_stopped() == "ended"
            elapsed = round(toy.loop.time() - began, 6)
            courses.append((elapsed, toy.bus.frames - frames, toy.console))
    assert courses[0] == courses[1]
