"""The members of a family by sender id: what to call one, and whom a name means.

A name is only what a phone, or another one, has said, and two may be alike. Who is neither among
the toy's phones nor a relative, or is new there, is known by the id in messages only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import NoSuchMember
from .toy import Toy

if TYPE_CHECKING:
    from .inbox import Inbox


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


def find_member(to: Toy, inbox: Inbox, text: str) -> bytes:
    """Return the sender id of the only other member whose id is `text`, or who is called so."""
    text = " ".join(text.split())
    others = {*to.names, *(each.sender for each in inbox.messages()), *inbox.standing()}
    others.discard(to.sender or b"")
    for sender in others:
        if text.lower() == sender.hex():
            return sender
    found = [each for each in others if to.names.get(each, "").casefold() == text.casefold()]
    if len(found) > 1:
        ids = ", ".join(sorted(each.hex() for each in found))
        raise NoSuchMember(f"{len(found)} members are called {text!r}.", f"Name an id: {ids}.")
    if not found or not text:
        raise NoSuchMember(f"Nobody else in the family is called {text!r}.")
    return found[0]


def member_values(to: Toy, sender: bytes, key: str = "id") -> dict[str, str | None]:
    """Return the keys of a member: `key`, the id, and the name, null where it is unknown."""
    return {key: sender.hex(), "name": to.names.get(sender) or None}
