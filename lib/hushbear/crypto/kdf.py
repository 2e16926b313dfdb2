"""HMAC-SHA256 (RFC 2104) and HKDF-SHA256 (RFC 5869).

Official firmware has SHA-256 but no hmac.
"""

from hashlib import sha256

HASH_SIZE = 32
_BLOCK_SIZE = const(64)
_INNER = int.from_bytes(b"\x36" * _BLOCK_SIZE, "big")
_OUTER = int.from_bytes(b"\x5c" * _BLOCK_SIZE, "big")


def hmac_sha256(key, data):
    """Return the 32 bytes of HMAC-SHA256. The key may have any length."""
    if len(key) > _BLOCK_SIZE:
        key = sha256(key).digest()
    pad = int.from_bytes(key, "big") << 8 * (_BLOCK_SIZE - len(key))
    inner = sha256((pad ^ _INNER).to_bytes(_BLOCK_SIZE, "big"))
    inner.update(data)
    outer = sha256((pad ^ _OUTER).to_bytes(_BLOCK_SIZE, "big"))
    outer.update(inner.digest())
    return outer.digest()


def extract(salt, ikm):
    """Return the pseudorandom key of HKDF-Extract, 32 bytes."""
    return hmac_sha256(salt, ikm)


def expand(prk, info, size):
    """Return `size` bytes of HKDF-Expand, at most 255 * 32."""
    if not 0 <= size <= 255 * HASH_SIZE:
        raise ValueError("HKDF gives 0 to 8160 bytes")
    output = block = b""
    for counter in range(1, (size + HASH_SIZE - 1) // HASH_SIZE + 1):
        block = hmac_sha256(prk, block + info + bytes((counter,)))
        output += block
    return output[:size]
