"""Paws, LEDs, timers and the watchdog of the virtual toy, with little scripts as its firmware."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from host_tests.virtual.bus import Channel
from host_tests.virtual.toy import Cause, ToyError, VirtualToy

pytestmark = [pytest.mark.targets("unix"), pytest.mark.virtual_time]

Make = Callable[..., VirtualToy]

EDGES = """
import machine, time
edges = []
def edge(pin):
    edges.append((pin.value(), time.ticks_ms()))
paw = machine.Pin(18, machine.Pin.IN, machine.Pin.PULL_UP)
paw.irq(edge, machine.Pin.IRQ_FALLING | machine.Pin.IRQ_RISING)
print("ready", paw.value())
time.sleep(1)
print(edges)
"""


async def test_a_press_interrupts_the_toy_at_its_time(virtual_toy: Make) -> None:
    async with virtual_toy(main=EDGES) as toy:
        await toy.wait_console("ready 1")
        await asyncio.sleep(0.2)
        await toy.hold("record", 0.3)
        assert await toy.wait_stopped() == "ended"
        assert toy.console[-1] == "[(0, 200), (1, 500)]"


async def test_bouncing_contacts_make_many_edges_within_5_ms(virtual_toy: Make) -> None:
    async with virtual_toy(main=EDGES) as toy:
        await toy.wait_console("ready")
        toy.press("record", bounce=5)
        await toy.wait_stopped()
        edges = eval(toy.console[-1])
        assert len(edges) == 11
        assert edges[-1][0] == 0
        assert edges[-1][1] <= 5


async def test_edges_while_the_flash_stalls_come_late_and_read_the_final_level(
    virtual_toy: Make,
) -> None:
    script = EDGES.replace("time.sleep(1)", "import bus; bus.stall(100000)\ntime.sleep(1)")
    async with virtual_toy(main=script) as toy:
        await toy.wait_console("ready")
        await asyncio.sleep(0.02)
        await toy.hold("record", 0.02)
        await toy.wait_stopped()
        assert toy.console[-1] == "[(1, 100), (1, 100)]"


async def test_a_handler_that_raises_is_reported_and_the_toy_goes_on(virtual_toy: Make) -> None:
    script = EDGES.replace("edges.append", "1 / 0; edges.append")
    async with virtual_toy(main=script) as toy:
        await toy.wait_console("ready")
        toy.press("record")
        assert await toy.wait_stopped() == "ended"
        assert "ZeroDivisionError: divide by zero" in toy.console


async def test_handlers_run_with_the_heap_locked_as_the_firmware_left_it(
    virtual_toy: Make,
) -> None:
    script = """
import machine, micropython, time
seen = bytearray(3)
depth = 0
def edge(pin):
    seen[0] += 1
    seen[1] = micropython.heap_locked()
    led.duty_u16(30000)
    try:
        [seen, seen]
    except MemoryError:
        seen[2] += 1
led = machine.PWM(machine.Pin(4), freq=1000, duty_u16=0)
paw = machine.Pin(18, machine.Pin.IN, machine.Pin.PULL_UP)
paw.irq(edge)
print("ready")
micropython.heap_lock()
time.sleep_ms(1000)
depth = micropython.heap_locked()
micropython.heap_unlock()
print(depth, list(seen))
"""
    async with virtual_toy(main=script) as toy:
        await toy.wait_console("ready")
        await toy.hold("record", 0.1)
        assert await toy.wait_stopped() == "ended"
        assert toy.console[-1] == "1 [2, 1, 2]"
        assert toy.led.on


async def test_the_led_shows_what_pwm_and_neopixel_say(virtual_toy: Make) -> None:
    script = """
import machine, neopixel, time
if machine.Pin(48) if 48 in __import__("bus").config["pins"] else None:
    pixel = neopixel.NeoPixel(machine.Pin(48), 1)
    pixel[0] = (1, 2, 255)
    pixel.write()
else:
    led = machine.PWM(machine.Pin(4), freq=1000, duty_u16=65535)
    time.sleep_ms(500)
    led.duty_u16(0)
