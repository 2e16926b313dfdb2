"""What two phones of a family send each other through the relay, by its first byte: the layouts.

docs/family.md has them as a table. What comes is checked here, once: lengths, numbers and names
are bounded before anything uses them.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from . import message
from .errors import BadMessage
from .family import NAME_SIZE, clean_name
from .sealing import FAMILY_KEY_SIZE
from .toy import MEMBERS_MAX, Member, Role

_MAILBOX_SIZE = 32

_HEAD = struct.Struct(f">I{_MAILBOX_SIZE}sI{FAMILY_KEY_SIZE}s")  # revision, mailbox, epoch, key
_MEMBER = struct.Struct(f">{message.SENDER_SIZE}sBI{NAME_SIZE}s")  # sender id, role, since, name
_NEWS = struct.Struct(f">{message.ID_SIZE}s{message.SENDER_SIZE}sB")
_ROLES = {1: Role.PARENT, 2: Role.RELATIVE, 3: Role.PHONE}
_ROLE_NUMBERS = {role: number for number, role in _ROLES.items()}


class Kind(IntEnum):
    """What a letter is."""

    FOR_TOY = 1  # a sealed message
    FOR_YOU = 2  # likewise
    FAMILY = 3  # the family as it is now
    NEWS = 4  # what has become of a message
    PASS_ON = 5  # a member's sender id, and a sealed message for it


class Stage(IntEnum):
    """How far a message has come, as its sender is told. It never goes back."""

    GOING = 0  # on its way
    ARRIVED = 1  # with whoever brings it there
    DELIVERED = 2  # the toy, or the phone, has it
    HEARD = 3
    ANSWERED = 4  # whoever has heard it has said something since
    REFUSED = 5
    FAILED = 6  # given up


@dataclass(frozen=True)
class Family:
    """What a parent's phone tells of the family. A higher revision is newer. `mailbox` is where to
    write to now, `members` is everybody by sender id, whoever tells and is told included."""

    revision: int
    mailbox: bytes
    epoch: int
    key: bytes = field(repr=False)
    members: Mapping[bytes, Member]

    def pack(self) -> bytes:
        """Return a letter's content."""
        return _HEAD.pack(self.revision, self.mailbox, self.epoch, self.key) + b"".join(
            _MEMBER.pack(sender, _ROLE_NUMBERS[each.role], each.since, _pack_short(each.name))
            for sender, each in sorted(self.members.items())[:MEMBERS_MAX]
        )

    @classmethod
    def parse(cls, content: bytes) -> Family:
        """Return what a letter says, or raise BadMessage."""
        rows = content[_HEAD.size :]
        if len(content) < _HEAD.size or len(rows) % _MEMBER.size:
            raise BadMessage("That is half a family.")
        if len(rows) > MEMBERS_MAX * _MEMBER.size:
            raise BadMessage("No family has so many members.")
        revision, mailbox, epoch, key = _HEAD.unpack_from(content)
        if not (revision and epoch and any(key)):
            raise BadMessage("That is a family key that cannot be one.")
        members = {}
        for sender, role, since, name in _MEMBER.iter_unpack(rows):
            if role not in _ROLES or not any(sender):
                raise BadMessage("That is a member that cannot be one.")
            members[sender] = Member(clean_name(name), _ROLES[role], since)
        return cls(revision, mailbox, epoch, key, members)


@dataclass(frozen=True)
class News:
    """What has become of a message. `recipient` is the sender id of whoever has it, zeros for the
    toy."""

    id: bytes
    recipient: bytes
    stage: Stage

    def pack(self) -> bytes:
        """Return a letter's content."""
        return _NEWS.pack(self.id, self.recipient, self.stage)

    @classmethod
    def parse(cls, content: bytes) -> News:
        """Return what a letter says, or raise BadMessage."""
        if len(content) != _NEWS.size:
            raise BadMessage("That is no news of a message.")
        message_id, recipient, stage = _NEWS.unpack(content)
        if not Stage.ARRIVED <= stage <= Stage.REFUSED:
            raise BadMessage("That has become of no message.")
        return cls(message_id, recipient, Stage(stage))


def _pack_short(name: str) -> bytes:
    """Return as many letters of a name as there is room for, padded with zeros."""
    packed = name.encode("utf-8", "replace")[:NAME_SIZE]
    return packed.decode("utf-8", "ignore").encode().ljust(NAME_SIZE, b"\0")
