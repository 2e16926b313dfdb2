"""Keeps everything of one toy moving: relay, this phone, and the toy where it is near.

Nothing here is remembered but how long to wait: what is on its way is on the disk, so that it may
end at any time and go on later.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hushbear import container

from . import message, recordings
from .command import at_toy
from .delivery import Delivery, deliver
from .errors import BadMessage, Damaged, HushbearError, NoSuchMessage
from .inbox import Inbox
from .journal import Journal
from .keystore import KeyStore
from .letters import Kind, News, Stage
from .mailboxes import Mailboxes
from .members import member_name
from .output import Output
from .post import Synced, open_post
from .received import fetched_directory
from .records import Box
from .relay_problems import relay_at
from .taking import Arrival
from .toy import Toy

if TYPE_CHECKING:
    from .client import Client

WAIT = 50  # seconds of a long poll
_LOOK = 10.0  # seconds after which what is due is looked at
_VISIT = 300.0  # seconds between visits to the toy that nothing calls for
_COMMAND = 60.0  # seconds that a command for a message may take


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


@dataclass
class Visit:
    """What was done at the toy."""

    delivered: Delivery = field(default_factory=Delivery)
    fetched: list[tuple[message.Header, Path]] = field(default_factory=list)
    failed: list[HushbearError] = field(default_factory=list)


class Carrier:
    """Of one toy. `answers` is where the child's messages go as WAV; `say` gets a line for each
    thing that has happened; `on_message` is a command that is run for each new message."""

    def __init__(
        self, store: KeyStore, toy: Toy, mailboxes: Mailboxes, radio: str | None, output: Output,
        answers: Path, on_message: str | None = None,
    ) -> None:  # fmt: skip
        self._store = store
        self._id = toy.id
        self._mailboxes = mailboxes
        self._radio = radio
        self._output = output
        self._answers = answers
        self._on_message = shlex.split(on_message) if on_message else []

    @property
    def toy(self) -> Toy | None:
        """The toy as it is known now, None if it was forgotten."""
        return next((toy for toy in self._store.toys() if toy.id == self._id), None)

    async def exchange(self, wait: int = 0) -> Synced:
        """Exchange with the relay. Raises RelayUnreachable, RelayRefused."""
        toy = self.toy
        if toy is None or not reached(toy):
            return Synced()
        async with relay_at(self._mailboxes.url) as relay:
            with open_post(self._store, toy, relay, self._mailboxes) as post:
                synced = await post.sync(wait)
        for arrival in synced.arrivals:
            await self._announce(toy, arrival)
        for news in synced.news:
            self._output.line(_line_of(toy, news))
        for relative, error in synced.refused:
            self._output.waiting(f"From {relative.name}, given up: {error}")
        return synced

    async def visit(self) -> Visit:
        """Go to the toy: bring what is due, fetch what the child has recorded. Raises what keeps
        this phone from it."""
        toy = self.toy
        visit = Visit()
        if toy is None or toy.key is None:
            return visit
        sealed = fetched_directory(toy)
        recordings.prepare(self._answers)
        recordings.prepare(sealed, private=True)

        async def work(client: Client) -> None:
            await client.phones()
            with Inbox(toy.id) as inbox, Journal(toy.id) as journal:
                visit.delivered = await deliver(client, inbox, journal)
            for entry in await client.entries(Box.OUTBOX):
                if entry.done:
                    continue
                try:
                    path, kept = await recordings.fetch_into(client, entry, self._answers, sealed)
                except (BadMessage, Damaged, NoSuchMessage) as error:
                    visit.failed.append(error)
                    continue
                header = message.parse_header(kept.read_bytes()[: message.HEADER_SIZE])
                visit.fetched.append((header, path))

        await at_toy(toy, self._radio, self._output, work)
        for header, path in visit.fetched:
            self._output.line(f"{path} from {toy.name}")
            await self._call(toy, "answer", toy.name, header, path)
        for each in visit.delivered.delivered:
            self._output.line(f"{toy.name} has {each.id.hex()[:8]}.")
        visit.failed += [error for _, error in visit.delivered.failed]
        return visit

    async def run(self) -> None:
        """Keep moving until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_relay())
            group.create_task(self._follow_toy())

    async def _follow_relay(self) -> None:
        loop = asyncio.get_running_loop()
        backoff = Backoff(1, 300)
        failing = False
        while (toy := self.toy) is not None:
            if not reached(toy):
                await asyncio.sleep(_LOOK)
                continue
            began = loop.time()
            try:
                synced = await self.exchange(WAIT)
            except HushbearError as error:
                if not failing:
                    self._output.waiting(f"{error} Trying again and again.")
                failing = True
                await asyncio.sleep(backoff.failed())
                continue
            if failing:
                self._output.waiting("The relay is there again.")
            failing = False
            moved = synced.moved
            if moved.put or moved.confirmed or moved.arrived or loop.time() - began > WAIT / 2:
                backoff.worked()
            else:  # it did not wait, and nothing came of it: what is stuck there stays so a while
                await asyncio.sleep(backoff.failed())

    async def _follow_toy(self) -> None:
        loop = asyncio.get_running_loop()
        backoff = Backoff(30, 600)
        tried: set[bytes] | None = None
        again = loop.time()
        while (toy := self.toy) is not None:
            due = self._due(toy)
            if toy.key is not None and (loop.time() >= again or due - (tried or set())):
                try:
                    await self.visit()
                    backoff.worked()
                    again = loop.time() + _VISIT
                except HushbearError:  # it is away most of the day
                    again = loop.time() + backoff.failed()
                tried = due
            await asyncio.sleep(_LOOK)

    def _due(self, toy: Toy) -> set[bytes]:
        with contextlib.suppress(HushbearError), Inbox(toy.id) as inbox:
            return {each.id for each in inbox.due(max(toy.family, default=0))}
        return set()

    async def _announce(self, toy: Toy, arrival: Arrival) -> None:
        header = arrival.header
        who = toy.name if header.sender == container.TOY else member_name(toy, header.sender)
        kind = "for-toy" if arrival.kind is Kind.FOR_TOY else "for-you"
        for_whom = f"for {toy.name}" if arrival.kind is Kind.FOR_TOY else "for you"
        self._output.line(f"{header.id.hex()[:8]} from {who}, {for_whom}")
        await self._call(toy, kind, who, header, arrival.path)

    async def _call(
        self, toy: Toy, kind: str, who: str, header: message.Header, path: Path | None
    ) -> None:
        if not self._on_message:
            return
        given = {
            "HUSHBEAR_KIND": kind, "HUSHBEAR_FROM": who, "HUSHBEAR_TOY": toy.name,
            "HUSHBEAR_ID": header.id.hex(), "HUSHBEAR_FILE": str(path or ""),
        }  # fmt: skip
        process = None
        try:
            process = await asyncio.create_subprocess_exec(
                *self._on_message, env={**os.environ, **given}
            )
            code = await asyncio.wait_for(process.wait(), _COMMAND)
            if code:
                self._output.waiting(f"{self._on_message[0]} ended with {code}.")
        except OSError as error:
            self._output.waiting(f"{self._on_message[0]} cannot be run: {error.strerror}.")
        except TimeoutError:
            self._output.waiting(f"{self._on_message[0]} took too long and was ended.")
        finally:
            if process is not None and process.returncode is None:
                process.kill()
                await process.wait()


def reached(toy: Toy) -> bool:
    """Return whether there is anybody at the relay to exchange with, or to shut out."""
    return bool(toy.relatives or toy.away.leaving or toy.away.closing)


def _line_of(toy: Toy, news: News) -> str:
    who = toy.name if news.recipient == container.TOY else member_name(toy, news.recipient)
    short = news.id.hex()[:8]
    return {
        Stage.ARRIVED: f"{short} is with who brings it to {who}",
        Stage.DELIVERED: f"{who} has {short}",
        Stage.HEARD: f"{who} has heard {short}",
        Stage.ANSWERED: f"{who} has answered {short}",
        Stage.REFUSED: f"{short} was refused; {who} does not get it",
        Stage.FAILED: f"{short} was given up: it does not open at {who}",
    }[news.stage]


async def run_all(carriers: list[Carrier], say: Callable[[str], None]) -> None:
    """Keep all moving until cancelled."""
    say(f"Keeping {len(carriers)} toy{'s' if len(carriers) != 1 else ''} moving.")
    async with asyncio.TaskGroup() as group:
        for carrier in carriers:
            group.create_task(carrier.run())
