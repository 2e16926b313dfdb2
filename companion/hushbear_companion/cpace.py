"""CPace, both parties: a key out of a short code (CPACE-X25519-SHA512, draft-irtf-cfrg-cpace-20).

Who guesses the code wrong gets another key and learns no more than that, so each guess takes a
run of the protocol with the other party. Nothing here confirms the key; what follows does.

X25519 is `cryptography`'s. The map to the curve is in Python's integers, in variable time: it
works on a code that is used up by the time anybody could have measured it.
"""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

SHARE_SIZE = 32
ISK_SIZE = 64

_P = 2**255 - 19
_A = 486662  # of Curve25519: v^2 = u^3 + A u^2 + u
_DSI = b"CPace255"
_BLOCK_SIZE = 128  # of SHA-512


def lv_cat(*parts: bytes) -> bytes:
    """Return the parts in a row, each after its length in LEB128 (appendix A.1)."""
    joined = b""
    for part in parts:
        n = len(part)
        while n > 0x7F:
            joined += bytes([n & 0x7F | 0x80])
            n >>= 7
        joined += bytes([n]) + part
    return joined


def generator_string(prs: bytes, ci: bytes, sid: bytes) -> bytes:
    """Return what is hashed to find the generator (section 7.1): the code fills the first block
    of the hash alone."""
    padding = max(0, _BLOCK_SIZE - 1 - len(lv_cat(_DSI, prs)))
    return lv_cat(_DSI, prs, bytes(padding), ci, sid)


def elligator2(r: bytes) -> bytes:
    """Map a field element to the u of a point, 32 bytes each, little-endian (appendix A.5; RFC
    9380, section 6.7.1, with Z = 2). The highest bit of `r` does not count."""
    square = (int.from_bytes(r, "little") % 2**255) ** 2
    u = -_A * pow(1 + 2 * square, -1, _P) % _P  # 2 is no square, so that is never 1 / 0
    if pow(u**3 + _A * u**2 + u, (_P - 1) // 2, _P) != 1:
        u = (-_A - u) % _P
    return u.to_bytes(32, "little")


def calculate_generator(prs: bytes, ci: bytes, sid: bytes) -> bytes:
    """Return the u of the generator that code, channel and session make (section 7.2)."""
    return elligator2(hashlib.sha512(generator_string(prs, ci, sid)).digest()[:32])


class _Party:
    """One run. `prs` is the code, `ci` names the protocol, `sid` is random for each run, `ad` goes
    with `share`; both parties have to know the same of all."""

    def __init__(self, prs: bytes, ci: bytes, sid: bytes, ad: bytes) -> None:
        self._sid = sid
        self._ad = ad
        self._scalar: X25519PrivateKey | None = X25519PrivateKey.generate()
        self.share = self._multiply(self._scalar, calculate_generator(prs, ci, sid))

    @staticmethod
    def _multiply(scalar: X25519PrivateKey, u: bytes) -> bytes:
        return scalar.exchange(X25519PublicKey.from_public_bytes(u))

    def _isk(self, share: bytes, transcript: bytes) -> bytes:
        scalar, self._scalar = self._scalar, None
        if scalar is None:
            raise ValueError("a run of CPace ends once")
        try:
            k = self._multiply(scalar, share)
        except ValueError:
            raise ValueError("the other side's share is not a valid point") from None
        return hashlib.sha512(lv_cat(_DSI + b"_ISK", self._sid, k) + transcript).digest()


class Initiator(_Party):
    """Party A: send `share`, then call `finish` with the answer."""

    def finish(self, share: bytes, ad_b: bytes) -> bytes:
        """Return the key that the responder's share and associated data make, 64 bytes.

        Once: the secret is gone afterwards. Raises ValueError when the share is not 32 bytes long
        or a point of small order, which only an attacker sends.
        """
        return self._isk(share, lv_cat(self.share, self._ad) + lv_cat(share, ad_b))


class Responder(_Party):
    """Party B, once the initiator has said `sid`: call `finish` with its share, send `share`."""

    def finish(self, share: bytes, ad_a: bytes) -> bytes:
        """Return the key, as Initiator.finish() does."""
        return self._isk(share, lv_cat(share, ad_a) + lv_cat(self.share, self._ad))
