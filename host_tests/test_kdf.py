"""HMAC and HKDF on the toy: the RFCs' examples, and Python's hmac and `cryptography` on others."""

import hmac
import random

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from host_tests.targets import DeviceError, Target


def test_hmac_of_any_key_and_data(target: Target) -> None:
    rng = random.Random(1)
    sizes = [(k, d) for k in (0, 1, 31, 32, 63, 64, 65, 200) for d in (0, 1, 63, 64, 300)]
    cases = [(rng.randbytes(k), rng.randbytes(d)) for k, d in sizes]
    source = """
        from hushbear.crypto.kdf import hmac_sha256
        result([hmac_sha256(key, data) for key, data in cases])
    """
    expected = [hmac.digest(key, data, "sha256") for key, data in cases]
    assert target.run(source, args={"cases": cases}) == expected


@pytest.mark.parametrize(
    ("ikm", "salt", "info", "prk", "okm"),
    [  # RFC 5869, appendices A.1 and A.3
        (
            b"\x0b" * 22,
            bytes(range(13)),
            bytes(range(0xF0, 0xFA)),
            "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        (
            b"\x0b" * 22,
            b"",
            b"",
            "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        ),
    ],
    ids=["A.1", "A.3"],
)
def test_hkdf_examples(
    target: Target, ikm: bytes, salt: bytes, info: bytes, prk: str, okm: str
) -> None:
    source = """
        from hushbear.crypto import kdf
        prk = kdf.extract(salt, ikm)
        result((prk, kdf.expand(prk, info, 42)))
    """
    got = target.run(source, args={"ikm": ikm, "salt": salt, "info": info})
    assert got == (bytes.fromhex(prk), bytes.fromhex(okm))


def test_hkdf_of_any_size(target: Target) -> None:
    sizes = [0, 1, 31, 32, 33, 64, 65, 1000, 8160]
    prk = bytes(range(32))
    source = """
        from hushbear.crypto.kdf import expand
        result([expand(prk, b"info", size) for size in sizes])
    """
    expected = [HKDFExpand(SHA256(), size, b"info").derive(prk) if size else b"" for size in sizes]
    assert target.run(source, args={"prk": prk, "sizes": sizes}) == expected


@pytest.mark.parametrize("size", [-1, 8161])
def test_hkdf_refuses_impossible_sizes(target: Target, size: int) -> None:
    source = "from hushbear.crypto.kdf import expand\nexpand(bytes(32), b'', size)"
    with pytest.raises(DeviceError, match="ValueError"):
        target.run(source, args={"size": size})


def test_the_outputs_of_noise_hkdf(target: Target) -> None:
    key, ikm = bytes(range(32)), b"input"
    source = """
        from hushbear.crypto.noise import hkdf
        result((hkdf(key, ikm, 2), hkdf(key, ikm, 3), hkdf(key, b"", 2)))
    """

    def outputs(ikm: bytes, n: int) -> tuple[bytes, ...]:
        derived = HKDF(SHA256(), 32 * n, salt=key, info=b"").derive(ikm)
        return tuple(derived[i : i + 32] for i in range(0, 32 * n, 32))

    expected = (outputs(ikm, 2), outputs(ikm, 3), outputs(b"", 2))
    assert target.run(source, args={"key": key, "ikm": ikm}) == expected
