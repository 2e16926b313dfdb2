"""An invitation: two people who are on the telephone let one's phone into the other's family.

The code is a number and two words. The number is a rendezvous at the relay; the words go into
CPace (cpace.py), so that who does not know them, the relay included, has one guess: the first
answer that does not open ends the invitation for both sides. docs/family.md has the bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from hushbear_relay.client.errors import ClientError, NotFound, Over, Refused, Unreachable
from hushbear_relay.client.http import Relay
from hushbear_relay.client.mailbox import Mailbox
from hushbear_relay.client.rendezvous import Rendezvous
from hushbear_relay.problems import Problem

from . import cpace, message
from .errors import (
    BadInvitation,
    InvitationOver,
    InvitationUnsure,
    RelayRefused,
    WrongInvitation,
)
from .family import NAME_SIZE, clean_name, pack_name
from .mailboxes import Mailboxes
from .sealing import FAMILY_KEY_SIZE
from .toy import Relative, Role, Toy

WORDS = 2
LASTS = 600  # seconds, as the relay has it
TOY_NAME_MAX = 160  # bytes: 40 letters

_VERSION = 1
_INFO = b"Hushbear invitation 1"
_AD_RELATIVE = b"relative"
_AD_PARENT = b"parent"
_HELLO = struct.Struct(">B16s32s")  # version, sid, Ya
_MAILBOX = struct.Struct("32s")
_FAMILY = struct.Struct(
    f">{message.SENDER_SIZE}s{message.SENDER_SIZE}sI{FAMILY_KEY_SIZE}s{NAME_SIZE}s{NAME_SIZE}s"
)  # sender ids of relative and parent; epoch and key; names of relative and parent
_CODE = re.compile(r"(\d{1,9})[\W_]+([^\W\d_]+)[\W_]+([^\W\d_]+)")
_BEGINNING = 4  # letters that tell the words apart
_PAUSE = 1.0  # seconds, before a request that did not reach the relay is made again


@cache
def _words() -> tuple[str, ...]:
    from mnemonic import Mnemonic

    return tuple(Mnemonic("english").wordlist)


@dataclass(frozen=True)
class Code:
    """What is said over the telephone."""

    number: int
    words: tuple[str, ...]

    def __str__(self) -> str:
        return "-".join((str(self.number), *self.words))

    @property
    def secret(self) -> bytes:
        """What CPace makes a key of."""
        return " ".join(self.words).encode()

    @classmethod
    def new(cls, number: int) -> Code:
        """Return a number's code, with random words: 22 bits."""
        return cls(number, tuple(secrets.choice(_words()) for _ in range(WORDS)))

    @classmethod
    def parse(cls, text: str) -> Code:
        """Return the code that a text stands for. Of each word four letters are enough, and what
        is between them does not matter. Raises BadInvitation, before anything is lost."""
        match = _CODE.fullmatch(text.strip().lower()) if len(text) < 200 else None
        if match is None:
            raise BadInvitation("A code is a number and two words.")
        return cls(int(match[1]), tuple(_word(match[place]) for place in (2, 3)))


def _word(text: str) -> str:
    if text in _words():
        return text
    found = [word for word in _words() if word.startswith(text)]
    if len(text) < _BEGINNING or len(found) != 1:
        raise BadInvitation(f"No code has the word {text!r}.")
    return found[0]


