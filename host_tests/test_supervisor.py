"""The supervisor: a failed task comes back, others live on, a hang reaches the watchdog."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from host_tests.targets import Target, dedent
from host_tests.virtual.toy import Cause, VirtualToy

# Time that only passes when asyncio waits for it, so that a test of a minute takes none.
SUPERVISOR = """
import asyncio
import asyncio.core
import sys
import time as real


class time:
    now = 1000

    @staticmethod
    def ticks_ms():
        return time.now & 0x3FFFFFFF

    ticks_diff = staticmethod(real.ticks_diff)
    ticks_add = staticmethod(real.ticks_add)


class Poll:
    def register(self, *args):
        pass

    def ipoll(self, wait):
        assert wait >= 0, "everything waits for ever"
        time.now += max(wait, 1)
        return ()


sys.modules["time"] = time
asyncio.core.ticks = time.ticks_ms
asyncio.core._io_queue.poller = Poll()
from hushbear.supervisor import Supervisor


class Watchdog:
    def __init__(self):
        self.fed = []

    def feed(self):
        self.fed.append(time.now)


class Log:
    def __init__(self):
        self.lines = []

    def write(self, what):
        self.lines.append(what if isinstance(what, str) else repr(what))


log = Log()
watchdog = Watchdog()
supervisor = Supervisor(log, watchdog)


async def for_ms(ms):
    running = asyncio.create_task(supervisor.run())
    await asyncio.sleep_ms(ms)
    running.cancel()


def hungry():
    # For how long the watchdog has not been fed.
    return time.now - watchdog.fed[-1]
