"""AES-256-GCM on the toy: vectors, every length against `cryptography`, tampering, bounds."""

import random

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from host_tests.targets import DeviceError, Target

KEY = random.Random(5).randbytes(32)
NONCE = random.Random(6).randbytes(12)

SEAL = """
    from hushbear.crypto.gcm import AESGCM
    sealed = []
    for key, nonce, plaintext, aad in cases:
        n = len(plaintext)
        buffer = bytearray(plaintext + bytes(16))
        AESGCM(key).seal(nonce, buffer, 0, n, aad)
        sealed.append(bytes(buffer))
        assert AESGCM(key).open(nonce, buffer, 0, n + 16, aad)
        assert buffer[:n] == plaintext
    result(sealed)
"""


def test_vectors_of_the_standard(target: Target) -> None:
    # McGrew and Viega, The Galois/Counter Mode of Operation, test cases 13, 14 and 16.
    key = bytes.fromhex("feffe9928665731c6d6a8f9467308308" * 2)
    cases = [
        (bytes(32), bytes(12), b"", b""),
        (bytes(32), bytes(12), bytes(16), b""),
        (
            key,
            bytes.fromhex("cafebabefacedbaddecaf888"),
            bytes.fromhex(
                "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
                "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
            ),
            bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2"),
        ),
    ]
    assert target.run(SEAL, args={"cases": cases}) == [
        bytes.fromhex("530f8afbc74536b9a963b4f1c4cb738b"),
        bytes.fromhex("cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"),
        bytes.fromhex(
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
            "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
            "76fc6ece0f4e1768cddf8853bb2d551b"
        ),
    ]


def test_every_length_up_to_1100(target: Target) -> None:
    # The tag covers the whole ciphertext, so comparing tags compares both.
    data = random.Random(7).randbytes(1100)
    source = """
        from hushbear.crypto.gcm import AESGCM
        cipher = AESGCM(key)
        view = memoryview(data)
        buffer = bytearray(len(data) + 16)
        tags = bytearray()
        for n in range(len(data) + 1):
            aad = view[: n % 67]
            buffer[:n] = view[:n]
            cipher.seal(nonce, buffer, 0, n, aad)
            tags += buffer[n : n + 16]
            assert cipher.open(nonce, buffer, 0, n + 16, aad)
            assert buffer[:n] == view[:n]
        result(tags)
    """
    cipher = AESGCM(KEY)
    expected = b"".join(
        cipher.encrypt(NONCE, data[:n], data[: n % 67])[-16:] for n in range(len(data) + 1)
    )
    got = target.run(source, args={"key": KEY, "nonce": NONCE, "data": data}, timeout=120)
    assert isinstance(got, bytes)
    wrong = [n for n in range(len(data) + 1) if got[16 * n :][:16] != expected[16 * n :][:16]]
    assert not wrong


def test_random_keys_nonces_and_lengths(target: Target) -> None:
    rng = random.Random(8)
    cases = [
        (rng.randbytes(32), rng.randbytes(12), rng.randbytes(n), rng.randbytes(rng.randrange(80)))
        for n in [rng.randrange(120) for _ in range(20)]
    ]
    # The first bytes of a hash key decide how its products reduce.
    cases += [(bytes([i]) * 32, bytes([255 - i]) * 12, b"\xff" * 33, b"\xff") for i in range(12)]
    cases.append((KEY, b"\xff" * 12, bytes(64), b""))
    expected = [AESGCM(key).encrypt(nonce, p, aad) for key, nonce, p, aad in cases]
    assert target.run(SEAL, args={"cases": cases}) == expected


def test_block_counter_carries(target: Target) -> None:
    # Blocks 256 and 512 of the counter; a 96-bit nonce starts it at 1, so it never wraps.
    data = random.Random(9).randbytes(9000)
    source = """
        from hushbear.crypto.gcm import AESGCM
        buffer = bytearray(data + bytes(16))
        AESGCM(key).seal(nonce, buffer, 0, len(data), data)
        result(buffer)
    """
    expected = AESGCM(KEY).encrypt(NONCE, data, data)
    assert target.run(source, args={"key": KEY, "nonce": NONCE, "data": data}) == expected


def test_only_its_part_of_the_buffer_is_touched(target: Target) -> None:
    source = """
        from hushbear.crypto.gcm import AESGCM
        cipher = AESGCM(key)
        good = []
        for offset in range(8):
            for n in (0, 1, 15, 16, 17, 40):
                buffer = bytearray(b"\\xaa" * (offset + n + 16 + 5))
                view = memoryview(buffer)
                cipher.seal(nonce, view, offset, n)
                other = bytearray(b"\\xaa" * n + bytes(16))
                cipher.seal(nonce, other, 0, n)
                good.append(buffer == b"\\xaa" * offset + other + b"\\xaa" * 5)
                good.append(cipher.open(nonce, view, offset, n + 16))
                good.append(buffer[: offset + n] == b"\\xaa" * (offset + n))
                good.append(buffer[offset + n + 16 :] == b"\\xaa" * 5)
        result(all(good))
    """
    assert target.run(source, args={"key": KEY, "nonce": NONCE}) is True


