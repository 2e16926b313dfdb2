"""This phone on the relay: which one it uses, and the secret from which all its keys there come.

In `relay.json` beside the keys file, under the same rules. A toy has a mailbox of its own, so that
nothing on a relay shows that two families have a phone in common.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .errors import BadLink, KeysUnsafe, NoRelay, UsageError
from .link import decode_key, encode_key
from .private import config_directory, locked, read_private, write_private

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_VERSION = 1
_FILE = "relay.json"
_SIZE_MAX = 1 << 16
_LOCAL = ("localhost", "127.0.0.1", "::1")
_URL_MAX = 500


@dataclass(frozen=True)
class Mailboxes:
    """The relay's URL, and the secret, 32 bytes."""

    url: str
    secret: bytes = field(repr=False)

    def key(self, toy_id: bytes, number: int) -> Ed25519PrivateKey:
        """Return the key that names this phone's mailbox of that number for a toy."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        info = b"Hushbear companion mailbox 1" + number.to_bytes(4, "big")
        kdf = HKDF(SHA256(), 32, salt=toy_id, info=info)
        return Ed25519PrivateKey.from_private_bytes(kdf.derive(self.secret))


def check_url(url: str) -> str:
    """Return a relay's URL as it is used, or raise UsageError."""
    url = url.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        port_fits = parts.port != 0
    except ValueError:
        parts, port_fits = urlsplit(""), False
    if (
        not (parts.scheme in ("http", "https") and parts.hostname and port_fits)
        or parts.username is not None or parts.query or parts.fragment
        or not (url.isascii() and url.isprintable()) or " " in url or len(url) > _URL_MAX
    ):  # fmt: skip
        raise UsageError(
            f"{url[:80]!r} is no relay's URL.", "It looks like https://relay.example."
        )
    if parts.scheme == "http" and parts.hostname not in _LOCAL:
        raise UsageError(
            "Without TLS everybody on the way sees who uses the relay, and when.",
            f"Try https://{parts.netloc}.",
        )
    return url


def known(directory: Path | None = None) -> Mailboxes | None:
    """Return what this phone uses, None where no relay was named yet."""
    path = (directory or config_directory()) / _FILE
    content = read_private(path, _SIZE_MAX)
    if content is None:
        return None
    try:
        said = json.loads(content)
        if said["version"] != _VERSION:
            raise ValueError("another version")
        return Mailboxes(check_url(said["relay"]), decode_key(said["secret"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, BadLink, UsageError):
        raise KeysUnsafe(
            f"{path} is damaged.",
            "Restore it from a backup; without it, move it away, and invite everybody again.",
        ) from None


def get(directory: Path | None = None) -> Mailboxes:
    """Return what this phone uses, or raise NoRelay."""
    mailboxes = known(directory)
    if mailboxes is None:
        raise NoRelay("This phone uses no relay yet.")
    return mailboxes


def use(url: str, directory: Path | None = None) -> Mailboxes:
    """Use the relay at a URL from now on. The secret stays, so the keys do."""
    url = check_url(url)
    directory = directory or config_directory()
    with locked(directory):
        before = known(directory)
        mailboxes = Mailboxes(url, before.secret if before else os.urandom(32))
        said = {"version": _VERSION, "relay": url, "secret": encode_key(mailboxes.secret)}
        write_private(directory / _FILE, json.dumps(said, indent=1).encode() + b"\n")
    return mailboxes
