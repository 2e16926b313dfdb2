"""What the others are to know, as the files of this phone have it: the family, what the child has
said, and what has become of messages. Finding the same again is no harm: post.py sends it once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from hushbear import container

from . import message, sealing
from .database import now
from .errors import BadMessage
from .inbox import Inbox, State
from .journal import Journal
from .letters import Family, News, Stage
from .received import fetched_directory
from .toy import Member, Relative, Role, Toy, far_recipient

_STAGES = {
    State.DELIVERED: Stage.DELIVERED,
    State.HEARD: Stage.HEARD,
    State.ANSWERED: Stage.ANSWERED,
    State.REFUSED: Stage.REFUSED,
}


def invited(toy: Toy) -> list[Relative]:
    """Return those who were invited from this phone and are to be told; none where it cannot."""
    if toy.key is None or not toy.family or toy.sender is None:
        return []
    return [each for each in toy.relatives if each.role is Role.RELATIVE]


def family_now(toy: Toy, mailbox: bytes) -> tuple[Family, bytes]:
    """Return the family as this phone knows it, with this mailbox of its own, and a digest of it;
    the revision is a new one where the digest is not that of what was told last."""
    assert toy.sender is not None
    epoch = max(toy.family)
    own = toy.members.get(toy.sender)
    members = {
        **toy.everybody,
        toy.sender: Member(own.name if own else "", Role.PARENT, own.since if own else 0),
    }
    family = Family(0, mailbox, epoch, toy.family[epoch], members)
    digest = hashlib.sha256(family.pack()).digest()[:16]
    revision = toy.away.revision
    if (
        digest != toy.away.told
    ):  # by the clock, so that it is higher also after a backup was restored
        revision = max(revision + 1, now())
    return replace(family, revision=revision), digest


def said_by_child(
    toy: Toy, directory: Path | None, was_sent: Callable[[Relative, bytes], bool]
) -> Iterator[tuple[Relative, bytes]]:
    """Yield the sealed messages of the child that relatives have not been sent, since they are
    there. `was_sent` knows of a message's id."""
    relatives = invited(toy)
    for path in sorted(fetched_directory(toy, directory).glob("*.message")) if relatives else ():
        try:
            message_id, since = bytes.fromhex(path.stem), path.stat().st_mtime
            going = [
                each
                for each in relatives
                if since >= each.since and not was_sent(each, message_id)
            ]
            content = _of_child(path, toy) if going else None
        except (OSError, ValueError, BadMessage):
            continue  # not a message of this toy, or not any more
        if content:
            yield from ((each, content) for each in going)


def _of_child(path: Path, toy: Toy) -> bytes | None:
    """Return a message of the toy's child, sealed with the newest key, which relatives have."""
    with path.open("rb") as file:
        content = file.read(message.SIZE_MAX + 1)
    header = message.parse_header(content)
    if header.sender != container.TOY:
        return None
    return content if header.epoch == max(toy.family) else sealing.renewed(content, toy.family)


def news(toy: Toy, journal: Journal, directory: Path | None) -> Iterator[tuple[Relative, News]]:
    """Yield what has become of messages, and who is to be told."""
    senders = {each.sender: each for each in invited(toy)}
    if senders:
        with Inbox(toy.id, directory) as inbox:
            incoming = inbox.messages(*_STAGES)
        for each in incoming:
            if relative := senders.get(each.sender):
                yield relative, News(each.id, container.TOY, _STAGES[each.state])
        for sent in journal.all_sent():  # of others, for whom it was passed on
            relative = senders.get(sent.origin)
            if relative and Stage.ARRIVED <= sent.stage <= Stage.REFUSED:
                yield relative, News(sent.id, sent.recipient, sent.stage)
    yield from _heard_here(toy, journal)


def _heard_here(toy: Toy, journal: Journal) -> Iterator[tuple[Relative, News]]:
    if toy.sender is None:
        return
    for heard in journal.all_heard():
        if relative := far_recipient(toy, heard.sender):
            yield relative, News(heard.id, toy.sender, heard.stage)
