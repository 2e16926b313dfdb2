"""Keeps messages moving, for as long as it is let: with pauses that grow while something is away,
and whatever happens meanwhile to network, computer, toy or files.

For each toy one task follows the relay and one visits the toy. Another looks at the files that
other processes change (an approval, an invitation, a new toy, another relay), and at the clock,
which shows that the computer has slept: then all begins anew, for its connections are dead.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sys
import time
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

from .carrier import Carrier, reached
from .command import own_failure
from .errors import HushbearError, LinkLost, NoToyInSight, NotThisToy, RelayUnreachable
from .keystore import KeyStore
from .output import Output
from .post import Post
from .private import alone, data_directory
from .received import fetched_directory
from .toy import Toy

WAIT = 50  # seconds of a long poll
LOOK = 2.0  # seconds after which is looked at what others have changed
SLEPT = 30.0  # seconds that a look comes late after which the computer has slept
VISIT = 300.0  # seconds between visits to the toy that nothing calls for
RELAY_PAUSES = (1.0, 300.0)  # seconds, the first and the longest
TOY_PAUSES = (30.0, 600.0)

_AWAY = (NoToyInSight, NotThisToy, LinkLost)  # as the toy is for most of the day


class Backoff:
    """Seconds to wait after a failure: twice as long each time, and never quite the same."""

    def __init__(self, first: float, longest: float) -> None:
        self._first, self._longest = first, longest
        self._next = first

    def failed(self) -> float:
        """Return how long to wait now."""
        pause, self._next = self._next, min(2 * self._next, self._longest)
        return pause * random.uniform(0.5, 1.0)

    def worked(self) -> None:
        """Begin anew."""
        self._next = self._first


class Trouble:
    """Says what keeps something from working: once, until it is another thing or over."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._met: HushbearError | None = None

    def met(self, raised: Exception) -> None:
        """It did not work."""
        error = raised if isinstance(raised, HushbearError) else own_failure(raised)
        if error is not raised and os.environ.get("HUSHBEAR_DEBUG"):
            with contextlib.suppress(OSError):
                traceback.print_exception(raised, file=sys.stderr)
        last, self._met = self._met, error
        same = last is not None and last.code == error.code
        if isinstance(error, RelayUnreachable) and same:
            return  # it says it in other words each time
        if last is None or str(last) != str(error):
            self._output.waiting(f"{error} Trying again and again.")

    def over(self) -> None:
        """It works."""
        last, self._met = self._met, None
        if last is not None:
            relay = isinstance(last, RelayUnreachable)
            self._output.waiting("The relay is there again." if relay else "It works again.")


