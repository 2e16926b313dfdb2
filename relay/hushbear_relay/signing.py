"""Signed requests: one profile of HTTP Message Signatures (RFC 9421), for both sides.

One signature a request, by Ed25519, tag "hushbear-relay-1", over the method, the authority, the
path, the query, and Content-Digest (RFC 9530) where there is a body. `keyid` is the public key
itself, so the relay verifies before it looks anything up and needs no key of anybody's; `created`
and a random `nonce` are what replay is told by.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import datetime
import os
import re
from collections.abc import Iterable, Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from http_message_signatures import (
    ContentDigest,
    HTTPMessageSigner,
    HTTPMessageVerifier,
    HTTPSignatureKeyResolver,
    InvalidSignature,
    algorithms,
)

from . import names

TAG = "hushbear-relay-1"
COMPONENTS = ("@method", "@authority", "@path", "@query")
DIGEST = "content-digest"
_SHA256 = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):")
_LABEL = "hushbear"
_COVERED = {f'"{name}"' for name in COMPONENTS}  # as structured fields write strings
_COVERED_WITH_BODY = _COVERED | {f'"{DIGEST}"'}
_SIGNATURE_SIZE_MAX = 1000  # bytes of either header field; ours have 300


class Unsigned(ValueError):
    """There is no signature of this profile, or not a whole one."""


class Forged(ValueError):
    """A signature of this profile that does not fit the request."""


@dataclasses.dataclass
class Message:
    """A request as far as it is signed. `url` is absolute; names of `headers` are as on the wire,
    and each comes once."""

    method: str
    url: str
    headers: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Signed:
    """What a signature that fits says."""

    key: bytes
    created: int  # Unix seconds
    nonce: bytes
    digest: str | None  # Content-Digest as signed

    @property
    def mailbox(self) -> bytes:
        """The mailbox that this key owns."""
        return names.mailbox_of(self.key)

    def member(self, mailbox: bytes) -> bytes:
        """What this key is called in a mailbox."""
        return names.member_of(mailbox, self.key)


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """Return the 32 bytes of the public key that belongs to a private one."""
    return key.public_key().public_bytes_raw()


class _Private(HTTPSignatureKeyResolver):
    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    def resolve_private_key(self, key_id: str) -> Ed25519PrivateKey:
        return self._key


class _Public(HTTPSignatureKeyResolver):
    def resolve_public_key(self, key_id: str) -> Ed25519PublicKey:
        return Ed25519PublicKey.from_public_bytes(names.parse(key_id, names.KEY_SIZE))


class _Verifier(HTTPMessageVerifier):
    # How far clocks may differ is the server's to say, once the signature is known to fit.
    def validate_created_and_expires(self, sig_input: object, max_age: object = None) -> None:
        pass


_VERIFIER = _Verifier(signature_algorithm=algorithms.ED25519, key_resolver=_Public())


def sign(
    key: Ed25519PrivateKey,
    method: str,
    url: str,
    body: bytes | None = None,
    now: float | None = None,
) -> dict[str, str]:
    """Return the header fields that sign a request.

    `url` is absolute and as sent. `now`: Unix seconds, where the computer's clock is not to be
    trusted.
    """
    signer = HTTPMessageSigner(signature_algorithm=algorithms.ED25519, key_resolver=_Private(key))
    headers: dict[str, str] = {}
    created = None if now is None else datetime.datetime.fromtimestamp(now, datetime.UTC)
    signer.sign(
        Message(method, url, headers),
        key_id=public_bytes(key).hex(),
        created=created,
        nonce=os.urandom(names.NONCE_SIZE).hex(),
        label=_LABEL,
        tag=TAG,
        covered_component_ids=COMPONENTS,
        body=body,
    )
    return headers


def verify(method: str, url: str, headers: Iterable[tuple[str, str]]) -> Signed:
    """Return who signed a request, and when.

    Raises Unsigned if it has no signature of this profile, Forged if it has one that does not
    fit. Neither the time nor the nonce nor the body is looked at: see `Signed`, and `matches`.
    """
    fields: dict[str, str] = {}
    for name, value in headers:
        if name in ("signature", "signature-input", DIGEST):
            if name in fields or len(value) > _SIGNATURE_SIZE_MAX:
                raise Unsigned(f"more than one {name}, or one too long")
            fields[name] = value
    if "signature" not in fields or "signature-input" not in fields:
        raise Unsigned("no signature")
    try:
        (result,) = _VERIFIER.verify(Message(method, url, fields), max_age=None, expect_tag=TAG)
    except InvalidSignature as error:
        raise Forged(str(error)) from None
    except Exception as error:  # what the library makes of fields that no client would send
        raise Unsigned(str(error)) from None
    # Looked at here, since the library would parse all these names for every request.
    required = _COVERED_WITH_BODY if DIGEST in fields else _COVERED
    if not required <= result.covered_components.keys():
        raise Forged("not all is signed that has to be")
    said = result.parameters
    try:
        nonce = names.parse(str(said["nonce"]), names.NONCE_SIZE)
        created = int(said["created"])
    except (KeyError, ValueError):
        raise Unsigned("no created, or no nonce of 32 digits") from None
    key = names.parse(str(said["keyid"]), names.KEY_SIZE)
    return Signed(key, created, nonce, fields.get(DIGEST))


def matches(digest: str | None, body: bytes) -> bool:
    """Return whether a Content-Digest fits a body. An empty body needs none."""
    if digest is None:
        return not body
    try:
        ContentDigest.verify(digest, body)
    except InvalidSignature:
        return False
    return True


def content_digest(body: bytes) -> str:
    """Return the Content-Digest of a body."""
    return ContentDigest.create(body)


def sha256_of(digest: str | None) -> bytes | None:
    """Return the SHA-256 that a Content-Digest of the only form taken here says."""
    found = _SHA256.fullmatch(digest or "")
    try:
        value = base64.b64decode(found[1], validate=True) if found else b""
    except binascii.Error:
        return None
    return value if len(value) == 32 else None
