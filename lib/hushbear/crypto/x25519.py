"""X25519 (RFC 7748): a Montgomery ladder on 20 limbs of 13 bits, in viper.

It takes the same steps whatever the scalar, but nobody has looked at what caches or multipliers
make of them. Use each scalar for one handshake and then forget it (design.md). Python's integers
would do, but leave 1.5 MB of garbage a call, and in a full heap collecting it takes ten times
longer than the arithmetic.
"""

from array import array

KEY_SIZE = 32
BASE = b"\x09" + bytes(31)  # the base point's u

_P = (1 << 255) - 19
_A24 = const(121665)
_LIMBS = const(20)
_BITS = const(13)
_MASK = const(0x1FFF)
_WRAP = const(608)  # 2^260 modulo p
_SLICE = const(8)  # bits of the scalar, or of an exponent, between two pauses


def element(value=b""):
    """Return an element of the field, of up to 32 bytes."""
    value = value + bytes(35 - len(value))
    limbs = array("i", bytes(4 * _LIMBS))
    for i in range(_LIMBS):
        at = _BITS * i
        three = value[at >> 3] | value[(at >> 3) + 1] << 8 | value[(at >> 3) + 2] << 16
        limbs[i] = three >> (at & 7) & _MASK
    return limbs


def work_space():
    """Return what `muladd` works in."""
    return array("i", bytes(2 * 4 * _LIMBS))


@micropython.viper
def muladd(w: ptr32, x: int, a: ptr32, b: ptr32, r: ptr32, factor: int):
    """Set r to a + factor * b, or to a * b where factor is 0; r may be a or b. w is work space.

    x does not count. A factor has up to 17 bits.
    """
    # Limbs come in and go out from -1 to 2^13 + 1, so that the 20 products of a column stay below
    # 2^31.
    if not factor:
        high = uint(w) + 4 * _LIMBS
        end = high + 4 * _LIMBS
        while uint(w) < end:
            w[0] = 0
            w[1] = 0
            w[2] = 0
            w[3] = 0
            w = ptr32(uint(w) + 16)
        w = ptr32(high - 4 * _LIMBS)
        while uint(w) < high:
            x = a[0]
            w[0] = x * b[0] + w[0]
            w[1] = x * b[1] + w[1]
            w[2] = x * b[2] + w[2]
            w[3] = x * b[3] + w[3]
            w[4] = x * b[4] + w[4]
            w[5] = x * b[5] + w[5]
            w[6] = x * b[6] + w[6]
            w[7] = x * b[7] + w[7]
            w[8] = x * b[8] + w[8]
            w[9] = x * b[9] + w[9]
            w[10] = x * b[10] + w[10]
            w[11] = x * b[11] + w[11]
            w[12] = x * b[12] + w[12]
            w[13] = x * b[13] + w[13]
            w[14] = x * b[14] + w[14]
            w[15] = x * b[15] + w[15]
            w[16] = x * b[16] + w[16]
            w[17] = x * b[17] + w[17]
            w[18] = x * b[18] + w[18]
            w[19] = x * b[19] + w[19]
            w = ptr32(uint(w) + 4)
            a = ptr32(uint(a) + 4)
        # The upper half becomes limbs, which count _WRAP times in the lower; the last one is what
        # remains.
        x = 0
        end -= 4
        while uint(w) < end:
            x += w[0]
            w[0] = x & _MASK
            x >>= _BITS
            w = ptr32(uint(w) + 4)
        w[0] = x
        b = ptr32(high)
        a = ptr32(high - 4 * _LIMBS)
        factor = _WRAP
    w = r
    x = 0
    end = uint(w) + 4 * _LIMBS
    while uint(w) < end:
        x += a[0] + factor * b[0]
        w[0] = x & _MASK
        x >>= _BITS
        w = ptr32(uint(w) + 4)
        a = ptr32(uint(a) + 4)
        b = ptr32(uint(b) + 4)
    x = r[0] + x * _WRAP
    r[0] = x & _MASK
    x = r[1] + (x >> _BITS)
    r[1] = x & _MASK
    r[2] = r[2] + (x >> _BITS)


def ladder(k, u):
    """X25519 in slices: yield None every few milliseconds, and last the 32 bytes of the result.

    Raises ValueError when the result is all zeros, which only a hostile `u` makes it.
    """
    if len(k) != KEY_SIZE or len(u) != KEY_SIZE:
        raise ValueError("scalar and point are 32 bytes")
    k = bytes((k[0] & 0xF8,)) + k[1:31] + bytes((k[31] & 0x7F | 0x40,))
    u = u[:31] + bytes((u[31] & 0x7F,))
    w = work_space()
    x1, x2, z2, x3, z3, a, t = [
        element(value) for value in (u, b"\x01", b"", u, b"\x01", b"", b"")
    ]
    field = muladd
    swapped = 0
    for i in range(254, -1, -1):
        bit = k[i >> 3] >> (i & 7) & 1
        if bit != swapped:
            x2, z2, x3, z3 = x3, z3, x2, z2
            swapped = bit
        # (x2 : z2) is doubled, (x3 : z3) becomes the sum of both. No call of Python: its frame
        # would be taken from the heap.
        field(w, 0, x2, z2, a, 1)
        field(w, 0, x2, z2, z2, -1)
        field(w, 0, x3, z3, t, 1)
        field(w, 0, x3, z3, z3, -1)
        field(w, 0, z3, a, z3, 0)
        field(w, 0, t, z2, t, 0)
        field(w, 0, z3, t, x3, 1)
        field(w, 0, x3, x3, x3, 0)
        field(w, 0, z3, t, z3, -1)
        field(w, 0, z3, z3, z3, 0)
        field(w, 0, z3, x1, z3, 0)
        field(w, 0, a, a, a, 0)
        field(w, 0, z2, z2, z2, 0)
        field(w, 0, a, z2, x2, 0)
        field(w, 0, a, z2, z2, -1)
        field(w, 0, a, z2, t, _A24)
        field(w, 0, z2, t, z2, 0)
        if not i % _SLICE:
            yield None
    # Clamping made the last bit 0, so nothing is left to swap back. 1 / z is z to the power of
    # p - 2, all of whose 255 bits are ones but two.
    t[:] = z2
    for i in range(253, -1, -1):
        field(w, 0, t, t, t, 0)
        if i != 4 and i != 2:
            field(w, 0, t, z2, t, 0)
        if not i % (4 * _SLICE):
            yield None
    field(w, 0, x2, t, x2, 0)
    result = sum(limb << _BITS * i for i, limb in enumerate(x2)) % _P
    if not result:
        raise ValueError("this point has small order")
    yield result.to_bytes(KEY_SIZE, "little")


def x25519(k, u):
    """Return the 32 bytes of X25519(k, u); see `ladder` for a version in slices."""
    for result in ladder(k, u):
        pass
    return result


def public(k):
    """Return the public key of scalar k."""
    return x25519(k, BASE)
