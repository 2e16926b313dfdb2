"""Noise_NNpsk0_25519_AESGCM_SHA256, the responder (The Noise Protocol Framework, revision 34).

    -> psk, e      32 bytes of public key, 16 of tag
    <- e, ee       the same

Then both sides seal records, each direction under its own key and count. A record that does not
open ends its direction for good: the caller closes the session. Secrets are dropped as soon as
they have been used. A running session needs cipher_state.py only.
"""

from hashlib import sha256
from os import urandom

from . import x25519
from .cipher_state import CipherState, NoiseError
from .gcm import AESGCM, NONCE_SIZE, TAG_SIZE
from .kdf import HASH_SIZE, expand, extract

PSK_SIZE = 32

_NAME = b"Noise_NNpsk0_25519_AESGCM_SHA256"  # 32 bytes: the first hash and chaining key as it is
_NONCE = bytes(NONCE_SIZE)  # a handshake uses each of its keys once


def hkdf(chaining_key, ikm, n):
    """Return the n outputs of Noise's HKDF (revision 34, section 4.3), 32 bytes each."""
    output = expand(extract(chaining_key, ikm), b"", n * HASH_SIZE)
    return tuple([output[i : i + HASH_SIZE] for i in range(0, n * HASH_SIZE, HASH_SIZE)])


class Responder:
    """One handshake as the responder: read_1, write_2, split, in this order.

    Hushbear's handshake messages carry no payload. `payload_size` is how many bytes of payload the
    first one must have; they are then in `payload`.
    """

    def __init__(self, prologue, payload_size=0):
        self._prologue_hash = sha256(_NAME + prologue).digest()
        self._size_1 = x25519.KEY_SIZE + payload_size + TAG_SIZE
        self.payload = b""
        self.handshake_hash = None  # of both messages, once the second is written
        self._forget()

    def _forget(self):
        self._hash = self._prologue_hash
        self._chaining_key = _NAME
        self._key = None
        self._remote = None  # the initiator's public key
        self._public = None
        self._shared = None

    def _mix_hash(self, data):
        self._hash = sha256(self._hash + data).digest()

    def _mix_key(self, data):
        self._chaining_key, self._key = hkdf(self._chaining_key, data, 2)

    def read_1(self, psk, message):
        """Return whether `message` is the first of an initiator who has `psk`.

        Takes no X25519, and starts from a clean state, so several keys can be tried in a row.
        """
        if len(psk) != PSK_SIZE:
            raise ValueError("the key is 32 bytes")
        self._forget()
        self.handshake_hash = None
        if len(message) != self._size_1:
            return False
        remote = bytes(message[: x25519.KEY_SIZE])
        sealed = bytearray(message[x25519.KEY_SIZE :])
        self._chaining_key, psk_hash, _ = hkdf(self._chaining_key, psk, 3)
        self._mix_hash(psk_hash)
        self._mix_hash(remote)
        self._mix_key(remote)
        ciphertext = bytes(sealed)
        if not AESGCM(self._key).open(_NONCE, sealed, 0, len(sealed), self._hash):
            self._forget()
            return False
        self._mix_hash(ciphertext)
        self._remote = remote
        self.payload = bytes(sealed[:-TAG_SIZE])
        return True

    def steps(self):
        """Do the X25519 work of write_2 in slices: a generator that yields every few milliseconds.

        Without it `write_2` does the work at once.
        """
        if self._remote is None:
            raise NoiseError("no first message was accepted")
        scalar = urandom(x25519.KEY_SIZE)
        try:
            for public in x25519.ladder(scalar, x25519.BASE):
                yield
            for shared in x25519.ladder(scalar, self._remote):
                yield
        except ValueError:
            self._forget()
            raise NoiseError("the initiator's public key has small order")
        self._public = public
        self._shared = shared

    def write_2(self, payload=b""):
        """Return the second message.

        Raises NoiseError when the initiator, who does have the key, sent a point of small order.
        """
        if self._shared is None:
            for _ in self.steps():
                pass
        self._mix_hash(self._public)
        self._mix_key(self._public)
        self._mix_key(self._shared)
        n = len(payload)
        sealed = bytearray(n + TAG_SIZE)
        sealed[:n] = payload
        AESGCM(self._key).seal(_NONCE, sealed, 0, n, self._hash)
        self._mix_hash(sealed)
        self.handshake_hash = self._hash
        message = self._public + sealed
        self._remote = self._public = self._shared = None
        return message

    def split(self):
        """Return the CipherStates (rx, tx), once; the handshake's secrets are gone then."""
        if self.handshake_hash is None or self._key is None:
            raise NoiseError("the handshake is not finished")
        rx, tx = hkdf(self._chaining_key, b"", 2)
        self._forget()
        return CipherState(rx), CipherState(tx)
