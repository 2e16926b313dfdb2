"""The thief of this story, who copies all that the relay has, again and again; and what there is
to be found: all of two phones that nobody else is to know.
"""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from rich.table import Table

from hushbear_companion import mailboxes
from hushbear_companion.keystore import KeyStore
from hushbear_companion.toy import Toy
from hushbear_relay import names, signing
from hushbear_relay.client.mailbox import writing_key
from tools.thief import Loot, Search, Tried, addressed, named, steal, try_to_open

from .phone import Phone
from .telling import DemoFailed, console, tell

_TABLES = ("mailboxes", "members", "messages")


class Thief:
    """Has a way into the computer on which the relay runs, whose files are in `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.loot: dict[str, Loot] = {}  # by when it was copied

    def steal(self, when: str) -> None:
        """Copy everything, now."""
        self.loot[when] = loot = steal(self._directory)
        tell(f"(A thief copies the relay's database and log: {loot.size // 1000} kB.)")

    def show(self) -> None:
        """Print how many rows there are in the copies, and bytes."""
        shown = Table(box=None, header_style="bold")
        shown.add_column("copied", no_wrap=True)
        for column in (*_TABLES, "other rows", "sealed", "files"):
            shown.add_column(column, justify="right", no_wrap=True)
        for when, loot in self.loot.items():
            counts = {name: len(rows) for name, rows in loot.tables.items()}
            rows = [counts.pop(name, 0) for name in _TABLES]
            sealed = sum(len(envelope.body) for envelope in loot.envelopes)
            rows.append(sum(counts.values()) - counts.get("bodies", 0))  # one for each message
            shown.add_row(when, *map(str, rows), f"{sealed:,} B", f"{loot.size // 1000:,} kB")
        console.print(shown)

    def search(self, search: Search) -> dict[str, str]:
        """Return what is in the copies of what is looked for, and where."""
        return {
            what: f"{where} ({when})"
            for when, loot in self.loot.items()
            for where, content in loot.contents.items()
            for what in search.found(content)
        }

    def open(self) -> Tried:
        """Try to open every envelope with all there is."""
        return try_to_open(self.loot.values())


def tell_of(thief: Thief, valuables: Valuables, phones: list[Phone]) -> Tried:
    """Print what a thief has got, and what he has learned of it. Raises DemoFailed if that is
    anything, or if the same search does not find it on the phones."""
    thief.show()
    search = valuables.search()
    found = thief.search(search)
    at_home = set(search.found(b"\0".join(_all_files(phone.directory) for phone in phones)))
    shown = Table(box=None, header_style="bold")
    shown.add_column("looked for", no_wrap=True)
    for column in ("", "the thief has", "the phones have"):
        shown.add_column(column, justify="right", no_wrap=True)
    for kind, secrets in {**valuables.kinds, "recordings": valuables.recordings}.items():
        there, here = len(found.keys() & secrets), len(at_home & secrets.keys())
        if not here and secrets is not valuables.addresses:
            raise DemoFailed(f"the search does not even find {kind} where they are")
        shown.add_row(kind, str(len(secrets)), str(there), str(here))
    console.print(shown)
    pieces = sum(map(len, search.runs.values()))
    tell(f"A recording would be known by any of its pieces: {pieces:,} were looked for.")
    tried = thief.open()
    tell(
        f"On {tried.envelopes} sealed envelopes {tried.keys} keys each were tried:"
        f" {len(tried.opened)} opened."
    )
    check(found, tried)
    tell("He knows how many mailboxes write to each other, when, and how much.")
    return tried


def check(found: dict[str, str], tried: Tried) -> None:
    """Raise DemoFailed if the thief has anything."""
    for what, where in found.items():
        raise DemoFailed(f"the thief has {what}: in {where}")
    if tried.opened:
        raise DemoFailed(f"the thief has opened {len(tried.opened)} of the envelopes")


def _all_files(directory: Path) -> bytes:
    return b"\0".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())


class Valuables:
    """What is worth stealing in this story, and is looked for: names and addresses, identities and
    keys, messages and audio."""

    def __init__(self) -> None:
        self.names: dict[str, bytes] = {}
        self.addresses: dict[str, bytes] = {}
        self.identities: dict[str, bytes] = {}
        self.keys: dict[str, bytes] = {}
        self.recordings: dict[str, bytes] = {}

    @property
    def kinds(self) -> dict[str, dict[str, bytes]]:
        """All of it but the recordings, by what it is."""
        return {
            "names and words": self.names,
            "addresses": self.addresses,
            "identities": self.identities,
            "keys": self.keys,
        }

    def search(self) -> Search:
        """What finds all of it."""
        secrets = {what: each for kind in self.kinds.values() for what, each in kind.items()}
        return Search(secrets, self.recordings)

    def add_names(self, *names: str) -> None:
        self.names |= named(names)

    def add_addresses(self, *addresses: str) -> None:
        self.addresses |= addressed(addresses)

    def add_phone(self, phone: Phone) -> None:
        """All in a phone's files but the names of mailboxes, which the relay has to know."""
        uses = mailboxes.get(phone.directory)
        self.keys[f"the secret of {phone.owner}'s phone"] = uses.secret
        for toy in KeyStore(phone.directory).toys():
            self._add_toy(phone.owner, toy)
            own = uses.key(toy.id, toy.away.mailbox)
            self._add_key(f"{phone.owner}'s mailbox", own)
            name = names.mailbox_of(signing.public_bytes(own))
            for each in toy.relatives:
                for mailbox in (name, each.mailbox):
                    what = f"{phone.owner}'s and {each.name}'s letters to {mailbox.hex()[:8]}"
                    self._add_key(what, writing_key(each.secret, mailbox))

    def _add_toy(self, owner: str, toy: Toy) -> None:
        self.identities[f"the id of {toy.name} on {owner}'s phone"] = toy.id
        if toy.sender:
            self.identities[f"the sender id of {owner}"] = toy.sender
        for sender, name in toy.names.items():
            self.identities[f"the sender id of {name}"] = sender
        if toy.key:
            self.keys[f"{owner}'s key of {toy.name}"] = toy.key
        for epoch, key in toy.family.items():
            self.keys[f"the family key {epoch} of {toy.name}"] = key
        for each in toy.relatives:
            self.keys[f"what {owner} shares with {each.name}"] = each.secret

    def _add_key(self, of: str, key: Ed25519PrivateKey) -> None:
        self.keys[f"the private key of {of}"] = key.private_bytes_raw()
        self.keys[f"the public key of {of}"] = signing.public_bytes(key)
