"""Messages between an owner and contacts: what is sent arrives, once, whatever the relay does.

The order of steps is what holds that. A sender keeps an envelope on its disk, puts it, and puts
it again whenever the relay no longer has it, until the receipt comes. A recipient has a message on
its disk before it sends the receipt, and sends the receipt before it deletes the message at the
relay. So at every moment somebody has it, and the message's id tells what comes twice.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hmac
import math
import os
import time
from collections.abc import Iterable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from .. import names, signing
from ..problems import Problem
from .envelope import RECEIPTS, Kind, open_sealed, receipt_id, seal
from .errors import Full, NotFound, Refused, Sealed
from .http import Relay
from .ledger import Ledger
from .mailbox import Letterbox, Listed, Mailbox, writing_key

_BROKEN_TIMES = 3  # that an envelope is put again after it did not open

# What is wrong with one envelope, and keeps no other
_OF_ONE = (Problem.TOO_LARGE, Problem.ANOTHER_BODY)


@dataclasses.dataclass(frozen=True)
class Contact:
    """Somebody to write to and hear from.

    `mailbox`: theirs. `secret`: 32 bytes that only the two know; of it come the keys of envelopes,
    and by which each of the two writes to the other's mailbox.
    """

    mailbox: bytes
    secret: bytes = dataclasses.field(repr=False)

    @property
    def id(self) -> bytes:
        """What the ledger knows them by, whichever mailbox they have."""
        return hmac.digest(self.secret, b"Hushbear relay contact 1", "sha256")


@dataclasses.dataclass
class Moved:
    """What a synchronisation did."""

    put: int = 0  # envelopes that the relay did not have
    confirmed: int = 0
    arrived: int = 0
    again: int = 0  # that had arrived before
    broken: int = 0
    strange: int = 0  # of nobody who is a contact
    stuck: int = 0  # for contacts whose mailbox is full or not there


class Correspondence:
    """An owner's mailbox and contacts on one relay.

    `key` names the mailbox. Whether the relay still has an envelope is looked after every
    `look_seconds`.
    """

    def __init__(
        self,
        relay: Relay,
        key: Ed25519PrivateKey,
        ledger: Ledger,
        contacts: Iterable[Contact] = (),
        look_seconds: float = 300.0,
    ) -> None:
        self._relay = relay
        self._look_seconds = look_seconds
        self._looked: dict[bytes, float] = {}  # when an envelope was last seen at the relay
        self._seen = 0  # the position of the newest message that was listed
        self._ledger = ledger
        self.mailbox = Mailbox(relay, key)
        self.contacts: list[Contact] = list(contacts)

    @property
    def members(self) -> list[bytes]:
        """Those who may write to this mailbox, as the relay knows them."""
        return [self._member(each) for each in self.contacts]

    def send(self, contact: Contact, content: bytes, message: bytes | None = None) -> bytes:
        """Keep a message for a contact; `sync` gets it there. Return its id."""
        message = message or os.urandom(names.MESSAGE_SIZE)
        self._ledger.keep(message, contact.id, content)
        return message

    async def put(self) -> Moved:
        """Put what is to be sent, and look at nothing that has come. Raises as sync() does."""
        moved = Moved()
        await self._put_all(moved)
        return moved

    async def sync(self) -> Moved:
        """Take in what has come, then put what is to be sent: what a receipt has come for need not
        be put again. Raises Unreachable or Refused; what was done until then stays done."""
        moved = Moved()
        for each in await self._listed():
            await self._take(each, moved)
        await self._put_all(moved)
        return moved

    async def wait(self, seconds: int) -> None:
        """Return when something has come since the last sync(), or after so many seconds. Nothing
        changes, so it may be cancelled. Raises as sync() does."""
        with contextlib.suppress(NotFound):  # sync() makes the mailbox again
            await self.mailbox.list(after=self._seen, limit=1, wait=seconds)

    async def withdraw(self, contact: Contact) -> None:
        """Take back what a contact has not fetched, and send it no more. Raises as sync() does."""
        letterbox = self._letterbox(contact)
        for going in self._ledger.going():
            if going.contact == contact.id:
                with contextlib.suppress(NotFound):
                    await letterbox.withdraw(going.id)
        self._ledger.forget(contact.id)

    async def _tell(self, contact: Contact, kind: Kind, message: bytes) -> None:
        """Send a receipt: what became of a contact's message."""
        name = receipt_id(contact.secret, contact.mailbox, kind, message)
        body = seal(contact.secret, contact.mailbox, name, kind, message)
        await self._letterbox(contact).put(name, body)

    def _letterbox(self, contact: Contact) -> Letterbox:
        key = writing_key(contact.secret, contact.mailbox)
        return Letterbox(self._relay, contact.mailbox, key)

    def _member(self, contact: Contact) -> bytes:
        """Return what a contact is called in this mailbox."""
        key = writing_key(contact.secret, self.mailbox.name)
        return names.member_of(self.mailbox.name, signing.public_bytes(key))

    async def _put_all(self, moved: Moved) -> None:
        contacts = {contact.id: contact for contact in self.contacts}
        stuck: set[bytes] = set()
        for going in self._ledger.going():
            contact = contacts.get(going.contact)
            if contact is None:
                continue
            if going.contact in stuck:
                moved.stuck += 1
                continue
            if time.monotonic() - self._looked.get(going.id, -math.inf) < self._look_seconds:
                continue
            letterbox = self._letterbox(contact)
            try:
                if not await letterbox.has(going.id):
                    body = seal(
                        contact.secret, contact.mailbox, going.id, Kind.MESSAGE, going.content
                    )
                    moved.put += await letterbox.put(going.id, body)
                self._looked[going.id] = time.monotonic()
            except (NotFound, Full):
                stuck.add(going.contact)
                moved.stuck += 1
            except Refused as refused:
                if refused.problem not in _OF_ONE:
                    raise
                moved.stuck += 1

    async def _listed(self) -> list[Listed]:
        """Return all that waits, in the mailbox that is as it should be after whatever happened to
        the relay."""
        try:
            listing = await self.mailbox.list()
        except NotFound:
            await self.mailbox.put(self.members)
            listing = await self.mailbox.list()
        if listing.members != names.digest_of(self.members):
            await self.mailbox.put(self.members)
        messages = listing.messages
        while listing.more:
            listing = await self.mailbox.list(after=listing.messages[-1].position)
            messages = messages + listing.messages
        self._seen = max((each.position for each in messages), default=self._seen)
        return messages

    async def _take(self, listed: Listed, moved: Moved) -> None:
        contact = self._of(listed.member)
        if contact is None:
            moved.strange += 1
            await self.mailbox.remove(listed.id)
            return
        if self._ledger.has_arrived(listed.id):
            moved.again += 1
            kind = Kind.DELIVERED
        else:
            try:
                body = await self.mailbox.get(listed.id)
            except NotFound:
                return
            try:
                kind, content = open_sealed(contact.secret, self.mailbox.name, listed.id, body)
            except Sealed:
                moved.broken += 1
                await self.mailbox.remove(listed.id)
                await self._try_to_tell(contact, Kind.BROKEN, listed.id)
                return
            if kind in RECEIPTS:
                moved.confirmed += 1
                enough = _BROKEN_TIMES if kind is Kind.BROKEN else 1
                self._ledger.confirm(content, contact.id, kind, enough)
                self._looked.pop(content, None)
                await self.mailbox.remove(listed.id)
                return
            moved.arrived += self._ledger.arrive(listed.id, contact.id, content)
            kind = Kind.DELIVERED
        if await self._try_to_tell(contact, kind, listed.id):
            await self.mailbox.remove(listed.id)
        else:
            moved.stuck += 1

    async def _try_to_tell(self, contact: Contact, kind: Kind, message: bytes) -> bool:
        try:
            await self._tell(contact, kind, message)
        except (NotFound, Full):  # they have no mailbox now: once they have, the message is there
            return False
        return True

    def _of(self, member: bytes) -> Contact | None:
        for contact in self.contacts:
            if self._member(contact) == member:
                return contact
        return None
