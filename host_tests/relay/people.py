"""People who have a mailbox and write to each other's."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hushbear_relay.client.correspondence import Contact, Correspondence
from hushbear_relay.client.http import Relay
from hushbear_relay.client.ledger import Ledger
from hushbear_relay.client.mailbox import Letterbox, Mailbox, writing_key


class Person:
    """A mailbox's key, and a secret from which come the keys to write to others."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.key = Ed25519PrivateKey.generate()
        self.secret = os.urandom(32)
        self.mailbox = Mailbox(relay, self.key)

    def at(self, other: Person) -> Letterbox:
        """This person's way into another's mailbox."""
        name = other.mailbox.name
        return Letterbox(self.relay, name, writing_key(self.secret, name))

    def member_at(self, other: Person) -> bytes:
        """What this person is called there."""
        return self.at(other).member


def correspondents(relays: list[Relay], directory: Path) -> list[Correspondence]:
    """Return one correspondence for each relay given, each with all others as contacts."""
    everybody = []
    for place, relay in enumerate(relays):
        ledger = Ledger(directory / f"ledger-{place}")
        key = Ed25519PrivateKey.generate()
        everybody.append(Correspondence(relay, key, ledger, look_seconds=0))
    for place, one in enumerate(everybody):
        for other in everybody[place + 1 :]:
            shared = os.urandom(32)
            for here, there in ((one, other), (other, one)):
                here.contacts.append(Contact(there.mailbox.name, shared))
    return everybody
