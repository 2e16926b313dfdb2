"""The virtual clock, of the host's event loop and of the toy, and the real one."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

import pytest

from host_tests.virtual.chip_clock import RANGE, ChipClock
from host_tests.virtual.toy import VirtualToy

pytestmark = pytest.mark.targets("unix")

Make = Callable[..., VirtualToy]


@pytest.mark.virtual_time
async def test_an_hour_of_the_host_takes_no_time() -> None:
    loop = asyncio.get_running_loop()
    order: list[str] = []

    async def sleeper(seconds: float, name: str) -> None:
        await asyncio.sleep(seconds)
        order.append(name)

    async with asyncio.TaskGroup() as group:
        group.create_task(sleeper(3600, "last"))
        group.create_task(sleeper(0.001, "first"))
        group.create_task(sleeper(1800, "second"))
    assert order == ["first", "second", "last"]
    assert loop.time() == 3600
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(86400 * 30):
            await asyncio.Queue[int]().get()
    assert loop.time() == 3600 + 86400 * 30


@pytest.mark.virtual_time
async def test_an_hour_of_the_toy_takes_no_time(virtual_toy: Make) -> None:
    script = """
import time
a = time.ticks_ms(), time.time(), time.gmtime()[3]
time.sleep(3600)
print(time.ticks_diff(time.ticks_ms(), a[0]), time.time() - a[1], time.gmtime()[3] - a[2])
"""
    async with virtual_toy(main=script) as toy:
        await toy.wait_stopped(4000)
        assert toy.console == ["3600000 3600 1"]
        assert toy.loop.time() == 3600


@pytest.mark.virtual_time
async def test_ticks_us_wrap_after_18_minutes(virtual_toy: Make) -> None:
    script = """
import time
wraps = 0
last = time.ticks_us()
for i in range(300):
    time.sleep(10)
    now = time.ticks_us()
    assert time.ticks_diff(now, last) == 10_000_000
    wraps += now < last
    last = now
print(wraps, time.ticks_add(0, -1) + 1 == 1 << 30)
"""
    async with virtual_toy(main=script) as toy:
        await toy.wait_stopped(4000)
        assert toy.console == ["2 True"]


@pytest.mark.virtual_time
async def test_asyncio_on_the_toy_keeps_order_and_time(virtual_toy: Make) -> None:
    script = """
import asyncio, machine, time
flag = asyncio.ThreadSafeFlag()
machine.Pin(18, 1, 2).irq(lambda pin: flag.set(), machine.Pin.IRQ_FALLING)
said = []
def say(*what):
    said.append((time.ticks_ms(),) + what)
async def ticker(name, ms, n):
    for i in range(n):
        await asyncio.sleep_ms(ms)
        say(name, i)
async def waiter():
    await flag.wait()
    say("paw")
    try:
        await asyncio.wait_for(flag.wait(), 1)
    except asyncio.TimeoutError:
        say("timeout")
async def main():
    print("ready")
    await asyncio.gather(ticker("a", 400, 3), ticker("b", 500, 2), waiter())
    event = asyncio.Event()
    asyncio.create_task(ticker("c", 60000, 10))
    try:
        await asyncio.wait_for_ms(event.wait(), 3_600_000)
    except asyncio.TimeoutError:
        say("late")
asyncio.run(main())
for each in said:
    print(each)
"""
    async with virtual_toy(main=script) as toy:
        await toy.wait_console("ready")
        await asyncio.sleep(0.75)
        await toy.hold("record", 0.1)
        assert await toy.wait_stopped(4000) == "ended"
        assert toy.console[1:8] == [
            "(400, 'a', 0)",
            "(500, 'b', 0)",
            "(750, 'paw')",
            "(800, 'a', 1)",
            "(1000, 'b', 1)",
            "(1200, 'a', 2)",
            "(1750, 'timeout')",
        ]
        assert toy.console[-1] == "(3601750, 'late')"


@pytest.mark.virtual_time
async def test_loops_that_only_look_at_the_clock_get_on(virtual_toy: Make) -> None:
    script = """
import asyncio, time
start = time.ticks_ms()
while time.ticks_diff(time.ticks_ms(), start) < 20:
    pass
async def main():
    while time.ticks_diff(time.ticks_ms(), start) < 50:
        await asyncio.sleep_ms(0)
