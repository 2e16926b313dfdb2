"""What goes between this phone and a toy's relatives, through the relay: it arrives, once.

A letter (letters.py; the relay's client keeps it, and seals it) has an id made of the secret that
the two share and of what is in it, so that the same thing is sent once, however often it is handed
over. What is to be told (the family as it is, the child's messages, what has become of others') is
found anew each time in the files of this phone, so it is told whatever was interrupted.

What has come is taken from the ledger only when it is in its place: in the inbox (inbox.py), among
what was received for this phone, in the journal, or in the keys file.
"""

from __future__ import annotations

import hashlib
import hmac
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

from . import message, sealing
from .errors import BadMessage, FileProblem, HushbearError, InboxFull, UnknownEpoch
from .inbox import Inbox, State
from .journal import Journal
from .keystore import KeyStore
from .letters import Family, Kind, News, Stage
from .mailboxes import Mailboxes
from .private import data_directory, write_private
from .received import fetched_directory, received_directory
from .toy import Member, Relative, Role, Toy

_KEEP = 30 * 24 * 3600  # seconds that a message waits for the family key that opens it
_GOING_MAX = 64  # messages of one member that are passed on and have not arrived yet
_STAGES = {
    State.DELIVERED: Stage.DELIVERED,
    State.HEARD: Stage.HEARD,
    State.ANSWERED: Stage.ANSWERED,
    State.REFUSED: Stage.REFUSED,
}


