"""SHA-512 on the toy: the standard's examples, and hashlib on every length."""

import hashlib
import random

import pytest

from host_tests.targets import Target

DIGEST = """
    from hushbear.crypto.sha512 import sha512
    result([sha512(data).digest() for data in cases])
"""


def test_examples_of_the_standard(target: Target) -> None:
    cases = [
        b"abc",
        b"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
        b"hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
    ]
    assert target.run(DIGEST, args={"cases": cases}) == [
        bytes.fromhex(
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
            "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
        ),
        bytes.fromhex(
            "8e959b75dae313da8cf4f72814fc143f8f7779c6eb9f7fa17299aeadb6889018"
            "501d289e4900f7e4331b99dec4b5433ac7d329eeb6dd26545e96e55b874be909"
        ),
    ]


@pytest.mark.parametrize("first", [0, 128, 256])
def test_every_length_up_to_384(target: Target, first: int) -> None:
    data = random.Random(11).randbytes(384)
    lengths = range(first, first + 129)
    source = """
        from hushbear.crypto.sha512 import sha512
        result([sha512(data[:n]).digest()[:8] for n in lengths])
    """
    got = target.run(source, args={"data": data, "lengths": list(lengths)})
    assert got == [hashlib.sha512(data[:n]).digest()[:8] for n in lengths]


def test_random_data_in_random_pieces(target: Target) -> None:
    rng = random.Random(12)
    source = """
        from hushbear.crypto.sha512 import sha512
        digests = []
        for pieces in cases:
            hash = sha512(pieces[0])
            for piece in pieces[1:]:
                hash.update(memoryview(piece))
                digests.append(hash.digest())
        result(digests)
    """
    cases, expected = [], []
    for _ in range(20):
        sizes = [rng.choice((0, 1, 127, 128, 129, rng.randrange(300))) for _ in range(5)]
        pieces = [rng.randbytes(size) for size in sizes]
        cases.append(pieces)
        expected += [hashlib.sha512(b"".join(pieces[:n])).digest() for n in range(2, 6)]
    assert target.run(source, args={"cases": cases}) == expected


def test_data_that_make_sums_carry(target: Target) -> None:
    rng = random.Random(13)
    words = [bytes(8), b"\xff" * 8, b"\0\0\0\0\xff\xff\xff\xff", b"\x7f" + b"\xff" * 7]
    words += [b"\x80" + bytes(7), b"\0\0\xff\xff\0\0\xff\xff", b"\xff\xff\0\0\xff\xff\0\0"]
    cases = [word * 16 for word in words]
    cases += [b"".join(rng.choice(words) for _ in range(32)) for _ in range(40)]
    expected = [hashlib.sha512(data).digest() for data in cases]
    assert target.run(DIGEST, args={"cases": cases}) == expected


@pytest.mark.targets("unix")
def test_a_long_message(target: Target) -> None:
    source = """
        from hushbear.crypto.sha512 import sha512
        hash = sha512()
        for _ in range(100):
            hash.update(data)
        result(hash.digest())
    """
    data = random.Random(14).randbytes(10_000)
    got = target.run(source, args={"data": data})
    assert got == hashlib.sha512(data * 100).digest()