class _Channel:
    """A rendezvous until `until` (on the event loop's clock), over a network that comes and goes;
    and once there is a key, records that are sealed in order."""

    def __init__(self, rendezvous: Rendezvous, until: float) -> None:
        self._rendezvous = rendezvous
        self._until = until
        self._ciphers: tuple[AESGCM, AESGCM] | None = None
        self._counts = [0, 0]

    def secure(self, isk: bytes, own: bytes, other: bytes) -> None:
        """Seal what comes now with keys made of CPace's."""
        self._ciphers = AESGCM(_derive(isk, own)), AESGCM(_derive(isk, other))

    async def send(self, content: bytes) -> None:
        while True:
            try:
                return await self._rendezvous.send(content)
            except Unreachable:
                await self._pause()

    async def receive(self) -> bytes:
        while True:
            try:
                return await self._rendezvous.receive(self._left())
            except Unreachable:
                await self._pause()

    def seal(self, content: bytes) -> bytes:
        return self._cipher(0).encrypt(self._nonce(0), content, None)

    def open(self, content: bytes) -> bytes:
        """Return what a record says, or raise WrongInvitation."""
        try:
            return self._cipher(1).decrypt(self._nonce(1), content, None)
        except (InvalidTag, ValueError):
            raise WrongInvitation("The code was not the right one.") from None

    def _cipher(self, side: int) -> AESGCM:
        assert self._ciphers is not None
        return self._ciphers[side]

    def _nonce(self, side: int) -> bytes:
        self._counts[side] += 1
        return (self._counts[side] - 1).to_bytes(12, "big")

    def _left(self) -> float:
        return self._until - asyncio.get_running_loop().time()

    async def _pause(self) -> None:
        if self._left() < _PAUSE:
            raise TimeoutError
        await asyncio.sleep(_PAUSE)


@contextlib.asynccontextmanager
async def _channel(rendezvous: Rendezvous, seconds: float) -> AsyncIterator[_Channel]:
    """A channel that is closed for both sides, whatever becomes of it."""
    until = asyncio.get_running_loop().time() + seconds
    try:
        yield _Channel(rendezvous, until)
    finally:
        with contextlib.suppress(ClientError):
            await rendezvous.close()


async def invite(
    relay: Relay, mailboxes: Mailboxes, toy: Toy, name: str, own_name: str,
    tell: Callable[[Code], None], keep: Callable[[Relative], None],
) -> Relative:  # fmt: skip
    """Invite somebody, who is to be called `name`; return who has come. `tell` gets the code that
    is to be said; `keep` who is there and has the right code, and must have them on the disk when
    it returns: they get the family's key only then. Raises InvitationOver, WrongInvitation, and
    the relay's errors. Where this raises after `keep` was called, the other side has not joined;
    unless it is InvitationUnsure.

    The toy has to have a family, and this phone a sender id in it.
    """
    assert toy.family and toy.sender
    own = Mailbox(relay, mailboxes.key(toy.id, toy.away.mailbox)).name
    names = pack_name(name), pack_name(own_name)
    rendezvous = await Rendezvous.begin(relay)
    async with _channel(rendezvous, LASTS) as channel:
        code = Code.new(rendezvous.number)
        tell(code)
        try:
            version, sid, share = _unpack(_HELLO, await channel.receive())
        except (Over, NotFound, TimeoutError):
            raise InvitationOver("Nobody came in time.", "Make a new one.") from None
        if version != _VERSION:
            raise InvitationOver("The other side has another version.", "Update both phones.")
        run = cpace.Responder(code.secret, _context(code), sid, _AD_PARENT)
        try:
            isk = run.finish(share, _AD_RELATIVE)
        except ValueError:
            raise WrongInvitation("The other side sent no share of a code.") from None
        channel.secure(isk, _AD_PARENT, _AD_RELATIVE)
        with _ending("The other side did not have this code, or gave up."):
            await channel.send(run.share + channel.seal(_MAILBOX.pack(own)))
            (mailbox,) = _unpack(_MAILBOX, channel.open(await channel.receive()))
        since = message.timestamp(time.time())
        secret = _derive(isk, b"correspondence")
        relative = Relative(name, Role.RELATIVE, _new_sender(toy), since, mailbox, secret)
        keep(relative)
        epoch = max(toy.family)
        said = _FAMILY.pack(relative.sender, toy.sender, epoch, toy.family[epoch], *names)
        try:
            await channel.send(channel.seal(said + toy.name.encode()))
            channel.open(await channel.receive())
        except (Over, NotFound):
            raise WrongInvitation("The other side gave up.") from None
        except TimeoutError:
            raise InvitationUnsure(f"{name} has not said whether it has worked.") from None
    return relative


