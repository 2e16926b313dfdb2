"""X25519 on the toy: RFC 7748's vectors, odd points, and `cryptography` on random ones."""

import json
import pathlib
import random
from typing import cast

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from host_tests.targets import DeviceError, Target

P = 2**255 - 19
CPACE = json.loads(
    (pathlib.Path(__file__).parent / "vectors" / "cpace-x25519-sha512.json").read_text()
)

MULTIPLY = """
    from hushbear.crypto.x25519 import x25519
    result([x25519(k, u) for k, u in cases])
"""


def exchange(k: bytes, u: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(k).exchange(X25519PublicKey.from_public_bytes(u))


def test_rfc_7748_vectors(target: Target) -> None:
    cases = [
        (
            "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
            "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
        ),
        (
            "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
            "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
        ),
    ]
    args = {"cases": [(bytes.fromhex(k), bytes.fromhex(u)) for k, u in cases]}
    assert target.run(MULTIPLY, args=args) == [
        bytes.fromhex("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"),
        bytes.fromhex("95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957"),
    ]


ITERATE = """
    from hushbear.crypto.x25519 import BASE, x25519
    k = u = BASE
    for _ in range(times):
        k, u = x25519(k, u), k
    result(k)
"""


def test_rfc_7748_once(target: Target) -> None:
    assert target.run(ITERATE, args={"times": 1}) == bytes.fromhex(
        "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079"
    )


@pytest.mark.targets("unix")
def test_rfc_7748_a_thousand_times(target: Target) -> None:
    assert target.run(ITERATE, args={"times": 1000}, timeout=120) == bytes.fromhex(
        "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"
    )


def test_random_scalars_and_points(target: Target) -> None:
    rng = random.Random(2)
    cases = [(rng.randbytes(32), rng.randbytes(32)) for _ in range(10)]
    assert target.run(MULTIPLY, args={"cases": cases}) == [exchange(k, u) for k, u in cases]


def test_points_at_the_edges(target: Target) -> None:
    points = [2, 3, P - 2, P + 2, P + 9, 2**255 - 1, 2**255 + 2, 2**255 + 9, 2**256 - 1]
    scalars = [bytes(32), b"\xff" * 32, b"\x07" + bytes(31), bytes(31) + b"\x80"]
    cases = [(scalars[i % len(scalars)], u.to_bytes(32, "little")) for i, u in enumerate(points)]
    assert target.run(MULTIPLY, args={"cases": cases}) == [exchange(k, u) for k, u in cases]


def test_public_key(target: Target) -> None:
    k = random.Random(3).randbytes(32)
    source = "from hushbear.crypto.x25519 import public\nresult(public(k))"
    expected = X25519PrivateKey.from_private_bytes(k).public_key().public_bytes_raw()
    assert target.run(source, args={"k": k}) == expected


def test_points_of_small_order_are_refused(target: Target) -> None:
    points = [bytes.fromhex(point) for point in CPACE["invalid_points"]]
    points += [P.to_bytes(32, "little"), (P + 1).to_bytes(32, "little")]
    points += [point[:31] + bytes([point[31] | 0x80]) for point in points]
    source = """
        from hushbear.crypto.x25519 import x25519
        refused = []
        for u in points:
            try:
                refused.append(x25519(k, u))
            except ValueError as error:
                refused.append(str(error))
        result(refused)
    """
    got = target.run(source, args={"k": random.Random(4).randbytes(32), "points": points})
    assert got == ["this point has small order"] * len(points)


@pytest.mark.parametrize(("k", "u"), [(31, 32), (33, 32), (32, 31), (32, 33), (32, 0)])
def test_wrong_sizes_are_refused(target: Target, k: int, u: int) -> None:
    source = "from hushbear.crypto.x25519 import x25519\nx25519(bytes(k), b'\\t' * u)"
    with pytest.raises(DeviceError, match="ValueError: scalar and point are 32 bytes"):
        target.run(source, args={"k": k, "u": u})


def test_the_field_is_right_at_the_limits_of_its_limbs(target: Target) -> None:
    random_ = random.Random(5)
    limits = (-1, 0, 1, 8191, 8192, 8193)

    def element() -> list[int]:
        if random_.random() < 0.3:
            return [random_.choice(limits)] * 20
        some = random_.choice((limits, range(8192)))
        return [random_.choice(some) for _ in range(20)]

    source = """
        from array import array
        from hushbear.crypto.x25519 import muladd, work_space
        w = work_space()
        results = []
        for a, b, factor in cases:
            r = array("i", a)
            muladd(w, 0, r, array("i", b), r, factor)
            results.append(list(r))
        result(results)
    """
    for _ in range(5):
        cases = [(element(), element(), random_.choice((0, 0, 1, -1, 121665))) for _ in range(60)]
        results = target.run(source, args={"cases": cases})
        for (a, b, factor), limbs in zip(cases, cast(list[list[int]], results), strict=True):
            wanted = value(a) + factor * value(b) if factor else value(a) * value(b)
            assert (value(limbs) - wanted) % P == 0
            assert min(limbs) >= -1 and max(limbs) <= 8193


def value(limbs: list[int]) -> int:
    return sum(limb << 13 * i for i, limb in enumerate(limbs))


def test_the_work_can_be_sliced(target: Target) -> None:
    source = """
        from hushbear.crypto.x25519 import BASE, ladder, x25519
        *pauses, last = ladder(k, BASE)
        result((len(pauses), set(pauses) == {None}, last == x25519(k, BASE)))
    """
    assert target.run(source, args={"k": bytes(range(32))}) == (40, True, True)
