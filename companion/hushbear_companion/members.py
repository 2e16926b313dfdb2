"""The members of a family by sender id: what to call one, and whom a name means.

A name is only what a phone, or another one, has said, and two may be alike. Who is neither among
the toy's phones nor a relative, or is new there, is known by the id in messages only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .errors import NoSuchMember
from .toy import Relative, Toy


def member_name(to: Toy, sender: bytes) -> str:
    """Return what a member is called: the name that is known, with the id where it is not the only
    one, else the id."""
    if sender == to.sender:
        return "here"
    name = to.names.get(sender)
    if not name:
        return sender.hex()
    alike = [other for other in to.names.values() if other.casefold() == name.casefold()]
    return name if len(alike) == 1 else f"{name} ({sender.hex()})"


def called(to: Toy, sender: bytes) -> str:
    """Return what a member is called, or the toy where it is its child."""
    return member_name(to, sender) if any(sender) else to.name


def find_member(to: Toy, text: str, also: Iterable[bytes] = ()) -> bytes:
    """Return the sender id of the only other member whose id is `text`, or who is called so.
    `also` are ids of some who may be known by them only."""
    others = {*to.names, *also}
    others.discard(to.sender or b"")
    return _find({each: to.names.get(each, "") for each in others}, text)


def find_relative(to: Toy, text: str) -> Relative:
    """Return the only relative who is called so, or whose sender id it is."""
    relatives = {each.sender: each for each in to.relatives}
    return relatives[_find({each.sender: each.name for each in to.relatives}, text)]


def member_values(to: Toy, sender: bytes, key: str = "id") -> dict[str, str | None]:
    """Return the keys of a member: `key`, the id, and the name, null where it is unknown."""
    return {key: sender.hex(), "name": to.names.get(sender) or None}


def _find(names: Mapping[bytes, str], text: str) -> bytes:
    text = " ".join(text.split())
    for sender in names:
        if text.lower() == sender.hex():
            return sender
    found = [each for each, name in names.items() if name.casefold() == text.casefold()]
    if len(found) > 1:
        ids = ", ".join(sorted(each.hex() for each in found))
        raise NoSuchMember(f"{len(found)} members are called {text!r}.", f"Name an id: {ids}.")
    if not found or not text:
        raise NoSuchMember(f"Nobody else in the family is called {text!r}.")
    return found[0]