async def join(
    relay: Relay, mailboxes: Mailboxes, code: Code, toy_id: bytes,
    keep: Callable[[Toy, str], None],
) -> str:  # fmt: skip
    """Accept an invitation. `keep` gets the toy, under the name that it has over there, and what
    this phone is called now, and must have the toy on the disk when it returns: the other side is
    told only then. Return that name. Where this raises after `keep` was called, the other side
    may not know this phone."""
    own = Mailbox(relay, mailboxes.key(toy_id, 0)).name
    sid = os.urandom(16)
    run = cpace.Initiator(code.secret, _context(code), sid, _AD_RELATIVE)
    rendezvous = Rendezvous.join(relay, code.number)
    until = asyncio.get_running_loop().time() + LASTS
    entering = _Channel(rendezvous, until)
    try:
        await entering.send(_HELLO.pack(_VERSION, sid, run.share))
    except (Over, NotFound, TimeoutError):
        raise InvitationOver(
            "There is no invitation of that number: it was used, or its time is over."
        ) from None
    except Refused as refused:
        if refused.problem is Problem.TOO_MANY:
            raise RelayRefused("Too many invitations were tried from here.") from None
        raise
    try:
        with _ending("The other side has ended the invitation."):
            answer = await entering.receive()
            share, rest = answer[: cpace.SHARE_SIZE], answer[cpace.SHARE_SIZE :]
            try:
                isk = run.finish(share, _AD_PARENT)
            except ValueError:
                raise WrongInvitation("The other side sent no share of a code.") from None
            entering.secure(isk, _AD_RELATIVE, _AD_PARENT)
            (mailbox,) = _unpack(_MAILBOX, entering.open(rest))
            await entering.send(entering.seal(_MAILBOX.pack(own)))
            content = entering.open(await entering.receive())
            toy, called = _parse_family(content, toy_id, mailbox, _derive(isk, b"correspondence"))
            keep(toy, called)
            await entering.send(entering.seal(b""))
    except BaseException:
        with contextlib.suppress(ClientError):
            await rendezvous.close()
        raise
    return called


@contextlib.contextmanager
def _ending(otherwise: str) -> Iterator[None]:
    """Once both sides are there, the end of the channel means that they do not agree."""
    try:
        yield
    except (Over, NotFound, TimeoutError):
        raise WrongInvitation(otherwise) from None


def _parse_family(content: bytes, toy_id: bytes, mailbox: bytes, secret: bytes) -> tuple[Toy, str]:
    head, name = content[: _FAMILY.size], content[_FAMILY.size :]
    sender, sender_parent, epoch, key, called, parent = _unpack(_FAMILY, head)
    toy_name = clean_name(name[:TOY_NAME_MAX])
    if not (epoch and any(key) and any(sender) and any(sender_parent) and sender != sender_parent):
        raise InvitationOver("The other side sent impossible keys.", "Update both phones.")
    relative = Relative(
        clean_name(parent) or "parent", Role.PARENT, sender_parent,
        message.timestamp(time.time()), mailbox, secret,
    )  # fmt: skip
    family: Mapping[int, bytes] = {epoch: key}
    return Toy(toy_name, None, toy_id, sender, family, {}, (relative,)), clean_name(called)


def _new_sender(toy: Toy) -> bytes:
    while True:
        sender = os.urandom(message.SENDER_SIZE)
        if any(sender) and sender != toy.sender and sender not in toy.everybody:
            return sender


def _context(code: Code) -> bytes:
    return _INFO + b" " + str(code.number).encode()


def _derive(isk: bytes, what: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt=b"", info=_INFO + b" " + what).derive(isk)


def _unpack(layout: struct.Struct, content: bytes) -> tuple[Any, ...]:
    if len(content) != layout.size:
        raise InvitationOver("The other side sent something else.", "Update both phones.")
    return layout.unpack(content)
