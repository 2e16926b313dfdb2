"""Tasks that die, callbacks that raise, peripherals that stop: the toy comes back, and says why.

Each defect is put into the firmware before it runs, and is over after some time or a restart.
"""

from __future__ import annotations

import asyncio
import contextlib

import numpy as np
import pytest

from host_tests.family import MakeToy, client, family, firmware_with, spoken
from host_tests.messages import crash_log, speech
from host_tests.targets import LIB
from host_tests.virtual import Cause, VirtualToy
from host_tests.virtual.radio import VirtualRadio
from hushbear_companion.errors import HushbearError
from hushbear_companion.records import Box
from tools import compact

pytestmark = [pytest.mark.targets("unix"), pytest.mark.virtual_time]

FAILS = """
from {path} import {cls} as Class
right = Class.{method}
left = [{times}]
failure = {error}
def wrong({args}):
    if left[0]:
        left[0] -= 1
        raise failure
    return right({args})
Class.{method} = wrong
"""


def fails(where: str, error: str, times: int = 1, args: str = "*args") -> str:
    """Return a main.py: the method `where` (module.Class.method) raises `error` in its first
    calls. `args` are its parameters where it must not allocate."""
    path, cls, method = where.rsplit(".", 2)
    method = compact.short_names(LIB, path).get(method, method)
    return firmware_with(
        FAILS.format(path=path, cls=cls, method=method, error=error, times=times, args=args)
    )


async def hear(toy: VirtualToy) -> bool:
    """Press the play paw; return whether a second or more of sound comes."""
    since = toy.loop.time()
    await toy.hold("play", 0.1)
    await asyncio.sleep(2.5)
    return bool(np.count_nonzero(toy.speaker.pcm(since)) > 12000)


async def say(toy: VirtualToy) -> None:
    """Hold the record paw and speak for a second."""
    toy.press("record")
    await asyncio.sleep(0.4)
    toy.mic.speak(speech(1))
    await asyncio.sleep(1)
    toy.release("record")
    await asyncio.sleep(1)


async def all_is_well(toy: VirtualToy, radio: VirtualRadio, link: str) -> str:
    """Send, hear and answer a message, as if nothing had happened; return the crash log."""
    content = spoken(1.2)
    async with client(radio.phone(), link) as phone:
        await asyncio.sleep(11)  # until the play paw no longer says "again"
        for _ in range((await phone.status()).unheard):
            await hear(toy)  # what came before
            await asyncio.sleep(11)
        before = await phone.status()
        await phone.send(content)
        assert await hear(toy)
        await say(toy)
        (entry,) = [e for e in await phone.entries(Box.INBOX) if e.id == content[16:32]]
        assert entry.done
        status = await phone.status()
        assert status.outbox == before.outbox + 1
        assert status.inbox == before.inbox + 1
        assert toy.mic.opened and not toy.mic.running
        assert toy.led.lit(toy.mic.opened[-1], toy.mic.closed[-1]) == 1
        return await phone.crashlog()


@pytest.mark.parametrize(
    ("task", "method"),
    [("paws", "_follow_paws"), ("led", "_show"), ("link", "_serve_phones")],
)
async def test_a_task_that_keeps_dying_leaves_the_others_alive_and_comes_back(
    virtual_toy: MakeToy, task: str, method: str
) -> None:
    main = fails(f"hushbear.app.App.{method}", "OSError(5)", times=4)
    async with family(virtual_toy, main=main) as (toy, radio, link):
        await asyncio.sleep(1)
        if task == "led":
            await say(toy)  # the LED is on for as long as the microphone is, all the same
            assert toy.led.lit(toy.mic.opened[0], toy.mic.closed[0]) == 1
        if task == "link":
            await say(toy)
            assert len(toy.mic.opened) == 1
        if task == "paws":
            async with client(radio.phone(), link) as phone:
                await phone.send(spoken(1))
                assert (await phone.status()).unheard == 1
        await asyncio.sleep(16)  # after 1, 2, 4 and 8 s it was tried again
        log = await all_is_well(toy, radio, link)
        assert log.count(f"task {task} failed") == 4
        assert log.count("OSError: [Errno 5] EIO") == 4
        assert len(toy.causes) == 3  # power on, and two for the set-up of the phone


@pytest.mark.parametrize(
    "where",
    [
        "hushbear.audio.speaker.Speaker._next_block",  # I2S callbacks
        "hushbear.audio.mic.Mic._take_block",
        "hushbear.link.radio.Radio._written",  # the radio's handler
        "hushbear.link.radio.Radio._connected",
        "hushbear.link.radio.Radio._peer",
        "hushbear.paws.Paws._edge",  # pin interrupts
        "hushbear.paws.Paws._sample",
    ],
)
async def test_a_callback_that_raises_costs_what_it_was_about(
    virtual_toy: MakeToy, where: str
) -> None:
    args = "self" if "_block" in where or "_sample" in where else "*args"
    main = fails(where, "ValueError('defect')", args=args)
    async with family(virtual_toy, main=main) as (toy, radio, link):
        await asyncio.sleep(1)
        await say(toy)
        with contextlib.suppress(HushbearError):
            async with client(radio.phone(), link) as phone:
                await phone.send(spoken(1))
        await hear(toy)
        await asyncio.sleep(12)
        log = await all_is_well(toy, radio, link)
        console = "\n".join(toy.console)
        assert "ValueError: defect" in (console if where.endswith("_edge") else log)
        assert len(toy.causes) == 3


