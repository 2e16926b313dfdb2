"""A toy as this phone knows it, and who belongs to its family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

MEMBERS_MAX = 64  # of a family


class Role(Enum):
    """What somebody is in a toy's family."""

    PARENT = "parent"  # has invited this phone, and brings what it sends to the toy
    RELATIVE = "relative"  # was invited, and is far away
    PHONE = "phone"  # is paired with the toy


@dataclass(frozen=True)
class Member:
    """Somebody else in the family, as the toy or the parent told. `since` is Unix seconds, 0 where
    it is unknown."""

    name: str
    role: Role
    since: int


@dataclass(frozen=True)
class Relative:
    """Somebody whom this phone reaches through the relay.

    `sender` is the sender id in that phone's messages, `since` Unix seconds. `mailbox` and
    `secret` are those of the relay's Contact, 32 bytes each.
    """

    name: str
    role: Role
    sender: bytes
    since: int
    mailbox: bytes
    secret: bytes = field(repr=False)


@dataclass(frozen=True)
class Away:
    """How this phone stands with those who are far away.

    `mailbox` is the number of its mailbox for the toy: a new one when somebody was removed.
    `closing` are numbers of old ones, and `leaving` those who were removed, until the relay has
    been told. `spent` is the newest family key that somebody who was removed has, 0 for none.
    `revision` counts what the parent's phone has told of the family, and `told` is a digest of the
    last of it; where this phone was told, `revision` is that of what it knows.
    """

    mailbox: int = 0
    closing: tuple[int, ...] = ()
    leaving: tuple[Relative, ...] = ()
    spent: int = 0
    revision: int = 0
    told: bytes = b""


@dataclass(frozen=True)
class Toy:
    """A toy: its name here, this phone's key, and what is known of its family.

    `key` is None where this phone is far away, and was invited. `id` names the toy in files here,
    whatever becomes of name and key. `sender` is the sender id that the toy, or who has invited,
    has given this phone, None until then; `members` are the others by sender id, as the toy, or
    who has invited, last told. `relatives` are those whom the relay reaches from here.
    """

    name: str
    key: bytes | None = field(repr=False)
    id: bytes
    sender: bytes | None = None
    family: Mapping[int, bytes] = field(default_factory=dict, repr=False)
    members: Mapping[bytes, Member] = field(default_factory=dict)
    relatives: tuple[Relative, ...] = ()
    away: Away = Away()

    @property
    def everybody(self) -> dict[bytes, Member]:
        """The other members by sender id, wherever they are."""
        relatives = {
            each.sender: Member(each.name, each.role, each.since) for each in self.relatives
        }
        others = {**self.members, **relatives}
        return {sender: member for sender, member in others.items() if sender != self.sender}

    @property
    def names(self) -> dict[bytes, str]:
        """The names of the other members by sender id."""
        return {sender: member.name for sender, member in self.everybody.items()}


def without(toy: Toy, relative: Relative) -> Toy:
    """Return the toy after a relative was removed, who knows this phone's mailbox and, where it
    was invited from here, the family's newest key: there are others from now on."""
    if relative not in toy.relatives:
        return toy
    away = replace(
        toy.away,
        mailbox=toy.away.mailbox + 1,
        closing=(*toy.away.closing, toy.away.mailbox),
        leaving=(*toy.away.leaving, relative),
        spent=toy.away.spent if toy.key is None else max(toy.family, default=0),
    )
    relatives = tuple(each for each in toy.relatives if each != relative)
    return replace(toy, relatives=relatives, away=away)


def renewal_due(toy: Toy) -> bool:
    """Return whether somebody who was removed has the newest family key that is known here."""
    return toy.away.spent >= max(toy.family, default=0) > 0


def far_recipient(toy: Toy, recipient: bytes) -> Relative | None:
    """Return who gets what is for a sender id, or brings it there; None where nobody does."""
    bringing = next((each for each in toy.relatives if each.role is Role.PARENT), None)
    return next((each for each in toy.relatives if each.sender == recipient), bringing)