asyncio.run(main())
print("done")
"""
    async with virtual_toy(main=script) as toy:
        assert await toy.wait_stopped() == "ended"
        assert 0.05 <= toy.loop.time() < 0.06


@pytest.mark.virtual_time
async def test_sleeping_in_a_callback_holds_up_other_callbacks(virtual_toy: Make) -> None:
    script = """
import machine, time
times = []
def slow(timer):
    times.append(("slow", time.ticks_ms()))
    time.sleep_ms(100)
    times.append(("over", time.ticks_ms()))
machine.Timer(0, mode=0, period=10, callback=slow)
machine.Timer(1, mode=0, period=20, callback=lambda t: times.append(("other", time.ticks_ms())))
time.sleep_ms(50)
print(times, time.ticks_ms())
"""
    async with virtual_toy(main=script) as toy:
        assert await toy.wait_stopped() == "ended"
        assert toy.console == ["[('slow', 10), ('over', 110), ('other', 110)] 110"]


@pytest.mark.virtual_time
async def test_a_toy_that_hangs_meets_its_watchdog(
    virtual_toy: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("host_tests.virtual.bus.HUNG_AFTER", 0.5)
    script = """
import machine, time
if machine.reset_cause() == machine.PWRON_RESET:
    machine.WDT(timeout=8000)
    while True:
        pass
print("again", machine.reset_cause())
"""
    async with virtual_toy(main=script) as toy:
        await toy.wait_console("again 3")


async def test_real_time_interrupts_between_bytecodes(virtual_toy: Make) -> None:
    script = """
import machine, time
edges = 0
def edge(pin):
    global edges
    edges += 1
machine.Pin(18, machine.Pin.IN, machine.Pin.PULL_UP).irq(edge)
print("ready")
start = time.ticks_ms()
while edges < 2:
    pass
print(time.ticks_diff(time.ticks_ms(), start))
"""
    async with virtual_toy(main=script) as toy:
        await toy.wait_console("ready")
        await toy.hold("record", 0.2)
        assert await toy.wait_stopped() == "ended"
        assert 150 < int(toy.console[-1]) < 2000


async def test_sound_in_real_time(virtual_toy: Make) -> None:
    script = """
import machine, time
from machine import I2S, Pin
Pin(21, Pin.OUT, value=1)
buf = bytearray(b"\\x10\\x20" * 512)
left = 20
def more(i2s):
    global left
    left -= 1
    if left > 0:
        i2s.write(buf)
tx = I2S(1, sck=Pin(26), ws=Pin(27), sd=Pin(22), mode=I2S.TX, bits=16, format=I2S.MONO,
         rate=16000, ibuf=4096)
tx.irq(more)
tx.write(buf)
while left:
    time.sleep_ms(5)
time.sleep_ms(200)
"""
    async with virtual_toy(main=script) as toy:
        assert await toy.wait_stopped() == "ended"
        assert len(toy.speaker.pcm()) >= 20 * 512
        assert (toy.speaker.pcm()[:512] == 0x2010).all()


async def test_no_process_is_left_behind_when_the_host_goes(virtual_toy: Make) -> None:
    async with virtual_toy(main="print('up')\nwhile True:\n    pass") as toy:
        await toy.wait_console("up")
        process = toy.process
        assert process is not None
        toy.bus.detach()
        assert process.wait(10) == -signal.SIGKILL


def test_a_chips_clock_goes_as_the_chip_says() -> None:
    clock = ChipClock()
    rung: list[tuple[str, float]] = []

    def ring(name: str) -> Callable[[], None]:
        return lambda: rung.append((name, clock.time()))

    def again() -> None:
        ring("first")()
        clock.call_at(clock.time() + 0.001, ring("from the first"))

    clock.call_at(0.003, ring("last"))
    clock.call_at(0.001, again)
    clock.call_at(0.002, ring("cancelled")).cancel()
    clock.heard(RANGE - 1500)  # whatever it is at first, nothing has passed
    assert (clock.time(), rung) == (0, [])
    clock.heard(1000)  # 2.5 ms later, over the end of its ticks
    assert clock.time() == 0.0025
    assert rung == [("first", 0.001), ("from the first", 0.002)]
    clock.started()  # it was reset
    clock.heard(0)
    assert clock.time() == 0.0025
    clock.heard(700)
    assert rung[2:] == [("last", 0.003)]
    with pytest.raises(ValueError, match="back"):
        clock.heard(0)
