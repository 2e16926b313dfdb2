"""What goes between this phone and a toy's relatives, through the relay: it arrives, once.

A letter (letters.py; the relay's client keeps it, and seals it) has an id made of the secret that
the two share and of what is in it, so that the same thing is sent once, however often it is handed
over. What is to be told is found anew each time in the files of this phone (telling.py), so it is
told whatever was interrupted.

What has come is taken from the ledger only when it is in its place (taking.py).
"""

from __future__ import annotations

import hmac
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from hushbear import container
from hushbear_relay.client.correspondence import Contact, Correspondence, Moved
from hushbear_relay.client.envelope import Kind as Envelope
from hushbear_relay.client.errors import NotFound
from hushbear_relay.client.http import Relay
from hushbear_relay.client.ledger import Arrived, Ledger
from hushbear_relay.client.mailbox import Mailbox

from . import message, telling
from .errors import BadMessage, FileProblem, HushbearError, InboxFull, UnknownEpoch
from .journal import Journal
from .keystore import KeyStore
from .letters import Kind, News, Stage
from .mailboxes import Mailboxes
from .private import data_directory
from .taking import Arrival, Places
from .toy import Relative, Toy

_KEEP = 30 * 24 * 3600  # seconds that a message waits for the family key that opens it


@dataclass
class Synced:
    """What a synchronisation did."""

    moved: Moved = field(default_factory=Moved)
    arrivals: list[Arrival] = field(default_factory=list)
    news: list[News] = field(default_factory=list)
    refused: list[tuple[Relative, HushbearError]] = field(default_factory=list)  # for good
    waiting: list[tuple[Relative, HushbearError]] = field(default_factory=list)


@contextmanager
def open_post(
    store: KeyStore, toy: Toy, relay: Relay, mailboxes: Mailboxes, directory: Path | None = None
) -> Iterator[Post]:
    """The post of a toy; `directory` instead of the platform's for data. Raises FileProblem, also
    for what happens to the files while it is open."""
    path = (directory or data_directory()) / toy.id.hex() / "relay.db"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        ledger = Ledger(path)
    except Exception as error:
        raise FileProblem(f"{path} cannot be used: {error}.", "Make room, or mend it.") from None
    try:
        with Journal(toy.id, directory) as journal:
            yield Post(store, toy, relay, mailboxes, ledger, journal, directory)
    except sqlite3.Error as error:  # of the ledger
        raise FileProblem(
            f"{path} cannot be used now: {error}.", "Try again; see that there is room."
        ) from None
    finally:
        ledger.close()