def test_every_altered_bit_is_refused_and_nothing_is_decrypted(target: Target) -> None:
    plaintext, aad = b"Good night, sleep tight", b"additional"
    sealed = AESGCM(KEY).encrypt(NONCE, plaintext, aad)
    source = """
        from hushbear.crypto.gcm import AESGCM
        cipher = AESGCM(key)
        accepted, changed = [], []
        for part in range(3):
            for bit in range(8 * len((sealed, aad, nonce)[part])):
                parts = bytearray(sealed), bytearray(aad), bytearray(nonce)
                parts[part][bit >> 3] ^= 1 << (bit & 7)
                before = bytes(parts[0])
                if cipher.open(parts[2], parts[0], 0, len(sealed), parts[1]):
                    accepted.append((part, bit))
                if parts[0] != before:
                    changed.append((part, bit))
        result((accepted, changed, cipher.open(nonce, bytearray(sealed), 0, len(sealed), aad)))
    """
    args = {"key": KEY, "nonce": NONCE, "sealed": sealed, "aad": aad}
    assert target.run(source, args=args) == ([], [], True)


def test_what_is_cut_or_extended_is_refused(target: Target) -> None:
    sealed = AESGCM(KEY).encrypt(NONCE, b"Good night, sleep tight", b"")
    source = """
        from hushbear.crypto.gcm import AESGCM
        cipher = AESGCM(key)
        buffer = bytearray(sealed + bytes(20))
        result([n for n in range(len(buffer) + 1) if cipher.open(nonce, buffer, 0, n)])
    """
    args = {"key": KEY, "nonce": NONCE, "sealed": sealed}
    assert target.run(source, args=args) == [len(sealed)]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("seal(nonce, bytearray(31), 0, 16)", "ValueError: outside the buffer"),
        ("seal(nonce, bytearray(32), 1, 16)", "ValueError: outside the buffer"),
        ("seal(nonce, bytearray(32), 1 << 40, 16)", "ValueError: outside the buffer"),
        ("seal(nonce, bytearray(32), -1, 16)", "ValueError: outside the buffer"),
        ("seal(nonce, bytearray(32), 0, -1)", "ValueError: outside the buffer"),
        ("seal(nonce, bytearray(32), 0, 65536)", "ValueError: outside the buffer"),
        ("seal(nonce, bytearray(0), 0, 0)", "ValueError: outside the buffer"),
        ("open(nonce, bytearray(32), 0, 33)", "ValueError: outside the buffer"),
        ("open(nonce, bytearray(32), 33, 0)", "ValueError: outside the buffer"),
        ("open(nonce, bytearray(32), -16, 32)", "ValueError: outside the buffer"),
        ("seal(bytes(11), bytearray(32), 0, 16)", "ValueError: the nonce is 12 bytes"),
        ("seal(bytes(16), bytearray(32), 0, 16)", "ValueError: the nonce is 12 bytes"),
        ("seal(nonce, bytes(32), 0, 16)", "TypeError"),
        ("open(nonce, bytes(32), 0, 32)", "TypeError"),
    ],
)
def test_what_does_not_fit_is_refused(target: Target, call: str, error: str) -> None:
    source = f"from hushbear.crypto.gcm import AESGCM\nnonce = bytes(12)\nAESGCM(key).{call}"
    with pytest.raises(DeviceError, match=error):
        target.run(source, args={"key": KEY})


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_only_256_bit_keys(target: Target, size: int) -> None:
    source = "from hushbear.crypto.gcm import AESGCM\nAESGCM(bytes(size))"
    with pytest.raises(DeviceError, match="ValueError: the key is 32 bytes"):
        target.run(source, args={"size": size})


def test_sealing_and_opening_allocate_nothing(target: Target) -> None:
    source = """
        import micropython
        from hushbear.crypto.gcm import AESGCM

        cipher = AESGCM(key)
        buffer = bytearray(1100)

        def run():
            micropython.heap_lock()
            try:
                for n in (0, 1, 16, 255, 256, 257, 1030, 1084):
                    cipher.seal(nonce, buffer, 0, n, b"aad")
                    if not cipher.open(nonce, buffer, 0, n + 16, b"aad"):
                        return False
                    buffer[n] ^= 1
                    if cipher.open(nonce, buffer, 0, n + 16, b"aad"):
                        return False
            finally:
                micropython.heap_unlock()
            return True

        result(run())
    """
    assert target.run(source, args={"key": KEY, "nonce": NONCE}) is True