@pytest.mark.parametrize("peripheral", ["speaker", "microphone"])
async def test_i2s_that_stops_calling_back_is_given_up(
    virtual_toy: MakeToy, peripheral: str
) -> None:
    stalls = f"""
opened = []
right = board.{peripheral}
def stalls(ibuf):
    i2s = right(ibuf)
    opened.append(i2s)
    if len(opened) == 1:
        i2s.__class__.irq(i2s, lambda _: None)
        return Deaf(i2s)
    return i2s
class Deaf:
    def __init__(self, i2s):
        self.write, self.readinto, self.deinit = i2s.write, i2s.readinto, i2s.deinit
    def irq(self, handler):
        pass
board.{peripheral} = stalls
"""
    async with family(virtual_toy, main=firmware_with(stalls)) as (toy, radio, link):
        await asyncio.sleep(1)
        began = toy.loop.time()
        toy.press("record" if peripheral == "microphone" else "play")
        await asyncio.sleep(3)
        toy.release("record" if peripheral == "microphone" else "play")
        assert not toy.mic.running
        flashes = [x for x in toy.led.history if x.time > began + 1.9 and x.level]
        assert len(flashes) >= 3
        await asyncio.sleep(5)
        log = await all_is_well(toy, radio, link)
        assert f"OSError: {peripheral}: I2S has stopped calling" in log
        assert len(toy.causes) == 3


BLE_FAILS = """
import bluetooth
right = bluetooth.BLE.{method}
left = [{times}]
def wrong(ble, *args, **kwargs):
    if left[0] and ({when}):
        left[0] -= 1
        {fault}
    return right(ble, *args, **kwargs)
bluetooth.BLE.{method} = wrong
"""


@pytest.mark.parametrize(
    ("method", "when", "fault", "times"),
    [
        ("active", "args and args[0]", "raise OSError(19)", 4),
        ("gatts_register_services", "True", "raise OSError(12)", 3),
        ("gap_advertise", "True", "raise OSError(-18)", 3),
        ("config", "args", "raise OSError(19)", 2),
        ("active", "args and not args[0]", "raise OSError(116)", 1),
    ],
)
async def test_a_radio_that_fails_is_started_again(
    virtual_toy: MakeToy, method: str, when: str, fault: str, times: int
) -> None:
    defect = BLE_FAILS.format(method=method, when=when, fault=fault, times=times)
    if "not args" in when:  # it is switched off only when something else failed
        defect += "left2 = [1]\n" + BLE_FAILS.format(
            method="gap_advertise", when="True", fault="raise OSError(5)", times=1
        ).replace("left", "left2").replace("right", "right2").replace("wrong", "wrong2")
    async with family(virtual_toy, main=firmware_with(defect)) as (toy, radio, link):
        await asyncio.sleep(0.5)
        await say(toy)  # nothing of it concerns the paws
        assert len(toy.mic.opened) == 1
        await asyncio.sleep(16)
        log = await all_is_well(toy, radio, link)
        assert log.count("task link failed") == times
        assert len(toy.causes) == 3


async def test_a_radio_that_takes_no_notification_for_ever_ends_the_connection(
    virtual_toy: MakeToy,
) -> None:
    when = "time.ticks_ms() < 40000"
    defect = "import time\n" + BLE_FAILS.format(
        method="gatts_notify", when=when, fault="raise OSError(12)", times=10000
    )
    async with family(virtual_toy, main=firmware_with(defect)) as (toy, radio, link):
        await asyncio.sleep(1)
        with pytest.raises(HushbearError):
            async with client(radio.phone(), link, retries=0):
                pass
        await asyncio.sleep(60)
        await all_is_well(toy, radio, link)
        assert len(toy.causes) == 3


SPIN = "while True:\n            time.sleep_ms(100)"  # without an await in it


@pytest.mark.parametrize(
    "defect",
    [
        "from hushbear.app import App\nimport time\n"
        f"async def spins(app):\n    if True:\n        {SPIN}\n"
        f"App.{compact.short_names(LIB, 'hushbear.app')['_show']} = spins\n",
        BLE_FAILS.format(method="config", when="args", fault=SPIN, times=1).replace(
            "import bluetooth", "import bluetooth, time"
        ),
        BLE_FAILS.format(method="active", when="args", fault=SPIN, times=1).replace(
            "import bluetooth", "import bluetooth, time"
        ),
        BLE_FAILS.format(method="gatts_notify", when="True", fault=SPIN, times=1).replace(
            "import bluetooth", "import bluetooth, time"
        ),
    ],
    ids=["a task spins", "config hangs", "active hangs", "notify hangs"],
)
async def test_what_hangs_is_ended_by_the_watchdog(virtual_toy: MakeToy, defect: str) -> None:
    defect = "if machine.reset_cause() != machine.WDT_RESET:\n    " + defect.replace(
        "\n", "\n    "
    )
    async with family(virtual_toy, main=firmware_with(defect)) as (toy, radio, link):
        with contextlib.suppress(HushbearError):
            async with client(radio.phone(), link, retries=0):
                pass
        assert await toy.wait_restart(4, timeout=60) == Cause.WATCHDOG
        await asyncio.sleep(1)
        log = await all_is_well(toy, radio, link)
        assert log.count("restarted by the watchdog") == 1
        assert len(toy.causes) == 4


