"""The toys that this phone knows: names, keys and families in one file that only its owner can
read.

JSON in the platform's configuration directory, or in $HUSHBEAR_CONFIG. A change writes a new file
and renames it, so that a power cut leaves the old one or the new one. A file of version 1, from
before messages were sealed, is read as one whose families are still to be learned from the toys;
one of version 2 or 3 as one without relatives, whose mailboxes have other keys since.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import message
from .errors import BadLink, KeysUnsafe, NoSuchToy, UsageError
from .link import decode_key, encode_key
from .private import config_directory, locked, read_private, write_private
from .records import printable
from .toy import MEMBERS_MAX, Away, Member, Relative, Role, Toy

VERSION = 4
EPOCHS_MAX = 1024  # family keys that are kept of a toy, the newest: nobody has removed more phones
_FILE = "toys.json"
_SIZE_MAX = 1 << 20
_ID_SIZE = 8
_MEMBER_NAME_MAX = 64
_MAILBOX_SIZE = 32
_NAME = re.compile(r"[\w][\w .'-]{0,39}", re.UNICODE)


def check_name(name: str) -> str:
    """Return `name` without blanks round it, or raise UsageError."""
    name = name.strip()
    if not _NAME.fullmatch(name):
        raise UsageError(
            "A toy's name is 1 to 40 letters, digits, blanks, dots, quotes or dashes.",
            "Choose another with --name.",
        )
    return name


class KeyStore:
    """The toys in one directory. Every method reads or writes the file; nothing is kept."""

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = directory or config_directory()
        self.path = self.directory / _FILE

    def toys(self) -> list[Toy]:
        """Return the toys in the order in which they were added."""
        content = read_private(self.path, _SIZE_MAX + 1)
        if content is None:
            return []
        try:
            return _parse(content)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, BadLink):
            raise KeysUnsafe(
                f"{self.path} is damaged.",
                "Move it away and add your toys again from their links.",
            ) from None

    def get(self, name: str | None) -> Toy:
        """Return the toy of that name; without a name, the only one there is."""
        toys = self.toys()
        if not toys:
            raise NoSuchToy(
                "No toy is known here yet.",
                "Pair with one: `hushbear pair` (or `hushbear add LINK`, `hushbear join CODE`).",
            )
        names = ", ".join(toy.name for toy in toys)
        if name is None:
            if len(toys) > 1:
                raise UsageError(f"Several toys are known: {names}.", "Choose with --toy NAME.")
            return toys[0]
        for toy in toys:
            if toy.name.casefold() == name.strip().casefold():
                return toy
        raise NoSuchToy(f"No toy is called {name!r} here.", f"Known: {names}.")

    def add(
        self, name: str, key: bytes, sender: bytes | None = None,
        family: Mapping[int, bytes] | None = None,
    ) -> Toy:  # fmt: skip
        """Remember a toy. The same key again only changes the name; a name taken is refused."""
        with locked(self.directory):
            toys = self.toys()
            known = next((toy for toy in toys if toy.key == key), None)
            name = self.check_free(name, known)
            if known:
                toy = replace(known, name=name)
            else:
                toy = Toy(name, key, os.urandom(_ID_SIZE), sender, _newest(family or {}))
            self._write([toy if old.key == key else old for old in toys] + [toy] * (not known))
        return toy

    def check_free(self, name: str, known: Toy | None = None) -> str:
        """Return a name that no toy but `known` has, or raise UsageError."""
        name = check_name(name)
        others = [toy for toy in self.toys() if known is None or toy.key != known.key]
        if any(toy.name.casefold() == name.casefold() for toy in others):
            raise UsageError(
                f"A toy called {name!r} is known already.",
                "Choose another with --name, or `hushbear toys forget` the old one.",
            )
        return name

    def free_name(self, name: str = "bear") -> str:
        """Return a name for a toy that nobody has named here: bear, bear 2, ..."""
        taken = {toy.name.casefold() for toy in self.toys()}
        names = itertools.chain([name], (f"{name} {n}" for n in itertools.count(2)))
        return next(name for name in names if name not in taken)

    def unite(self, key: bytes, *, keep_name: bool) -> Toy:
        """Make one of the toy of that key and an older entry of the same family, if there is one.
        What remains has the older entry's id, and with `keep_name` its name; the older key goes.
        """
        with locked(self.directory):
            toys = self.toys()
            new = next(toy for toy in toys if toy.key == key)
            for old in toys:
                if old is not new and old.family.items() & new.family.items():
                    name = old.name if keep_name else new.name
                    family = _newest({**old.family, **new.family})
                    united = replace(
                        new, name=name, id=old.id, family=family,
                        relatives=old.relatives, away=old.away,
                    )  # fmt: skip
                    self._write([united if toy is old else toy for toy in toys if toy is not new])
                    return united
        return new

    def learn(
        self, key: bytes, sender: bytes | None, family: Mapping[int, bytes],
        members: Mapping[bytes, Member],
    ) -> None:  # fmt: skip
        """Add what the toy of that key has told of its family. What was known stays."""
        with locked(self.directory):
            toys = self.toys()
            for place, toy in enumerate(toys):
                if toy.key == key:
                    toys[place] = replace(
                        toy,
                        sender=sender or toy.sender,
                        family=_newest({**toy.family, **family}),
                        members=dict(list(members.items())[:MEMBERS_MAX]) or toy.members,
                    )
            self._write(toys)

    def join(self, toy: Toy) -> None:
        """Remember a toy that this phone was invited to."""
        with locked(self.directory):
            self.check_free(toy.name)
            self._write([*self.toys(), toy])

    def leave(self, toy_id: bytes) -> None:
        """Forget the toy with that id, if it is known."""
        with locked(self.directory):
            self._write([toy for toy in self.toys() if toy.id != toy_id])

    def change(self, toy_id: bytes, change: Callable[[Toy], Toy]) -> None:
        """Put what `change` returns in the place of the toy with that id, if it is known."""
        with locked(self.directory):
            self._write([change(toy) if toy.id == toy_id else toy for toy in self.toys()])

    def learn_keys(self, toy_id: bytes, family: Mapping[int, bytes]) -> None:
        """Add family keys that have come through the relay. What was known stays."""
        self.change(toy_id, lambda toy: replace(toy, family=_newest({**family, **toy.family})))

    def remove(self, name: str) -> Toy:
        """Forget a toy and its key."""
        with locked(self.directory):
            gone = self.get(name)
            self._write([toy for toy in self.toys() if toy != gone])
        return gone

    def forget(self, key: bytes) -> None:
        """Forget the toy of that key, if it is known."""
        with locked(self.directory):
            self._write([toy for toy in self.toys() if toy.key != key])

    def _write(self, toys: list[Toy]) -> None:
        rows = [
            {
                "name": toy.name,
                "key": toy.key and encode_key(toy.key),
                "id": toy.id.hex(),
                "sender": toy.sender and toy.sender.hex(),
                "family": {str(epoch): encode_key(key) for epoch, key in toy.family.items()},
                "members": {
                    sender.hex(): {"name": each.name, "role": each.role.value, "since": each.since}
                    for sender, each in toy.members.items()
                },
                "relatives": [_relative_row(each) for each in toy.relatives],
                "away": _away_row(toy.away),
            }
            for toy in toys
        ]
        content = json.dumps({"version": VERSION, "toys": rows}, indent=1, ensure_ascii=False)
        write_private(self.path, content.encode() + b"\n")


def _newest(family: Mapping[int, bytes]) -> dict[int, bytes]:
    return {epoch: family[epoch] for epoch in sorted(family)[-EPOCHS_MAX:]}


def _parse(content: bytes) -> list[Toy]:
    if len(content) > _SIZE_MAX:
        raise ValueError("too large")
    parsed: Any = json.loads(content)
    parse_row = {1: _parse_row_1, 2: _parse_row_2, 3: _parse_row_2, VERSION: _parse_row}[
        parsed["version"]
    ]
    return [parse_row(row) for row in parsed["toys"]]


def _parse_row_1(row: Any) -> Toy:
    """A toy of version 1. The sender id in it was this phone's own invention; it gives a toy id
    that stays the same until the file is written again."""
    return Toy(_parse_name(row["name"]), decode_key(row["key"]), _hex(row["sender"], _ID_SIZE))


def _parse_row_2(row: Any) -> Toy:
    members = {
        sender: {"name": name, "role": Role.PHONE.value, "since": 0}
        for sender, name in row["members"].items()
    }
    return _parse_row({**row, "members": members, "relatives": [], "away": _away_row(Away())})


def _parse_row(row: Any) -> Toy:
    family = {int(epoch): decode_key(key) for epoch, key in row["family"].items()}
    if not all(0 < epoch < 1 << 32 for epoch in family):
        raise ValueError("impossible epoch")
    sender, key = row["sender"], row["key"]
    return Toy(
        _parse_name(row["name"]),
        None if key is None else decode_key(key),
        _hex(row["id"], _ID_SIZE),
        None if sender is None else _hex(sender, message.SENDER_SIZE),
        _newest(family),
        {
            _hex(sender, message.SENDER_SIZE): Member(
                _text(each["name"]), Role(each["role"]), _number(each["since"])
            )
            for sender, each in row["members"].items()
        },
        tuple(_parse_relative(each) for each in row["relatives"]),
        _parse_away(row["away"]),
    )


def _parse_away(row: Any) -> Away:
    return Away(
        _number(row["mailbox"]),
        tuple(_number(each) for each in row["closing"]),
        tuple(_parse_relative(each) for each in row["leaving"]),
        _number(row["spent"]),
        _number(row["revision"]),
        bytes.fromhex(row["told"]),
    )


def _away_row(away: Away) -> dict[str, Any]:
    return {
        "mailbox": away.mailbox,
        "closing": list(away.closing),
        "leaving": [_relative_row(each) for each in away.leaving],
        "spent": away.spent,
        "revision": away.revision,
        "told": away.told.hex(),
    }


def _parse_relative(row: Any) -> Relative:
    return Relative(
        _text(row["name"]),
        Role(row["role"]),
        _hex(row["sender"], message.SENDER_SIZE),
        _number(row["since"]),
        _hex(row["mailbox"], _MAILBOX_SIZE),
        decode_key(row["secret"]),
    )


def _relative_row(relative: Relative) -> dict[str, Any]:
    return {
        "name": relative.name,
        "role": relative.role.value,
        "sender": relative.sender.hex(),
        "since": relative.since,
        "mailbox": relative.mailbox.hex(),
        "secret": encode_key(relative.secret),
    }


def _text(text: Any) -> str:
    return printable(str(text))[:_MEMBER_NAME_MAX]


def _number(number: Any) -> int:
    if type(number) is not int or not 0 <= number < 1 << 32:
        raise ValueError("impossible number")
    return number


def _parse_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError("impossible name")
    return name


def _hex(text: str, size: int) -> bytes:
    value = bytes.fromhex(text)
    if len(value) != size:
        raise ValueError("impossible entry")
    return value
