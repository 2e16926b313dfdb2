"""Noise_NNpsk0_25519_AESGCM_SHA256, the initiator (The Noise Protocol Framework, revision 34).

The primitives are `cryptography`'s; this is only the order in which they are called.
"""

from __future__ import annotations

import hashlib
import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_SIZE = 32
TAG_SIZE = 16
RECORDS_MAX = 1 << 32  # one way, as on the toy

_NAME = b"Noise_NNpsk0_25519_AESGCM_SHA256"  # 32 bytes: the first hash and chaining key as it is


class NoiseError(Exception):
    """What came does not belong to this handshake or session, or it came out of order."""


def _hkdf(chaining_key: bytes, ikm: bytes, n: int) -> tuple[bytes, ...]:
    prk = hmac.digest(chaining_key, ikm, "sha256")
    outputs: list[bytes] = [b""]
    for i in range(1, n + 1):
        outputs.append(hmac.digest(prk, outputs[-1] + bytes([i]), "sha256"))
    return tuple(outputs[1:])


class CipherState:
    """Seals or opens the records of one direction, in order."""

    def __init__(self, key: bytes) -> None:
        self._aead: AESGCM | None = AESGCM(key)
        self.count = 0

    def _nonce(self) -> bytes:
        return bytes(4) + self.count.to_bytes(8, "big")

    def seal(self, plaintext: bytes) -> bytes:
        """Return the record that holds `plaintext`."""
        if self._aead is None or self.count >= RECORDS_MAX:
            raise NoiseError("too many records under one key")
        record = self._aead.encrypt(self._nonce(), plaintext, None)
        self.count += 1
        return record

    def open(self, record: bytes) -> bytes:
        """Return what `record` holds.

        Raises NoiseError when it was altered, cut, replayed or came out of order. The key is gone
        then, and every later call raises too: close the session.
        """
        if self._aead is None or self.count >= RECORDS_MAX:
            raise NoiseError("the session is over")
        try:
            plaintext = self._aead.decrypt(self._nonce(), record, None)
        except InvalidTag:
            self._aead = None
            raise NoiseError("a record does not open") from None
        self.count += 1
        return plaintext


class Initiator:
    """One handshake as the initiator: write_1, read_2, split, in this order."""

    def __init__(self, psk: bytes, prologue: bytes) -> None:
        if len(psk) != KEY_SIZE:
            raise ValueError("the key is 32 bytes")
        self._chaining_key = _NAME
        self._hash = hashlib.sha256(_NAME + prologue).digest()
        self._chaining_key, psk_hash, _ = _hkdf(self._chaining_key, psk, 3)
        self._mix_hash(psk_hash)
        self._key = b""
        self._ephemeral: X25519PrivateKey | None = None
        self.handshake_hash: bytes | None = None  # of both messages, once the second was read

    def _mix_hash(self, data: bytes) -> None:
        self._hash = hashlib.sha256(self._hash + data).digest()

    def _mix_key(self, data: bytes) -> None:
        self._chaining_key, self._key = _hkdf(self._chaining_key, data, 2)

    def write_1(self, payload: bytes = b"") -> bytes:
        """Return the first message. Hushbear's handshake messages carry no payload."""
        if self._key:
            raise NoiseError("a handshake begins once")
        self._ephemeral = X25519PrivateKey.generate()
        public = self._ephemeral.public_key().public_bytes_raw()
        self._mix_hash(public)
        self._mix_key(public)
        sealed = AESGCM(self._key).encrypt(bytes(12), payload, self._hash)
        self._mix_hash(sealed)
        return public + sealed

    def read_2(self, message: bytes) -> bytes:
        """Read the second message and return its payload; NoiseError when it is not genuine."""
        ephemeral, self._ephemeral = self._ephemeral, None
        if ephemeral is None:
            raise NoiseError("no first message is waiting for its answer")
        if len(message) < KEY_SIZE + TAG_SIZE:
            raise NoiseError("the toy's handshake message is cut short")
        public, sealed = message[:KEY_SIZE], message[KEY_SIZE:]
        self._mix_hash(public)
        self._mix_key(public)
        try:
            self._mix_key(ephemeral.exchange(X25519PublicKey.from_public_bytes(public)))
            payload = AESGCM(self._key).decrypt(bytes(12), sealed, self._hash)
        except (InvalidTag, ValueError):  # ValueError: a point of small order
            raise NoiseError("the toy's handshake message is not genuine") from None
        self._mix_hash(sealed)
        self.handshake_hash = self._hash
        return payload

    def split(self) -> tuple[CipherState, CipherState]:
        """Return the CipherStates (tx, rx), once; the handshake's secrets are gone then."""
        if self.handshake_hash is None or not self._key:
            raise NoiseError("the handshake is not finished")
        tx, rx = _hkdf(self._chaining_key, b"", 2)
        self._chaining_key = self._key = b""
        return CipherState(tx), CipherState(rx)