@pytest.mark.parametrize(
    "where",
    [
        "hushbear.store.receive.Receiver.offer",
        "hushbear.store.receive.Receiver.append",
        "hushbear.store.receive.Receiver._sha256",
        "hushbear.store.Store.record",
        "hushbear.store.record.Recording.keep",
        "hushbear.store.index.Index.open",
        "hushbear.store.index.Index.mark_done",
        "hushbear.settings.Settings.quiet",
        "hushbear.link.session.Session._frame",
        "hushbear.link.session.Session.send_body",
        "hushbear.link.radio.Peer.send",
        "hushbear.link.radio.Radio._advertise",
        "hushbear.audio.mic.Mic.start",
        "hushbear.audio.speaker.Speaker._open",
        "hushbear.leds.Led.step",
    ],
)
async def test_no_memory_in_the_middle_of_something_is_no_more_than_a_failure(
    virtual_toy: MakeToy, where: str
) -> None:
    async with family(virtual_toy, main=fails(where, "MemoryError('full')")) as (
        toy,
        radio,
        link,
    ):
        await asyncio.sleep(1)
        await say(toy)
        with contextlib.suppress(HushbearError):
            async with client(radio.phone(), link) as phone:
                await phone.send(spoken(1))
                await phone.status()
        await hear(toy)
        await asyncio.sleep(5)
        log = await all_is_well(toy, radio, link)
        assert log.count("MemoryError: full") == 1
        assert len(toy.causes) == 3


async def test_a_failure_that_cannot_be_written_down_is_counted(virtual_toy: MakeToy) -> None:
    main = fails("hushbear.app.App._record", "OSError(5)", times=2)
    async with family(virtual_toy, main=main) as (toy, radio, link):
        await asyncio.sleep(1)
        toy.flash.model.fail_after = 0  # from now on every write fails
        await toy.flash.apply()
        await say(toy)
        await asyncio.sleep(2)
        toy.flash.model.fail_after = None
        await toy.flash.apply()
        await say(toy)
        await asyncio.sleep(5)
        log = await all_is_well(toy, radio, link)
        assert log.count("task paws failed") == log.count("Traceback") == 1
        assert "(2 lost) task paws failed" in log


async def test_a_toy_that_cannot_start_says_so_and_rests_between_two_tries(
    virtual_toy: MakeToy,
) -> None:
    main = fails("hushbear.keys.Keys.__init__", "OSError(-4353, 'ESP_ERR_NVS')", times=1000)
    async with virtual_toy(main=main, air=VirtualRadio()) as toy:
        await toy.wait_restart(2, timeout=60)
        assert toy.loop.time() > 30
        await asyncio.sleep(5)
        assert toy.led.now.blink_hz == 2
        await toy.wait_restart(3, timeout=60)
        assert toy.loop.time() > 60
        log = await crash_log(toy)
        assert log.count("ESP_ERR_NVS") == 2


async def test_a_store_that_cannot_start_leaves_a_toy_that_says_so(virtual_toy: MakeToy) -> None:
    main = fails("hushbear.store.room.Room.boot", "MemoryError('full')", times=1)
    async with family(virtual_toy, main=main) as (toy, radio, link):
        await asyncio.sleep(0.5)
        assert any(light.level for light in toy.led.history if light.time > toy.loop.time() - 1)
        async with client(radio.phone(), link) as phone:
            assert "MemoryError: full" in await phone.crashlog()
            assert (await phone.status()).total == 0
        await toy.restart()  # the defect comes with every start; without it:
        assert len(toy.causes) == 4


async def test_a_message_that_the_flash_does_not_give_back_lets_the_next_one_pass(
    virtual_toy: MakeToy,
) -> None:
    defect = """
from hushbear.store import index
class Reader(index.Reader):
    def __init__(self, path, key, opened):
        super().__init__(path, key, opened)
        if key[1] == b"A" * 16 and key[0] == 0:
            self.readinto = self.fails
    def fails(self, buf):
        raise OSError(5)
index.Reader = Reader
"""
    first, second = spoken(1, 1), spoken(1.2, 2)
    first = first[:16] + b"A" * 16 + first[32:]
    async with (
        family(virtual_toy, main=firmware_with(defect)) as (toy, radio, link),
        client(radio.phone(), link) as phone,
    ):
        await phone.send(first)
        await phone.send(second)
        await hear(toy)
        await asyncio.sleep(11)
        assert await hear(toy)
        assert [entry.done for entry in await phone.entries(Box.INBOX)] == [True, True]
        log = await phone.crashlog()
        assert "ContainerError: header cut short" in log
        assert "task paws failed" not in log
