"""Carries what there is to carry for one toy: between the relay, this phone, and the toy where it
is near.

Nothing here is remembered: what is on its way is on the disk, so that it may end at any time and
go on later. running.py keeps it going.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from . import mailboxes, message, recordings
from .command import at_toy
from .delivery import Delivery, deliver
from .errors import BadMessage, Damaged, HushbearError, NoSuchMessage
from .inbox import Inbox, State
from .keystore import KeyStore
from .letters import Kind, News, Stage
from .members import called
from .output import Output
from .post import Post, Synced, open_post
from .received import fetched_directory
from .records import Box
from .relay_problems import relay_at
from .taking import Arrival
from .toy import Toy, renewal_due

if TYPE_CHECKING:
    from .client import Client

_COMMAND = 60.0  # seconds that a command for a message may take
_RENEWAL, _REFUSED = b"renewal", b"refused"


@dataclass
class Visit:
    """What was done at the toy."""

    delivered: Delivery = field(default_factory=Delivery)
    fetched: list[tuple[message.Header, Path]] = field(default_factory=list)
    failed: list[HushbearError] = field(default_factory=list)


class Carrier:
    """Of one toy. `answers` is where the child's messages go as WAV; `output` gets a line for each
    thing that has happened; `on_message` is a command that is run for each new message. `at_radio`
    is held during a visit: there is one radio."""

    def __init__(
        self, store: KeyStore, toy: Toy, radio: str | None, output: Output, answers: Path,
        on_message: str | None = None, at_radio: asyncio.Lock | None = None,
    ) -> None:  # fmt: skip
        self._store = store
        self._id = toy.id
        self._radio = radio
        self._output = output
        self._answers = answers
        self._on_message = shlex.split(on_message) if on_message else []
        self._at_radio = at_radio or asyncio.Lock()

    @property
    def toy(self) -> Toy | None:
        """The toy as it is known now, None if it was forgotten."""
        return next((toy for toy in self._store.toys() if toy.id == self._id), None)

    @contextlib.asynccontextmanager
    async def post(self, toy: Toy) -> AsyncIterator[Post]:
        """The toy's post, at the relay that this phone uses now. Raises NoRelay, FileProblem; and
        RelayUnreachable, RelayRefused for what the relay's client raises inside."""
        uses = mailboxes.get(self._store.directory)
        async with relay_at(uses.url) as relay:
            with open_post(self._store, toy, relay, uses) as post:
                yield post

    async def exchange(self) -> Synced:
        """Exchange with the relay, if there is anybody to exchange with. Raises as post() does."""
        toy = self.toy
        if toy is None or not reached(toy):
            return Synced()
        async with self.post(toy) as post:
            return await self.exchange_by(post, toy)

    async def exchange_by(self, post: Post, toy: Toy) -> Synced:
        """Exchange with the relay, by the toy's post. What has come is told also where it raises
        after that."""
        synced = Synced()
        try:
            await post.sync(synced)
        except Exception:
            await self._tell(toy, synced)
            raise
        await self._tell(toy, synced)
        return synced

    async def _tell(self, toy: Toy, synced: Synced) -> None:
        for arrival in synced.arrivals:
            await self._announce(toy, arrival)
        for news in synced.news:
            self._output.line(_line_of(toy, news))
        for relative, error in synced.refused:
            self._output.waiting(f"From {relative.name}, given up: {error}")

    def calls(self, toy: Toy) -> set[bytes]:
        """Return what calls for a visit, each thing as bytes of its own: messages that are due, or
        were refused and may be on the toy, and a new family key. Raises FileProblem."""
        if toy.key is None:
            return set()
        with Inbox(toy.id) as inbox:
            calls = {each.id for each in inbox.due(max(toy.family, default=0))}
            calls |= {_REFUSED + each.id for each in inbox.messages(State.REFUSED)}
        return calls | {_RENEWAL} if renewal_due(toy) else calls

    async def visit(self) -> Visit:
        """Go to the toy: bring what is due, fetch what the child has recorded. Raises what keeps
        this phone from it; what was fetched before is told all the same."""
        toy = self.toy
        visit = Visit()
        if toy is None or toy.key is None:
            return visit
        try:
            async with self._at_radio:
                await self._visit(toy, visit)
        except Exception:
            await self._report(toy, visit)
            raise
        await self._report(toy, visit)
        return visit

    async def _visit(self, toy: Toy, visit: Visit) -> None:
        sealed = fetched_directory(toy)
        recordings.prepare(self._answers)
        recordings.prepare(sealed, private=True)

        async def work(client: Client) -> None:
            await client.phones()
            with Inbox(toy.id) as inbox:
                visit.delivered = await deliver(client, inbox)
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

    async def _report(self, toy: Toy, visit: Visit) -> None:
        for each in visit.delivered.delivered:
            self._output.line(f"{toy.name} has {each.id.hex()[:8]}.")
        for header, path in visit.fetched:
            self._output.line(f"{path} from {toy.name}")
            await self._call(toy, "answer", toy.name, header, path)
        visit.failed += [error for _, error in visit.delivered.failed]

    async def _announce(self, toy: Toy, arrival: Arrival) -> None:
        header = arrival.header
        who = called(toy, header.sender)
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
                *self._on_message, env={**os.environ, **given}, stdin=asyncio.subprocess.DEVNULL
            )
            async with asyncio.timeout(_COMMAND):  # wait_for() may lose a cancellation
                code = await process.wait()
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
    who = called(toy, news.recipient)
    short = news.id.hex()[:8]
    return {
        Stage.ARRIVED: f"{short} is with who brings it to {who}",
        Stage.DELIVERED: f"{who} has {short}",
        Stage.HEARD: f"{who} has heard {short}",
        Stage.ANSWERED: f"{who} has answered {short}",
        Stage.REFUSED: f"{short} was refused; {who} does not get it",
        Stage.FAILED: f"{short} was given up: it does not open at {who}",
    }[news.stage]
