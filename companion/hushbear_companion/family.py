"""The family as its phones see it: its keys by epoch, and the phones that the toy knows.

What a toy says of them is checked here, once: see records.py.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import UTC, datetime

from hushbear import family_wire

from .errors import ToyMisbehaves, UsageError
from .records import clean
from .toy import Member, Role

NAME_SIZE: int = family_wire.NAME_SIZE
SLOTS: int = family_wire.SLOTS
_ANSWER_MAX: int = family_wire.EPOCHS_MAX


@dataclass(frozen=True)
class Phone:
    """A phone that the toy knows. `paired` is None where the toy's clock was not set; `here` is
    whether it is this one."""

    slot: int
    sender: bytes
    paired: datetime | None
    name: str
    here: bool

    @property
    def member(self) -> Member:
        """What the family knows of whoever has it."""
        return Member(self.name, Role.PHONE, int(self.paired.timestamp()) if self.paired else 0)


def parse_epochs(body: bytes, after: int) -> dict[int, bytes]:
    """Return the family keys in a FAMILY response, by epoch; epochs must rise from `after`."""
    if len(body) % family_wire.EPOCH_SIZE or len(body) > _ANSWER_MAX * family_wire.EPOCH_SIZE:
        raise ToyMisbehaves("The toy sent an impossible number of family keys.")
    keys: dict[int, bytes] = {}
    for epoch, key in struct.iter_unpack(family_wire.EPOCH, body):
        if epoch <= after or not any(key):
            raise ToyMisbehaves("The toy sent a family key that cannot be one.")
        keys[epoch] = key
        after = epoch
    return keys


def parse_phones(body: bytes) -> list[Phone]:
    """Return the phones in a PHONES response; one of them, and no more, is the one that asked."""
    if len(body) % family_wire.PHONE_SIZE:
        raise ToyMisbehaves("The toy sent half an entry of its phones.")
    phones = []
    for flags, sender, paired, name in struct.iter_unpack(family_wire.PHONE, body):
        slot = flags & ~family_wire.ASKING
        moment = datetime.fromtimestamp(paired, UTC) if paired else None
        here = bool(flags & family_wire.ASKING)
        phones.append(Phone(slot, sender, moment, clean_name(name), here))
    slots = {phone.slot for phone in phones}
    if len(slots) < len(phones) or not slots <= set(range(SLOTS)):
        raise ToyMisbehaves("The toy's phones have impossible slots.")
    if [phone.here for phone in phones].count(True) != 1:
        raise ToyMisbehaves("The toy does not say which of its phones this is.")
    if not all(any(phone.sender) for phone in phones):
        raise ToyMisbehaves("The toy has given a phone its own sender id.")
    return phones


def clean_name(name: bytes) -> str:
    """Return a phone's name as it may be shown: one line, nothing that steers a terminal."""
    return " ".join(clean(name.rstrip(b"\0")).split())


def pack_name(name: str) -> bytes:
    """Return a phone's name as the toy keeps it: up to 32 bytes of UTF-8, padded with zeros.
    Raises UsageError."""
    name = " ".join(name.split())
    try:
        packed = name.encode()
    except UnicodeEncodeError:
        packed = b""
    if not 1 <= len(packed) <= NAME_SIZE or not name.isprintable():
        raise UsageError(
            f"A phone's name is 1 to {NAME_SIZE} bytes: letters, digits, signs, blanks.",
            "Choose another.",
        )
    return packed.ljust(NAME_SIZE, b"\0")