"""


def run(target: Target, source: str, **args: object) -> Any:
    return target.run(SUPERVISOR + dedent(source), args=args)


def test_a_failed_task_is_started_again_ever_later_and_the_others_live_on(target: Target) -> None:
    starts, failures, steps, hungry, log = run(
        target,
        """
        starts = []
        steps = 0

        async def fails():
            starts.append(time.now - began)
            await asyncio.sleep_ms(10)
            raise OSError(5)

        async def lives():
            global steps
            while True:
                supervisor.check_in("lives")
                steps += 1
                await asyncio.sleep_ms(100)

        async def main():
            global began
            began = time.now
            supervisor.start("fails", fails, alive_ms=1000)
            supervisor.start("lives", lives, alive_ms=1000)
            await for_ms(300000)

        asyncio.run(main())
        result((starts, supervisor.failures("fails"), steps, hungry(), log.lines[:2]))
        """,
    )
    gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]
    for gap, delay in zip(gaps, [1, 2, 4, 8, 16, 32, 60, 60, 60], strict=False):
        assert delay * 1000 <= gap <= delay * 1000 + 100
    assert len(gaps) >= 8
    assert failures == len(starts)
    assert 2900 <= steps <= 3100
    assert hungry <= 1000
    assert log == ["task fails failed", "OSError(5,)"]


def test_after_a_minute_of_health_the_delay_is_short_again(target: Target) -> None:
    starts = run(
        target,
        """
        starts = []

        async def fails():
            starts.append(time.now)
            await asyncio.sleep_ms(10 if len(starts) < 5 else 61000)
            raise ValueError()

        async def main():
            supervisor.start("fails", fails)
            await for_ms(100000)

        asyncio.run(main())
        result(starts)
        """,
    )
    assert isinstance(starts, list)
    gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert gaps[3] > 8000
    assert 62000 <= gaps[4] < 62100


def test_a_task_that_is_stuck_starves_the_watchdog(target: Target) -> None:
    stuck, log, alive = run(
        target,
        """
        async def stuck():
            for _ in range(10):
                supervisor.check_in("stuck")
                await asyncio.sleep_ms(500)
            await asyncio.Event().wait()

        async def lives():
            while True:
                supervisor.check_in("lives")
                await asyncio.sleep_ms(500)

        async def main():
            supervisor.start("stuck", stuck, alive_ms=2000)
            supervisor.start("lives", lives, alive_ms=2000)
            await for_ms(4000)
            before = hungry()
            await for_ms(26000)
            return before, hungry()

        before, after = asyncio.run(main())
        result((after, log.lines, before))
        """,
    )
    assert alive <= 1000
    assert 22000 <= stuck <= 24000
    assert log == ["supervisor: stuck is stuck"]


def test_a_task_that_never_yields_starves_the_watchdog(target: Target) -> None:
    hungry = run(
        target,
        """
        async def spins():
            await asyncio.sleep_ms(1000)
            for _ in range(30):  # a loop without an await in it, 30 s long
                time.now += 1000
            result(hungry())

        async def main():
            supervisor.start("spins", spins)
            await for_ms(2000)

        asyncio.run(main())
        """,
    )
    assert isinstance(hungry, int)
    assert hungry >= 30000


def test_a_task_that_ends_is_done_and_not_missed(target: Target) -> None:
    assert run(
        target,
        """
        runs = 0

        async def once():
            global runs
            runs += 1

        async def main():
            supervisor.start("once", once, alive_ms=500)
            await for_ms(10000)

        asyncio.run(main())
        result((runs, hungry() <= 1000, log.lines))
        """,
    ) == (1, True, [])


def test_a_stray_task_that_dies_is_logged(target: Target) -> None:
    assert run(
        target,
        """
        async def stray():
            raise KeyError("lost")

        async def main():
            running = asyncio.create_task(supervisor.run())
            await asyncio.sleep_ms(10)
            asyncio.create_task(stray())
            await asyncio.sleep_ms(3000)

        asyncio.run(main())
        result((log.lines[1:], hungry() <= 1000))
        """,
    ) == (["KeyError('lost',)"], True)


def test_a_task_that_was_cancelled_by_mistake_comes_back(target: Target) -> None:
    starts, hungry, log = run(
        target,
        """
        starts = 0

        async def cancelled():
            global starts
            starts += 1
            other = asyncio.create_task(for_ever())
            await asyncio.sleep_ms(0)
            other.cancel()
            await other  # which ends this one, too

        async def for_ever():
            await asyncio.Event().wait()

        async def main():
            supervisor.start("cancelled", cancelled, alive_ms=5000)
            await for_ms(2500)

        asyncio.run(main())
        result((starts, hungry(), log.lines[0]))
        """,
    )
    assert starts == 2
    assert hungry <= 1000
    assert log == "task cancelled failed"


def test_a_task_that_died_of_a_full_heap_comes_back(target: Target) -> None:
    starts, hungry = run(
        target,
        """
        import micropython

        starts = 0

        async def greedy():
            global starts
            starts += 1
            await asyncio.sleep_ms(10)
            micropython.heap_lock()  # as if there was not a byte left, until
            bytearray(100)

        class Log:
            def write(self, what):
                if isinstance(what, MemoryError):
                    micropython.heap_unlock()  # ... it was reported

        supervisor._log = Log()

        async def main():
            supervisor.start("greedy", greedy, alive_ms=5000)
            await for_ms(2500)

        asyncio.run(main())
        result((starts, hungry()))
        """,
    )
    assert starts == 2
    assert hungry <= 1000


def test_checking_in_allocates_nothing(target: Target) -> None:
    assert (
        run(
            target,
            """
        import micropython

        async def lives():
            micropython.heap_lock()
            for _ in range(100):
                supervisor.check_in("lives")
            micropython.heap_unlock()
            result("allocated nothing")

        async def main():
            supervisor.start("lives", lives, alive_ms=500)
            await for_ms(100)

        asyncio.run(main())
        """,
        )
        == "allocated nothing"
    )


@pytest.mark.targets("unix")
@pytest.mark.virtual_time
@pytest.mark.parametrize(
    "hang", ["while True: time.sleep_ms(100)", "await asyncio.Event().wait()"]
)
async def test_a_hang_restarts_the_board(
    virtual_toy: Callable[..., VirtualToy], hang: str
) -> None:
    main = f"""
import asyncio, machine, time
from hushbear.crashlog import CrashLog
from hushbear.supervisor import Supervisor

log = CrashLog()
supervisor = Supervisor(log, machine.WDT(timeout=5000))


async def task():
    for _ in range(20):
        supervisor.check_in("task")
        await asyncio.sleep_ms(1000)
    {hang}


async def main():
    supervisor.start("task", task, 3000)
    await supervisor.run()


asyncio.run(main())
"""
    async with virtual_toy(main=main) as toy:
        began = toy.loop.time()
        cause = await toy.wait_restart(2, timeout=60)
        assert cause == Cause.WATCHDOG
        assert 22 <= toy.loop.time() - began <= 32