class Post:
    """See open_post()."""

    def __init__(
        self, store: KeyStore, toy: Toy, relay: Relay, mailboxes: Mailboxes, ledger: Ledger,
        journal: Journal, directory: Path | None,
    ) -> None:  # fmt: skip
        self._store = store
        self._toy_id = toy.id
        self._relay = relay
        self._mailboxes = mailboxes
        self._ledger = ledger
        self._journal = journal
        self._directory = directory
        self._places = Places(store, journal, directory, self._pass_on)
        self._made: dict[int, Correspondence] = {}  # by the number of the mailbox

    def send(self, to: Relative, recipient: bytes, content: bytes) -> None:
        """Keep a sealed message for a recipient, a sender id (zeros: the toy), until it is there;
        `to` is who gets it or brings it."""
        header = message.parse_header(content)
        kind, body = Kind.PASS_ON, recipient + content
        if recipient == container.TOY:
            kind, body = Kind.FOR_TOY, content
        elif recipient == to.sender:
            kind, body = Kind.FOR_YOU, content
        envelope = self._keep(to, kind, body, header.id + recipient)
        self._journal.sent(header, len(content), recipient, envelope)
        if header.sender == self._now().sender:
            self._journal.answer(recipient)

    async def put(self) -> Moved:
        """Put at the relay what is on its way. Raises the relay's errors."""
        return await self._correspondence(self._now()).put()

    async def admit(self) -> None:
        """Tell the relay at once who may write to this phone, and who may not any more; and the
        others what is new in the family. Raises the relay's errors."""
        toy = await self._shut_out(self._now())
        correspondence = self._correspondence(toy)
        await correspondence.mailbox.put(correspondence.members)
        self._tell_all(toy)
        await correspondence.put()

    async def sync(self, synced: Synced) -> None:
        """Send what is to be sent and told, and take in what has come. What is done is in `synced`
        at once, for the time when the relay's errors are raised."""
        self._take_all(synced)
        toy = await self._shut_out(self._now())
        self._tell_all(toy)
        try:
            synced.moved = await self._correspondence(toy).sync()
        finally:
            self._take_all(synced)
            self._see_arrivals(synced)
        toy = self._now()
        self._tell_all(toy)
        synced.moved.put += (await self._correspondence(toy).put()).put

    async def wait(self, seconds: int) -> None:
        """Return when something has come since sync(), or after so many seconds. It may be
        cancelled. Raises the relay's errors."""
        await self._correspondence(self._now()).wait(seconds)

    def _correspondence(self, toy: Toy) -> Correspondence:
        number = toy.away.mailbox
        if number not in self._made:
            key = self._mailboxes.key(self._toy_id, number)
            self._made = {number: Correspondence(self._relay, key, self._ledger)}
        self._made[number].contacts[:] = map(_contact, toy.relatives)
        return self._made[number]

    def _now(self) -> Toy:
        """The toy as it is known now: another process may have learned, or removed somebody."""
        for toy in self._store.toys():
            if toy.id == self._toy_id:
                return toy
        return Toy("", None, self._toy_id)

    async def _shut_out(self, toy: Toy) -> Toy:
        """Have the relay know those no more who were removed, nor the mailbox that they know; it
        may have been away till now."""
        away = toy.away
        if not away.closing and not away.leaving:
            return toy
        for number in away.closing:
            with suppress(NotFound):
                await Mailbox(self._relay, self._mailboxes.key(toy.id, number)).delete()
        for gone in away.leaving:
            await self._correspondence(toy).withdraw(_contact(gone))

        def told(known: Toy) -> Toy:
            closing = tuple(each for each in known.away.closing if each not in away.closing)
            leaving = tuple(each for each in known.away.leaving if each not in away.leaving)
            return replace(known, away=replace(known.away, closing=closing, leaving=leaving))

        self._store.change(toy.id, told)
        return self._now()

    def _pass_on(self, to: Relative, content: bytes) -> None:
        self.send(to, to.sender, content)

    def _tell_all(self, toy: Toy) -> None:
        """Keep letters of what others are to know and have not been told."""
        if telling.invited(toy):
            mailbox = self._correspondence(toy).mailbox.name
            family, digest = telling.family_now(toy, mailbox)
            if digest != toy.away.told:

                def told(known: Toy) -> Toy:
                    away = replace(known.away, told=digest, revision=family.revision)
                    return replace(known, away=away)

                self._store.change(toy.id, told)
            content, name = family.pack(), family.revision.to_bytes(4, "big")
            for relative in telling.invited(toy):
                self._keep(relative, Kind.FAMILY, content, name)
        for relative, content in telling.said_by_child(toy, self._directory, self._was_sent):
            self._pass_on(relative, content)
        for relative, each in telling.news(toy, self._journal, self._directory):
            content = each.pack()
            self._keep(relative, Kind.NEWS, content, content)

    def _was_sent(self, to: Relative, message_id: bytes) -> bool:
        return self._ledger.knows(_envelope(to, Kind.FOR_YOU, message_id + to.sender))

    def _keep(self, to: Relative, kind: Kind, content: bytes, name: bytes) -> bytes:
        """Keep a letter until it is there, unless it was kept before; `name` tells it from all
        others of its kind. Return the envelope's id."""
        envelope = _envelope(to, kind, name)
        if not self._ledger.knows(envelope):
            self._ledger.keep(envelope, _contact(to).id, bytes((kind,)) + content)
        return envelope

    def _see_arrivals(self, synced: Synced) -> None:
        """Note which messages are with who gets or brings them, by the relay's receipts."""
        relatives = {each.sender for each in self._now().relatives}
        for sent in self._journal.all_sent(Stage.GOING):
            told = self._ledger.told(sent.envelope)
            if Envelope.DELIVERED in told:
                stage = Stage.DELIVERED if sent.recipient in relatives else Stage.ARRIVED
            elif Envelope.BROKEN in told and not self._ledger.keeps(sent.envelope):
                stage = Stage.FAILED
            else:
                continue
            news = News(sent.id, sent.recipient, stage)
            if self._journal.learn(news):
                synced.news.append(news)

    def _take_all(self, synced: Synced) -> None:
        for arrived in self._ledger.waiting():
            toy = self._now()
            relative = next((r for r in toy.relatives if _contact(r).id == arrived.contact), None)
            if relative is not None:
                try:
                    match self._places.put(toy, relative, arrived.content):
                        case Arrival() as arrival:
                            synced.arrivals.append(arrival)
                        case News() as news:
                            synced.news.append(news)
                except (UnknownEpoch, InboxFull, FileProblem) as error:
                    if not (isinstance(error, UnknownEpoch) and _old(arrived)):
                        synced.waiting.append((relative, error))
                        continue
                    synced.refused.append((relative, error))
                except BadMessage as error:
                    synced.refused.append((relative, error))
            self._ledger.take(arrived.id)


def _envelope(to: Relative, kind: Kind, name: bytes) -> bytes:
    inner = b"Hushbear envelope 1" + bytes((kind,)) + name
    return hmac.digest(to.secret, inner, "sha256")[:16]


def _contact(relative: Relative) -> Contact:
    return Contact(relative.mailbox, relative.secret)


def _old(arrived: Arrived) -> bool:
    return arrived.at < time.time() - _KEEP