@dataclass(frozen=True)
class Arrival:
    """A message that has come. `path` is None where it is in the inbox."""

    kind: Kind
    header: message.Header
    relative: Relative
    path: Path | None


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
    """The post of a toy; `directory` instead of the platform's for data. Raises FileProblem."""
    path = (directory or data_directory()) / toy.id.hex() / "relay.db"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        ledger = Ledger(path)
    except Exception as error:
        raise FileProblem(f"{path} cannot be used: {error}.", "Make room, or mend it.") from None
    try:
        with Journal(toy.id, directory) as journal:
            yield Post(store, toy, relay, mailboxes, ledger, journal, directory)
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
        self._journal.sent(header, len(content), recipient, envelope=envelope)
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

    async def sync(self, wait: int = 0) -> Synced:
        """Send what is to be sent and told, and take in what comes; wait for that so many seconds.
        Raises the relay's errors."""
        synced = Synced()
        self._take_all(synced)
        toy = await self._shut_out(self._now())
        self._tell_all(toy)
        try:
            synced.moved = await self._correspondence(toy).sync(wait)
        finally:
            self._take_all(synced)
            self._see_arrivals(synced)
        toy = self._now()
        self._tell_all(toy)
        synced.moved.put += (await self._correspondence(toy).put()).put
        return synced

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

    def _tell_all(self, toy: Toy) -> None:
        """Keep letters of what others are to know and have not been told."""
        if toy.key is not None and toy.family and toy.sender:
            relatives = [each for each in toy.relatives if each.role is Role.RELATIVE]
            self._tell_family(toy, relatives)
            self._hand_on(toy, relatives)
            self._tell_of_inbox(toy, relatives)
            self._tell_of_others(relatives)
        self._tell_of_heard(toy)

    def _tell_family(self, toy: Toy, relatives: list[Relative]) -> None:
        if not relatives:
            return
        assert toy.sender is not None
        epoch = max(toy.family)
        own = toy.members.get(toy.sender)
        members = {
            **toy.everybody,
            toy.sender: Member(own.name if own else "", Role.PARENT, own.since if own else 0),
        }
        mailbox = self._correspondence(toy).mailbox.name
        family = Family(0, mailbox, epoch, toy.family[epoch], members)
        digest = hashlib.sha256(family.pack()).digest()[:16]
        if digest != toy.away.told:
            revision = toy.away.revision + 1
            away = replace(toy.away, told=digest, revision=revision)
            self._store.change(toy.id, lambda known: replace(known, away=away))
            family = replace(family, revision=revision)
        else:
            family = replace(family, revision=toy.away.revision)
        for relative in relatives:
            name = family.revision.to_bytes(4, "big")
            self._keep(relative, Kind.FAMILY, family.pack(), name)

    def _hand_on(self, toy: Toy, relatives: list[Relative]) -> None:
        """Send relatives what the child has said since they are there."""
        for path in sorted(fetched_directory(toy, self._directory).glob("*.message")):
            try:
                name, since = bytes.fromhex(path.stem), path.stat().st_mtime
                going = [
                    each
                    for each in relatives
                    if since >= each.since
                    and not self._ledger.knows(_envelope(each, Kind.FOR_YOU, name + each.sender))
                ]
                if going and (content := _of_child(path, toy)):
                    for relative in going:
                        self.send(relative, relative.sender, content)
            except (OSError, ValueError, BadMessage):
                continue  # not a message of this toy, or not any more

    def _tell_of_inbox(self, toy: Toy, relatives: list[Relative]) -> None:
        """Tell relatives what has become of what they sent to the toy."""
        senders = {each.sender: each for each in relatives}
        with Inbox(toy.id, self._directory) as inbox:
            for incoming in inbox.messages(*_STAGES):
                if relative := senders.get(incoming.sender):
                    news = News(incoming.id, container.TOY, _STAGES[incoming.state])
                    self._tell(relative, news)

    def _tell_of_others(self, relatives: list[Relative]) -> None:
        """Tell relatives what has become of what was passed on for them."""
        senders = {each.sender: each for each in relatives}
        for sent in self._journal.all_sent():
            relative = senders.get(sent.origin)
            if relative and Stage.ARRIVED <= sent.stage <= Stage.REFUSED:
                self._tell(relative, News(sent.id, sent.recipient, sent.stage))

    def _tell_of_heard(self, toy: Toy) -> None:
        """Tell senders what was heard here, and answered."""
        if toy.sender is None:
            return
        parent = _parent(toy)
        senders = {each.sender: each for each in toy.relatives}
        for heard in self._journal.all_heard():
            if relative := senders.get(heard.sender, parent):
                self._tell(relative, News(heard.id, toy.sender, heard.stage))

    def _tell(self, relative: Relative, news: News) -> None:
        content = news.pack()
        self._keep(relative, Kind.NEWS, content, content)

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
            told = self._ledger.told(sent.envelope) if sent.envelope else []
            if Envelope.DELIVERED in told:
                stage = Stage.DELIVERED if sent.recipient in relatives else Stage.ARRIVED
            elif Envelope.BROKEN in told and not self._ledger.keeps(sent.envelope or b""):
                stage = Stage.FAILED
            else:
                continue
            self._learn(News(sent.id, sent.recipient, stage), synced)

    def _learn(self, news: News, synced: Synced) -> None:
        if self._journal.learn(news):
            synced.news.append(news)

    def _take_all(self, synced: Synced) -> None:
        for arrived in self._ledger.waiting():
            toy = self._now()
            relative = next((r for r in toy.relatives if _contact(r).id == arrived.contact), None)
            if relative is not None:
                try:
                    self._take(toy, relative, arrived.content, synced)
                except (UnknownEpoch, InboxFull, FileProblem) as error:
                    if not (isinstance(error, UnknownEpoch) and _old(arrived)):
                        synced.waiting.append((relative, error))
                        continue
                    synced.refused.append((relative, error))
                except BadMessage as error:
                    synced.refused.append((relative, error))
            self._ledger.take(arrived.id)

    def _take(self, toy: Toy, relative: Relative, body: bytes, synced: Synced) -> None:
        """Put what has come in its place."""
        try:
            kind, content = Kind(body[0]), body[1:]
        except (IndexError, ValueError):
            raise BadMessage(f"{relative.name} sent something of an unknown kind.") from None
        if kind is Kind.FAMILY:
            self._take_family(toy, relative, content)
        elif kind is Kind.NEWS:
            news = News.parse(content)
            if relative.role is not Role.PARENT:  # who knows of itself only
                news = replace(news, recipient=relative.sender)
            self._learn(news, synced)
        elif kind is Kind.PASS_ON:
            self._pass_on(toy, relative, content)
        elif arrival := self._take_message(toy, relative, kind, content):
            synced.arrivals.append(arrival)

    def _take_message(
        self, toy: Toy, relative: Relative, kind: Kind, content: bytes
    ) -> Arrival | None:
        """Return None for what was here before."""
        header = message.parse_header(content)
        if header.sender != relative.sender and relative.role is not Role.PARENT:
            raise _imitated(relative)
        if kind is Kind.FOR_TOY:
            if toy.key is None:
                raise BadMessage(f"{relative.name} sent a message for a toy that is not here.")
            with Inbox(toy.id, self._directory) as inbox:
                new = inbox.take(content, toy.family)[1]
            return Arrival(kind, header, relative, None) if new else None
        _, blocks = sealing.unseal(content, toy.family)
        message.check_blocks(blocks)
        path = received_directory(toy, self._directory) / f"{header.id.hex()}.message"
        if path.exists():
            return None
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(path, content)
        except OSError as error:
            raise FileProblem(f"{path} cannot be written: {error.strerror}.") from None
        return Arrival(kind, header, relative, path)

    def _take_family(self, toy: Toy, relative: Relative, content: bytes) -> None:
        if toy.key is not None or relative.role is not Role.PARENT:
            raise BadMessage(f"{relative.name} sent family keys, which are not theirs to give.")
        family = Family.parse(content)

        def learned(known: Toy) -> Toy:
            if family.revision <= known.away.revision:
                return known
            relatives = tuple(
                replace(each, mailbox=family.mailbox) if each.sender == relative.sender else each
                for each in known.relatives
            )
            away = replace(known.away, revision=family.revision)
            members = {s: m for s, m in family.members.items() if s != relative.sender}
            return replace(known, relatives=relatives, members=members, away=away)

        self._store.learn_keys(toy.id, {family.epoch: family.key})
        self._store.change(toy.id, learned)

    def _pass_on(self, toy: Toy, relative: Relative, content: bytes) -> None:
        recipient, content = content[: message.SENDER_SIZE], content[message.SENDER_SIZE :]
        header = message.parse_header(content)
        to = next((each for each in toy.relatives if each.sender == recipient), None)
        if toy.key is None or to is None or to == relative:
            raise BadMessage(f"{relative.name} sent a message for somebody who is not here.")
        if header.sender != relative.sender:
            raise _imitated(relative)
        _, blocks = sealing.unseal(content, toy.family)
        message.check_blocks(blocks)
        going = [s for s in self._journal.all_sent(Stage.GOING) if s.origin == relative.sender]
        if len(going) >= _GOING_MAX:
            raise InboxFull(f"{len(going)} messages of {relative.name} are on their way.")
        self.send(to, recipient, content)


