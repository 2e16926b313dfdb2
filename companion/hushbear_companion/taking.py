"""What has come through the relay, put in its place: in the inbox, among what was received for
this phone, in the journal, in the keys file, or on its way to another relative."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from . import message, sealing
from .errors import BadMessage, FileProblem, InboxFull
from .inbox import Inbox
from .journal import Journal
from .keystore import KeyStore
from .letters import Family, Kind, News, Stage
from .private import write_private
from .received import received_directory
from .toy import Relative, Role, Toy

_GOING_MAX = 64  # messages of one member that are passed on and have not arrived yet


@dataclass(frozen=True)
class Arrival:
    """A message that has come. `path` is None where it is in the inbox."""

    kind: Kind
    header: message.Header
    relative: Relative
    path: Path | None


@dataclass(frozen=True)
class Places:
    """Where what comes is put. `pass_on` sends a sealed message to a relative."""

    store: KeyStore
    journal: Journal
    directory: Path | None
    pass_on: Callable[[Relative, bytes], None]

    def put(self, toy: Toy, relative: Relative, letter: bytes) -> Arrival | News | None:
        """Put a relative's letter in its place; return it if somebody is to be told of it.

        Raises BadMessage, or UnknownEpoch, InboxFull and FileProblem where it can be put again
        later.
        """
        try:
            kind, content = Kind(letter[0]), letter[1:]
        except (IndexError, ValueError):
            raise BadMessage(f"{relative.name} sent something of an unknown kind.") from None
        if kind is Kind.FAMILY:
            self._take_family(toy, relative, content)
            return None
        if kind is Kind.NEWS:
            news = News.parse(content)
            if relative.role is not Role.PARENT:  # who knows of itself only
                news = replace(news, recipient=relative.sender)
            return news if self.journal.learn(news) else None
        if kind is Kind.PASS_ON:
            self._pass_on(toy, relative, content)
            return None
        return self._take_message(toy, relative, kind, content)

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
            with Inbox(toy.id, self.directory) as inbox:
                new = inbox.take(content, toy.family)[1]
            return Arrival(kind, header, relative, None) if new else None
        _open(toy, content)
        path = received_directory(toy, self.directory) / f"{header.id.hex()}.message"
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

        self.store.learn_keys(toy.id, {family.epoch: family.key})
        self.store.change(toy.id, learned)

    def _pass_on(self, toy: Toy, relative: Relative, content: bytes) -> None:
        recipient, content = content[: message.SENDER_SIZE], content[message.SENDER_SIZE :]
        header = message.parse_header(content)
        to = next((each for each in toy.relatives if each.sender == recipient), None)
        if toy.key is None or to is None or to == relative:
            raise BadMessage(f"{relative.name} sent a message for somebody who is not here.")
        if header.sender != relative.sender:
            raise _imitated(relative)
        _open(toy, content)
        sent = self.journal.all_sent(Stage.GOING)
        if [each.origin for each in sent].count(relative.sender) >= _GOING_MAX:
            raise InboxFull(f"{_GOING_MAX} messages of {relative.name} are on their way already.")
        self.pass_on(to, content)


def _open(toy: Toy, content: bytes) -> None:
    """Raise what sealing.unseal() raises, or BadMessage, where nobody could hear a message."""
    _, blocks = sealing.unseal(content, toy.family)
    message.check_blocks(blocks)


def _imitated(relative: Relative) -> BadMessage:
    return BadMessage(
        f"{relative.name} sent a message as if it were somebody else's.",
        "It was not taken in; ask them.",
    )
