"""Envelopes: what two correspondents send each other, sealed, so that a relay cannot tell a
receipt from a short message, nor who sends it, nor in which epoch a recording was sealed.

An envelope is a kind byte and the content, sealed with AES-256-SIV (RFC 5297); the mailbox and the
envelope's id are authenticated with it. The key, 64 bytes, is HKDF-SHA256 of the secret that the
two share, with the recipient's mailbox as salt: one for each direction. There is no nonce: the
same message under the same id is the same bytes, however often it is sealed and put.
"""

from __future__ import annotations

import enum
import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .. import names
from .errors import Sealed

SECRET_SIZE = 32
_KEY_SIZE = 64
OVERHEAD = 16 + 1


class Kind(enum.IntEnum):
    """What is in an envelope."""

    MESSAGE = 1
    DELIVERED = 2  # a receipt; the content is the id of the message
    BROKEN = 3  # likewise: it arrived and did not open


RECEIPTS = (Kind.DELIVERED, Kind.BROKEN)


def _key(secret: bytes, mailbox: bytes, what: bytes) -> bytes:
    info = b"Hushbear relay " + what + b" 1"
    return HKDF(hashes.SHA256(), _KEY_SIZE, salt=mailbox, info=info).derive(secret)


def seal(secret: bytes, mailbox: bytes, envelope: bytes, kind: Kind, content: bytes) -> bytes:
    """Return the body of the envelope with that id, for a mailbox."""
    cipher = AESSIV(_key(secret, mailbox, b"envelope"))
    return cipher.encrypt(bytes((kind,)) + content, [mailbox + envelope])


def open_sealed(secret: bytes, mailbox: bytes, envelope: bytes, body: bytes) -> tuple[Kind, bytes]:
    """Return what is in an envelope, or raise Sealed."""
    try:
        inner = AESSIV(_key(secret, mailbox, b"envelope")).decrypt(body, [mailbox + envelope])
        kind = Kind(inner[0])
    except (InvalidTag, ValueError, IndexError):
        raise Sealed("An envelope does not open.") from None
    if kind in RECEIPTS and len(inner) != 1 + names.MESSAGE_SIZE:
        raise Sealed("A receipt of no message.")
    return kind, inner[1:]


def receipt_id(secret: bytes, mailbox: bytes, kind: Kind, message: bytes) -> bytes:
    """Return the id of a receipt: the same whenever it is made, and random to everybody else."""
    key = _key(secret, mailbox, b"receipt")
    return hmac.digest(key, bytes((kind,)) + message, "sha256")[: names.MESSAGE_SIZE]