class Following:
    """One toy that is kept moving."""

    def __init__(self, carrier: Carrier, store: KeyStore, toy: Toy, output: Output) -> None:
        self._carrier = carrier
        self._name = toy.name
        self._output = output
        self._to_relay = asyncio.Event()  # there may be something new to tell
        self._to_toy = asyncio.Event()  # something may call for a visit
        self._anew = asyncio.Event()  # another relay, or network, or day
        self._visit_anew = False
        self._told: object = None
        directory = data_directory() / toy.id.hex()
        self._lock = directory / "run.lock"
        self._files = (
            store.path, directory / "inbox.db", directory / "journal.db", fetched_directory(toy)
        )  # fmt: skip

    def look(self) -> None:
        """See whether something has changed, from here or by another process."""
        stamp = [_stamp(path) for path in self._files]
        if stamp != self._told:
            self._told = stamp
            self._to_relay.set()
            self._to_toy.set()

    def begin_anew(self) -> None:
        """Wait for nothing that was begun before."""
        self._anew.set()
        self._to_relay.set()
        self._visit_anew = True
        self._to_toy.set()

    async def run(self) -> None:
        """Keep moving until cancelled; while another process does that for this toy, wait."""
        said = False
        trouble = Trouble(self._output)
        while True:
            try:
                with alone(self._lock) as ours:
                    trouble.over()
                    if ours:
                        async with asyncio.TaskGroup() as group:
                            group.create_task(self._follow_relay())
                            group.create_task(self._follow_toy())
            except HushbearError as error:
                trouble.met(error)
            else:
                if not said:
                    self._output.waiting(f"Another `hushbear run` keeps {self._name} moving.")
                said = True
            await asyncio.sleep(LOOK)

    async def _follow_relay(self) -> None:
        backoff = Backoff(*RELAY_PAUSES)
        trouble = Trouble(self._output)
        while True:
            self._anew.clear()
            self._to_relay.clear()
            try:
                toy = self._carrier.toy
                if toy is None or not reached(toy):
                    trouble.over()
                    await self._to_relay.wait()
                    continue
                async with self._carrier.post(toy) as post:
                    await self._correspond(post, backoff, trouble)
                backoff.worked()
            except Exception as error:
                trouble.met(error)
                await _pause(backoff.failed(), self._anew)
                if self._anew.is_set():
                    backoff.worked()

    async def _correspond(self, post: Post, backoff: Backoff, trouble: Trouble) -> None:
        """Exchange with the relay until something is to begin anew, or fails."""
        asked = False  # by the relay, which had something
        while not self._anew.is_set():
            self._to_relay.clear()
            toy = self._carrier.toy
            if toy is None or not reached(toy):
                return
            synced = await self._carrier.exchange_by(post, toy)
            trouble.over()
            if synced.arrivals:
                self._to_toy.set()  # some may need no parent
            moved = synced.moved
            if asked and not (moved.put or moved.confirmed or moved.arrived):
                await _pause(backoff.failed(), self._anew)  # what is stuck stays so a while
            else:
                backoff.worked()
            asked = await self._wait(post)

    async def _wait(self, post: Post) -> bool:
        """Wait until there is something at the relay, or for it. Return whether the relay has
        ended the wait, and early."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with _both(post.wait(WAIT), self._to_relay.wait()) as (polling, changed):
            await asyncio.wait((polling, changed), return_when=asyncio.FIRST_COMPLETED)
            if not polling.done():
                return False
            await polling
            return loop.time() - began < WAIT / 2

    async def _follow_toy(self) -> None:
        loop = asyncio.get_running_loop()
        backoff = Backoff(*TOY_PAUSES)
        trouble = Trouble(self._output)
        tried: set[bytes] = set()
        again = loop.time()
        while True:
            self._to_toy.clear()
            if self._visit_anew:
                self._visit_anew = False
                backoff.worked()
                again = loop.time()
            try:
                toy = self._carrier.toy
                if toy is not None and toy.key is not None:
                    calls = self._carrier.calls(toy)
                    if loop.time() >= again or calls - tried:
                        tried = calls
                        visit = await self._carrier.visit()
                        self._to_relay.set()
                        again = loop.time() + VISIT
                        if visit.failed:
                            trouble.met(visit.failed[0])
                        else:
                            trouble.over()
                            backoff.worked()
                else:
                    again = loop.time() + VISIT
            except _AWAY:
                again = loop.time() + backoff.failed()
            except Exception as error:
                trouble.met(error)
                again = loop.time() + backoff.failed()
            await _pause(again - loop.time(), self._to_toy)


class Running:
    """All toys that are known, or the one called `name`; also those that are only made known
    later. `carrier_of` makes a toy's carrier."""

    def __init__(
        self, store: KeyStore, output: Output, carrier_of: Callable[[Toy], Carrier],
        name: str | None = None,
    ) -> None:  # fmt: skip
        self._store = store
        self._output = output
        self._carrier_of = carrier_of
        self._name = name
        self._following: dict[bytes, tuple[str, Following, asyncio.Task[None]]] = {}

    async def run(self) -> None:
        """Keep all moving until cancelled."""
        trouble = Trouble(self._output)
        relay = _stamp(self._relay_file)
        async with asyncio.TaskGroup() as group:
            began = True
            while True:
                looked = time.time()
                try:
                    self._follow(self._toys(), group, began)
                    trouble.over()
                    began = False
                except HushbearError as error:  # the keys file: those that are followed stay
                    trouble.met(error)
                for _, following, _ in self._following.values():
                    following.look()
                await asyncio.sleep(LOOK)
                before, relay = relay, _stamp(self._relay_file)
                if relay != before or time.time() - looked > LOOK + SLEPT:
                    for _, following, _ in self._following.values():
                        following.begin_anew()

    @property
    def _relay_file(self) -> Path:
        return self._store.directory / "relay.json"

    def _toys(self) -> dict[bytes, Toy]:
        toys = self._store.toys()
        if self._name is not None:  # it may be called otherwise by now
            name = self._name.strip().casefold()
            chosen = [toy for toy in toys if toy.id in self._following]
            toys = chosen or [toy for toy in toys if toy.name.casefold() == name]
        return {toy.id: toy for toy in toys}

    def _follow(self, toys: dict[bytes, Toy], group: asyncio.TaskGroup, began: bool) -> None:
        for toy_id in self._following.keys() - toys.keys():
            name, _, task = self._following.pop(toy_id)
            task.cancel()
            self._output.waiting(f"{name} is forgotten here.")
        for toy_id in toys.keys() - self._following.keys():
            toy = toys[toy_id]
            following = Following(self._carrier_of(toy), self._store, toy, self._output)
            task = group.create_task(following.run())
            self._following[toy_id] = toy.name, following, task
            if not began:
                self._output.waiting(f"Keeping {toy.name} moving, too.")
        if began:
            one = len(toys) == 1
            self._output.waiting(f"Keeping {len(toys)} toy{'' if one else 's'} moving.")


async def _pause(seconds: float, event: asyncio.Event) -> None:
    """Sleep, until an event at most."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, seconds)):
            await event.wait()


@contextlib.asynccontextmanager
async def _both(
    *work: Coroutine[Any, Any, object],
) -> AsyncIterator[list[asyncio.Task[object]]]:
    """Tasks that end with the context."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _stamp(path: Path) -> object:
    """Return what differs when a file, or what is in a directory, has changed."""
    try:
        status = path.stat()
    except OSError as error:
        return error.errno
    return status.st_ino, status.st_size, status.st_mtime_ns