"""
    async with virtual_toy(main=script) as toy:
        await toy.led.wait_for(lambda light: light.level == 1)
        await toy.wait_stopped()
        assert not toy.led.on
        assert toy.led.lit(0.0, 1.0) == pytest.approx(0.5, abs=0.001)
    async with virtual_toy("other", main=script, board="esp32_s3") as toy:
        await toy.wait_stopped()
        assert toy.led.now.colour == (1, 2, 255)


async def test_a_toy_that_does_not_feed_its_watchdog_is_restarted(virtual_toy: Make) -> None:
    script = """
import machine, time
print("cause", machine.reset_cause())
wdt = machine.WDT(timeout=2000)
for i in range(3):
    time.sleep(1)
    wdt.feed()
time.sleep(60)
"""
    async with virtual_toy(main=script) as toy:
        assert await toy.wait_restart(2) == Cause.WATCHDOG
        assert toy.loop.time() == pytest.approx(5.3, abs=0.01)
        await toy.wait_console(f"cause {Cause.WATCHDOG}")


async def test_reset_keeps_the_clock_and_the_files(virtual_toy: Make) -> None:
    script = """
import machine, os, time
if machine.reset_cause() == machine.PWRON_RESET:
    machine.RTC().datetime((2026, 1, 2, 0, 3, 4, 5, 0))
    with open("/kept", "w") as f:
        f.write("yes")
    time.sleep(10)
    machine.reset()
print(machine.reset_cause(), open("/kept").read(), time.gmtime()[:6], time.gmtime(0)[0])
"""
    async with virtual_toy(main=script) as toy:
        assert await toy.wait_restart(2) == Cause.RESET
        await toy.wait_stopped()
        assert toy.console[-1] == "2 yes (2026, 1, 2, 3, 4, 15) 2000"


async def test_a_timer_fires_in_the_background(virtual_toy: Make) -> None:
    script = """
import machine, time
times = []
machine.Timer(0, period=250, callback=lambda t: times.append(time.ticks_ms()))
machine.Timer(1, mode=machine.Timer.ONE_SHOT, period=100, callback=lambda t: times.append(-1))
time.sleep_ms(1100)
print(times)
"""
    async with virtual_toy(main=script) as toy:
        await toy.wait_stopped()
        assert toy.console[-1] == "[-1, 250, 500, 750, 1000]"


async def test_a_crash_of_the_process_is_reported_with_its_console(virtual_toy: Make) -> None:
    script = """
import os, uctypes
print("last words")
uctypes.bytearray_at(0, 1)[0] = 1
"""
    with pytest.raises(ToyError, match=r"status -11(.|\n)*last words"):
        async with virtual_toy(main=script) as toy:
            await toy.wait_stopped()


async def test_a_snippet_runs_in_place_of_main(virtual_toy: Make) -> None:
    async with virtual_toy(main="open('/made', 'w').close(); import time; time.sleep(999)") as toy:
        await asyncio.sleep(1)
        assert await toy.exec_repl("import os; print('made' in os.listdir('/'))") == "True"
        with pytest.raises(ToyError, match="NameError"):
            await toy.exec_repl("nonsense")
        assert toy.running


async def test_a_peripheral_that_fails_is_reported_as_such(virtual_toy: Make) -> None:
    def broken(op: int, payload: bytes) -> None:
        raise LookupError("no such thing")

    with pytest.raises(ToyError, match="no such thing"):
        async with virtual_toy(main="import machine; machine.WDT()") as toy:
            toy.bus.on(Channel.WDT, broken)
            await toy.off.wait()


async def test_without_an_air_the_radio_has_one_to_itself(virtual_toy: Make) -> None:
    script = "import bluetooth\nble = bluetooth.BLE()\nble.active(True)\nprint(ble.active())"
    async with virtual_toy(main=script) as toy:
        assert await toy.wait_stopped() == "ended"
        assert toy.console == ["True"]


async def test_a_question_that_nobody_answers_is_an_error(
    virtual_toy: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("host_tests.virtual.bus.STUCK_AFTER", 2)
    with pytest.raises(ToyError, match="nobody gives"):
        async with virtual_toy(main="import bus\nbus.call(7, 1)") as toy:
            await toy.wait_stopped()
