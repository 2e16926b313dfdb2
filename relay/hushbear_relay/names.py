"""What mailboxes, members and messages are called: hexadecimal digits that say nothing.

A mailbox is named by the SHA-256 of its owner's Ed25519 public key. Who may write to it is a
member: the hash of the mailbox and the member's public key, so that the same key has another name
in every mailbox, and the relay, which keeps the names only, has no key.
"""

from __future__ import annotations

import hashlib
import re

KEY_SIZE = 32
MAILBOX_SIZE = 32
MEMBER_SIZE = 32
MESSAGE_SIZE = 16
NONCE_SIZE = 16

MAILBOX_PATTERN = f"^[0-9a-f]{{{2 * MAILBOX_SIZE}}}$"
MEMBER_PATTERN = f"^[0-9a-f]{{{2 * MEMBER_SIZE}}}$"
MESSAGE_PATTERN = f"^[0-9a-f]{{{2 * MESSAGE_SIZE}}}$"

_HEX = re.compile(r"(?:[0-9a-f]{2})+")


def mailbox_of(key: bytes) -> bytes:
    """Return the name of the mailbox that the owner of this public key has, 32 bytes."""
    return hashlib.sha256(key).digest()


def member_of(mailbox: bytes, key: bytes) -> bytes:
    """Return what the owner of this public key is called in a mailbox, 32 bytes."""
    return hashlib.sha256(b"Hushbear relay member 1" + mailbox + key).digest()


def digest_of(members: list[bytes]) -> bytes:
    """Return what a set of members is told by: the SHA-256 of their names in order."""
    return hashlib.sha256(b"".join(sorted(members))).digest()


def parse(text: str, size: int) -> bytes:
    """Return the bytes that a name of `size` bytes stands for, or raise ValueError."""
    if len(text) != 2 * size or not _HEX.fullmatch(text):
        raise ValueError(f"not {2 * size} lower-case hexadecimal digits")
    return bytes.fromhex(text)
