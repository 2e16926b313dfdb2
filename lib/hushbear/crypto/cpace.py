"""CPace, the responder: a key out of a short code (CPACE-X25519-SHA512, draft-irtf-cfrg-cpace-20).

    -> Ya      32 bytes, with sid and ADa
    <- Yb      32 bytes, with ADb

Who guesses the code wrong gets another key and learns no more than that, so each guess takes a
run of the protocol with the toy. Nothing here confirms the key: the session that follows does.

The field is x25519's, with the same steps whatever the secret is, but for the last subtraction of
the map, which is in Python's integers.
"""

from os import urandom

from . import x25519
from .sha512 import BLOCK_SIZE, sha512
from .x25519 import element, muladd, work_space

SHARE_SIZE = 32
ISK_SIZE = 64

_P = (1 << 255) - 19
_A = 486662  # of Curve25519: v^2 = u^3 + A u^2 + u
_DSI = b"CPace255"
_SLICE = const(32)  # bits of an exponent between two pauses


def lv_cat(*parts):
    """Return the parts in a row, each after its length in LEB128 (appendix A.1)."""
    joined = b""
    for part in parts:
        n = len(part)
        while n > 0x7F:
            joined += bytes((n & 0x7F | 0x80,))
            n >>= 7
        joined += bytes((n,)) + part
    return joined


def generator_string(prs, ci, sid):
    """Return what is hashed to find the generator (section 7.1, appendix A.2): zeros fill the
    hash's first block up, so that the code has it for itself."""
    padding = max(0, BLOCK_SIZE - 1 - len(lv_cat(_DSI, prs)))
    return lv_cat(_DSI, prs, bytes(padding), ci, sid)


def _integer(a):
    return sum(limb << 13 * i for i, limb in enumerate(a)) % _P


def _power(w, a, bits, zeros):
    # In slices a to the power of an exponent of so many bits, all of them ones but `zeros`.
    t = element()
    t[:] = a
    for i in range(bits - 2, -1, -1):
        muladd(w, 0, t, t, t, 0)
        if i not in zeros:
            muladd(w, 0, t, a, t, 0)
        if not i % _SLICE:
            yield None
    yield t


def elligator2(r):
    """Map a field element to the u of a point in slices, 32 bytes each, little-endian (appendix
    A.5; RFC 9380, section 6.7.1, with Z = 2): yield None every few milliseconds, and u last.

    The highest bit of `r` does not count.
    """
    # With d = 1 + 2 r^2 and v = -A / d, u is v where v^3 + A v^2 + v is a square, or else -A - v.
    # That sum is -A n d / d^4 with n = d^2 - 2 (A r)^2, and -1 is a square: so is it if A n d is.
    # 2 is none, so d is never 0.
    w = work_space()
    a = element(_A.to_bytes(3, "little"))
    d = element(r[:31] + bytes((r[31] & 0x7F,)))
    n = element()
    muladd(w, 0, d, a, n, 0)
    muladd(w, 0, n, n, n, 0)
    muladd(w, 0, d, d, d, 0)
    muladd(w, 0, element(b"\x01"), d, d, 2)
    t = element()
    muladd(w, 0, d, d, t, 0)
    muladd(w, 0, t, n, n, -2)
    muladd(w, 0, n, d, n, 0)
    muladd(w, 0, n, a, n, 0)
    for symbol in _power(w, n, 254, (0, 3)):  # (p - 1) / 2: Legendre's symbol
        yield None
    for t in _power(w, d, 255, (2, 4)):  # p - 2: the inverse
        yield None
    muladd(w, 0, t, a, t, 0)
    minus_v = _integer(t)
    u = (-minus_v if _integer(symbol) == 1 else minus_v - _A) % _P
    yield u.to_bytes(32, "little")


class Responder:
    """One run as the responder, party B (section 6.2): `steps`, and then `answer`.

    `prs` is the code, `ci` names the protocol, `sid` is random for each run, `ad_a` and `ad_b` are
    what goes with the two shares: all as bytes. The initiator has to know the same five.
    `isk` is the key, 64 bytes, once the work is done; derive other keys from it.
    """

    def __init__(self, prs, ci, sid, ad_a, ad_b):
        self._generator_string = generator_string(prs, ci, sid)
        self._sid = sid
        self._ad_a = ad_a
        self._ad_b = ad_b
        self._ya = None
        self._yb = None
        self.isk = None

    def steps(self, ya):
        """Do the work of `answer` in slices: a generator that yields every few milliseconds.

        Raises ValueError when the initiator's share is not 32 bytes long or a point of small
        order, which only an attacker sends, and when there was another one before.
        """
        if self._ya is not None:
            raise ValueError("a run of CPace has one answer")
        self._ya = ya = bytes(ya)
        scalar = urandom(x25519.KEY_SIZE)
        for k in x25519.ladder(scalar, ya):
            yield
        digest = sha512(self._generator_string).digest()
        self._generator_string = None
        yield
        for generator in elligator2(digest[:32]):
            yield
        for yb in x25519.ladder(scalar, generator):
            yield
        transcript = lv_cat(ya, self._ad_a) + lv_cat(yb, self._ad_b)
        self.isk = sha512(lv_cat(_DSI + b"_ISK", self._sid, k) + transcript).digest()
        self._yb = yb

    def answer(self, ya):
        """Return the 32 bytes of the responder's share; without `steps`, do all the work first.

        Raises ValueError as `steps` does.
        """
        if self._ya is None:
            for _ in self.steps(ya):
                pass
        if self._yb is None or self._ya != bytes(ya):
            raise ValueError("a run of CPace has one answer")
        return self._yb
