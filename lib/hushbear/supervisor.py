"""Keeps the toy's tasks alive, and the watchdog fed only while they are.

    Supervisor(crashlog, wdt)               wdt: machine.WDT or anything with feed()
    .start(name, factory, alive_ms=0)       runs `await factory()`; when it raises, that is logged
                                            and it is started again after 1, 2, 4 … 60 s. With
                                            alive_ms, the task must check in at least that often.
    .check_in(name)                         "I am not stuck"; allocates nothing
    .failures(name)                         how often it was started again
    await .run()                            feeds the watchdog; for ever

A task that stops checking in, or one that never yields, keeps the watchdog hungry and the board
restarts. A task that waits to be started again does not: the others go on living.
"""

import asyncio
import time

_FEED_MS = const(500)
_DELAY_FIRST_MS = const(1000)
_DELAY_MAX_MS = const(60000)
_FAILURES = (Exception, asyncio.CancelledError)  # the latter by mistake: nobody cancels tasks
_HEALTHY_MS = const(60000)  # having run for this long, a task's next failure counts as its first


class _Task:
    def __init__(self, factory, alive_ms):
        self.factory = factory
        self.alive_ms = alive_ms
        self.watched = False
        self.checked = 0
        self.failures = 0
        self.task = None


class Supervisor:
    def __init__(self, crashlog, wdt):
        self._log = crashlog
        self._wdt = wdt
        self._tasks = {}

    def start(self, name, factory, alive_ms=0):
        task = _Task(factory, alive_ms)
        self._tasks[name] = task
        task.task = asyncio.create_task(self._keep(name, task))

    def check_in(self, name):
        self._tasks[name].checked = time.ticks_ms()

    def failures(self, name):
        return self._tasks[name].failures

    async def run(self):
        asyncio.get_event_loop().set_exception_handler(self._stray)
        stuck = None
        while True:
            late = self._late()
            if late is None:
                self._wdt.feed()
            elif late != stuck:
                self._log.write("supervisor: %s is stuck" % late)
            stuck = late
            await asyncio.sleep_ms(_FEED_MS)

    def _late(self):
        now = time.ticks_ms()
        for name, task in self._tasks.items():
            if task.watched and time.ticks_diff(now, task.checked) > task.alive_ms:
                return name
        return None

    async def _keep(self, name, task):
        delay = _DELAY_FIRST_MS
        while True:
            started = task.checked = time.ticks_ms()
            task.watched = task.alive_ms > 0
            try:
                await task.factory()
                return
            except _FAILURES as error:
                try:
                    self._log.write("task %s failed" % name)
                except MemoryError:
                    pass  # perhaps that was the failure
                self._log.write(error)
            finally:
                task.watched = False
            task.failures += 1
            if time.ticks_diff(time.ticks_ms(), started) > _HEALTHY_MS:
                delay = _DELAY_FIRST_MS
            await asyncio.sleep_ms(delay)
            delay = min(2 * delay, _DELAY_MAX_MS)

    def _stray(self, loop, context):
        # A task that somebody started without the supervisor has died.
        self._log.write("%s" % context.get("message"))
        if context.get("exception") is not None:
            self._log.write(context["exception"])
