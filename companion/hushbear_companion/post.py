"""What goes between this phone and a toy's relatives, through the relay: it arrives, once.

An envelope (the relay's client seals and keeps it) has a kind byte and, of that kind, a sealed
message or family keys. Its id is made of the secret that the two share, of the kind and of what is
in it, so that the same thing is sent once, however often it is handed over.

What has come is taken from the ledger only when it is in its place: in the inbox (inbox.py), among
what was received for this phone, or in the keys file.
"""

from __future__ import annotations

import hmac
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import IntEnum
from pathlib import Path

from hushbear import container
from hushbear_relay.client.correspondence import Contact, Correspondence, Moved
from hushbear_relay.client.http import Relay
from hushbear_relay.client.ledger import Arrived, Ledger

from . import message, sealing
from .errors import BadMessage, FileProblem, HushbearError, InboxFull, UnknownEpoch
from .inbox import Inbox
from .keystore import KeyStore
from .mailboxes import Mailboxes
from .private import data_directory, write_private
from .received import fetched_directory, received_directory
from .toy import Relative, Role, Toy

_EPOCH = struct.Struct(f">I{sealing.FAMILY_KEY_SIZE}s")
_KEEP = 30 * 24 * 3600  # seconds that a message waits for the family key that opens it


class Kind(IntEnum):
    """What is in an envelope, by its first byte."""

    FOR_TOY = 1  # a sealed message
    FOR_YOU = 2  # likewise
    KEYS = 3  # a u32 epoch and the family's key of it


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
        yield Post(store, toy, relay, mailboxes, ledger, directory)
    finally:
        ledger.close()


class Post:
    """See open_post()."""

    def __init__(
        self, store: KeyStore, toy: Toy, relay: Relay, mailboxes: Mailboxes, ledger: Ledger,
        directory: Path | None,
    ) -> None:  # fmt: skip
        self._store = store
        self._toy_id = toy.id
        self._ledger = ledger
        self._directory = directory
        self._correspondence = Correspondence(relay, mailboxes.key(toy.id), ledger)

    def send(self, to: Relative, kind: Kind, content: bytes, name: bytes) -> bool:
        """Keep something for a relative until it is there; `name` tells it from all others of its
        kind. Return whether it is new."""
        inner = bytes((kind,)) + name
        envelope = hmac.digest(to.secret, b"Hushbear envelope 1" + inner, "sha256")[:16]
        if self._ledger.knows(envelope):
            return False
        self._correspondence.send(_contact(to), bytes((kind,)) + content, envelope)
        return True

    async def put(self) -> Moved:
        """Put at the relay what is on its way. Raises the relay's errors."""
        self._prepare()
        return await self._correspondence.put()

    async def admit(self) -> None:
        """Tell the relay at once who may write to this phone. Raises the relay's errors."""
        self._prepare()
        await self._correspondence.mailbox.put(self._correspondence.members)

    async def sync(self, wait: int = 0) -> Synced:
        """Send what is to be sent, the toy's answers and the family's newest key with it, and take
        in what comes; wait for that so many seconds. Raises the relay's errors."""
        toy = self._prepare()
        if toy.key is not None and toy.family:
            self._hand_on(toy)
        synced = Synced()
        try:
            synced.moved = await self._correspondence.sync(wait)
        finally:
            self._take_all(synced)
        return synced

    def forget(self, relative: Relative) -> None:
        """Send nothing more to somebody who was removed."""
        self._ledger.forget(_contact(relative).id)

    def _prepare(self) -> Toy:
        toy = self._now()
        self._correspondence.contacts[:] = map(_contact, toy.relatives)
        return toy

    def _now(self) -> Toy:
        """The toy as it is known now: another process may have learned, or removed somebody."""
        for toy in self._store.toys():
            if toy.id == self._toy_id:
                return toy
        return Toy("", None, self._toy_id)

    def _hand_on(self, toy: Toy) -> None:
        """Send relatives the newest key, and what the child has said since they are there."""
        epoch = max(toy.family)
        relatives = [each for each in toy.relatives if each.role is Role.RELATIVE]
        key = _EPOCH.pack(epoch, toy.family[epoch])
        for relative in relatives:
            self.send(relative, Kind.KEYS, key, key[:4])
        for path in sorted(fetched_directory(toy, self._directory).glob("*.message")):
            try:
                name, since = bytes.fromhex(path.stem), path.stat().st_mtime
                going = [each for each in relatives if since >= each.since]
                if going and (content := _of_child(path, toy)):
                    for relative in going:
                        self.send(relative, Kind.FOR_YOU, content, name)
            except (OSError, ValueError, BadMessage):
                continue  # not a message of this toy, or not any more

    def _take_all(self, synced: Synced) -> None:
        for arrived in self._ledger.waiting():
            toy = self._now()
            relative = next((r for r in toy.relatives if _contact(r).id == arrived.contact), None)
            if relative is not None:
                try:
                    arrival = self._take(toy, relative, arrived.content)
                    if arrival:
                        synced.arrivals.append(arrival)
                except (UnknownEpoch, InboxFull, FileProblem) as error:
                    if not (isinstance(error, UnknownEpoch) and _old(arrived)):
                        synced.waiting.append((relative, error))
                        continue
                    synced.refused.append((relative, error))
                except BadMessage as error:
                    synced.refused.append((relative, error))
            self._ledger.take(arrived.id)

    def _take(self, toy: Toy, relative: Relative, body: bytes) -> Arrival | None:
        """Put what has come in its place. Return None for what nobody needs to be told."""
        try:
            kind, content = Kind(body[0]), body[1:]
        except (IndexError, ValueError):
            raise BadMessage(f"{relative.name} sent something of an unknown kind.") from None
        if kind is Kind.KEYS:
            self._take_keys(toy, relative, content)
            return None
        header = message.parse_header(content)
        parent = relative.role is Role.PARENT
        if header.sender != relative.sender and not (parent and header.sender == container.TOY):
            raise BadMessage(
                f"{relative.name} sent a message as if it were somebody else's.",
                "It was not taken in; ask them.",
            )
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

    def _take_keys(self, toy: Toy, relative: Relative, content: bytes) -> None:
        if toy.key is not None or relative.role is not Role.PARENT:
            raise BadMessage(f"{relative.name} sent family keys, which are not theirs to give.")
        if len(content) != _EPOCH.size:
            raise BadMessage(f"{relative.name} sent half a family key.")
        epoch, key = _EPOCH.unpack(content)
        if not epoch or not any(key):
            raise BadMessage(f"{relative.name} sent a family key that cannot be one.")
        self._store.learn_keys(toy.id, {epoch: key})


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


def _contact(relative: Relative) -> Contact:
    return Contact(relative.mailbox, relative.secret)


def _old(arrived: Arrived) -> bool:
    return arrived.at < time.time() - _KEEP