def far_recipient(toy: Toy, recipient: bytes) -> Relative | None:
    """Return who gets what is for a sender id, or brings it there; None where nobody does."""
    return next((each for each in toy.relatives if each.sender == recipient), _parent(toy))


def _parent(toy: Toy) -> Relative | None:
    return next((each for each in toy.relatives if each.role is Role.PARENT), None)


def _of_child(path: Path, toy: Toy) -> bytes | None:
    """Return a message of the toy's child, sealed with the newest key, which relatives have."""
    with path.open("rb") as file:
        content = file.read(message.SIZE_MAX + 1)
    header = message.parse_header(content)
    newest = max(toy.family)
    if header.sender != container.TOY:
        return None
    if header.epoch == newest:
        return content
    header, blocks = sealing.unseal(content, toy.family)
    return sealing.seal(replace(header, epoch=newest), blocks, toy.family[newest])


def _envelope(to: Relative, kind: Kind, name: bytes) -> bytes:
    inner = b"Hushbear envelope 1" + bytes((kind,)) + name
    return hmac.digest(to.secret, inner, "sha256")[:16]


def _imitated(relative: Relative) -> BadMessage:
    return BadMessage(
        f"{relative.name} sent a message as if it were somebody else's.",
        "It was not taken in; ask them.",
    )


def _contact(relative: Relative) -> Contact:
    return Contact(relative.mailbox, relative.secret)


def _old(arrived: Arrived) -> bool:
    return arrived.at < time.time() - _KEEP
