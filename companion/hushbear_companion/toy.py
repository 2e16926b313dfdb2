"""A toy as this phone knows it, and who belongs to its family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class Role(Enum):
    """What somebody far away is in a toy's family."""

    PARENT = "parent"  # has invited this phone, and brings what it sends to the toy
    RELATIVE = "relative"  # was invited from this phone


@dataclass(frozen=True)
class Relative:
    """Somebody who is reached through the relay.

    `sender` is the sender id in that phone's messages, `since` Unix seconds. `mailbox`, `writer`
    and `secret` are those of the relay's Contact, 32 bytes each.
    """

    name: str
    role: Role
    sender: bytes
    since: int
    mailbox: bytes
    writer: bytes
    secret: bytes = field(repr=False)


@dataclass(frozen=True)
class Toy:
    """A toy: its name here, this phone's key, and what is known of its family.

    `key` is None where this phone is far away, and was invited. `id` names the toy in files here,
    whatever becomes of name and key. `sender` is the sender id that the toy, or who has invited,
    has given this phone, None until then; `members` are the names of the family's phones by sender
    id, as the toy last told them. `relatives` are those whom the relay reaches from here.
    """

    name: str
    key: bytes | None = field(repr=False)
    id: bytes
    sender: bytes | None = None
    family: Mapping[int, bytes] = field(default_factory=dict, repr=False)
    members: Mapping[bytes, str] = field(default_factory=dict)
    relatives: tuple[Relative, ...] = ()

    @property
    def names(self) -> dict[bytes, str]:
        """The names of the other members by sender id, wherever they are."""
        return {**self.members, **{each.sender: each.name for each in self.relatives}}
