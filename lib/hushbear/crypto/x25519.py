"""X25519 (RFC 7748) on Python's integers: a Montgomery ladder.

Time and memory accesses vary with the secret. That is accepted because the toy uses each scalar
for one handshake and then forgets it, so nobody can gather measurements of one (design.md). Never
use this with a scalar that lives longer. One call makes some 1.5 MB of garbage a few dozen bytes
at a time, so the collector runs on the way: not for the audio path.
"""

KEY_SIZE = 32
BASE = b"\x09" + bytes(31)  # the base point's u

_P = (1 << 255) - 19
_MASK = (1 << 256) - 1
_A24 = const(121665)
_SLICE = const(8)  # bits of the scalar between two pauses


def _reduce(v):
    # 2^256 = 38 modulo p. Twice makes of |v| < 2^550 less than 2^256 + 2^50; much faster than %.
    v = (v >> 256) * 38 + (v & _MASK)
    return (v >> 256) * 38 + (v & _MASK)


def _inverse(v):
    # Euclid; the inverse of 0 comes out as 0.
    r, v = _P, v % _P
    s, t = 0, 1
    while v:
        q = r // v
        r, v = v, r - q * v
        s, t = t, s - q * t
    return s % _P


def ladder(k, u):
    """X25519 in slices: yield None every few milliseconds, and last the 32 bytes of the result.

    Raises ValueError when the result is all zeros, which only a hostile `u` makes it.
    """
    if len(k) != KEY_SIZE or len(u) != KEY_SIZE:
        raise ValueError("scalar and point are 32 bytes")
    k = int.from_bytes(k, "little") & ((1 << 254) - 8) | 1 << 254
    x1 = int.from_bytes(u, "little") & ((1 << 255) - 1)
    x2, z2, x3, z3 = 1, 0, x1, 1
    swapped = 0
    for i in range(254, -1, -1):
        bit = k >> i & 1
        if bit != swapped:
            x2, z2, x3, z3 = x3, z3, x2, z2
            swapped = bit
        a = x2 + z2
        b = x2 - z2
        da = _reduce((x3 - z3) * a)
        cb = _reduce((x3 + z3) * b)
        a = _reduce(a * a)
        b = _reduce(b * b)
        e = a - b
        x2 = _reduce(a * b)
        z2 = _reduce(e * (a + _A24 * e))
        a = da + cb
        b = da - cb
        x3 = _reduce(a * a)
        z3 = _reduce(x1 * _reduce(b * b))
        if not i % _SLICE:
            yield None
    # Clamping made the last bit 0, so nothing is left to swap back.
    x2 = x2 * _inverse(z2) % _P
    if not x2:
        raise ValueError("this point has small order")
    yield x2.to_bytes(KEY_SIZE, "little")


def x25519(k, u):
    """Return the 32 bytes of X25519(k, u); see `ladder` for a version in slices."""
    for result in ladder(k, u):
        pass
    return result


def public(k):
    """Return the public key of scalar k."""
    return x25519(k, BASE)
