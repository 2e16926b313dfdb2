"""CPace: toy and phone, published vectors, and one against the other."""

from __future__ import annotations

import hashlib
import json
import pathlib
import random
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from host_tests.targets import DeviceError, Target
from hushbear_companion import cpace
from hushbear_companion.cpace import Initiator

P = 2**255 - 19
VECTORS = pathlib.Path(__file__).parent / "vectors"
INPUTS = ("PRS", "CI", "sid", "ADa", "ADb")


def load(name: str) -> dict[str, Any]:
    return cast(dict[str, Any], json.loads((VECTORS / name).read_text()))


# Of a draft before revision 20, and of that revision: other inputs, the same construction
FILES = ("cpace-x25519-sha512.json", "cpace-x25519-sha512-20.json")
RUNS = [
    {key: bytes.fromhex(text) for key, text in load(name).items() if key in (*INPUTS, *outputs)}
    for outputs in [("generator_string", "g", "ya", "Ya", "yb", "Yb", "K", "ISK_IR")]
    for name in FILES
]
POINTS = load(FILES[1])["points"]
SCALAR = bytes.fromhex(POINTS["s"])
U_AND_Q = [(bytes.fromhex(u), bytes.fromhex(q)) for u, q in POINTS["u_and_q"]]
SMALL_ORDER = [u for u, q in U_AND_Q if not any(q)]
SMALL_ORDER += [bytes.fromhex(u) for u in load(FILES[0])["invalid_points"]]
SMALL_ORDER += [u[:31] + bytes([u[31] | 0x80]) for u in SMALL_ORDER]  # that bit does not count
R_AND_U = [
    (bytes.fromhex(r), bytes.fromhex(u)) for r, u in load("elligator2-curve25519.json")["r_and_u"]
]

PRS, CI, SID = b"493027", b"Hushbear pairing 1", bytes(range(16))
AD_A, AD_B = b"phone", b"toy\x02"

# Answers one share with one scalar after another
ANSWER = """
    from hushbear.crypto import cpace
    answers = []
    for prs, ci, sid, ad_a, ad_b, share in runs:
        responder = cpace.Responder(prs, ci, sid, ad_a, ad_b)
        answers.append((responder.answer(share), responder.isk))
    result(answers)
"""
Run = tuple[bytes, bytes, bytes, bytes, bytes, bytes]  # prs, ci, sid, ad_a, ad_b, Ya


def answers(target: Target, runs: list[Run]) -> list[tuple[bytes, bytes]]:
    """Return Yb and ISK of the toy for each of the runs."""
    return cast(list[tuple[bytes, bytes]], target.run(ANSWER, args={"runs": runs}, timeout=120))


def fix_scalar(monkeypatch: pytest.MonkeyPatch, scalar: bytes) -> None:
    """Let every party take this scalar."""

    class Fixed:
        @staticmethod
        def generate() -> X25519PrivateKey:
            return X25519PrivateKey.from_private_bytes(scalar)

    monkeypatch.setattr(cpace, "X25519PrivateKey", Fixed)


@pytest.mark.parametrize("run", RUNS, ids=FILES)
def test_vectors_on_the_toy(target: Target, run: dict[str, bytes]) -> None:
    source = """
        from hushbear.crypto import cpace, x25519
        from hushbear.crypto.sha512 import sha512

        cpace.urandom = lambda n: run["yb"]
        text = cpace.generator_string(run["PRS"], run["CI"], run["sid"])
        *pauses, g = cpace.elligator2(sha512(text).digest()[:32])
        responder = cpace.Responder(*inputs)
        yb = responder.answer(run["Ya"])
        k = x25519.x25519(run["yb"], run["Ya"])
        result((text, g, yb, k, responder.isk))
    """
    args = {"run": run, "inputs": [run[name] for name in INPUTS]}
    expected = tuple(run[name] for name in ("generator_string", "g", "Yb", "K", "ISK_IR"))
    assert target.run(source, args=args) == expected


@pytest.mark.parametrize("run", RUNS, ids=FILES)
def test_vectors_on_the_phone(monkeypatch: pytest.MonkeyPatch, run: dict[str, bytes]) -> None:
    fix_scalar(monkeypatch, run["ya"])
    inputs = run["PRS"], run["CI"], run["sid"]
    assert cpace.generator_string(*inputs) == run["generator_string"]
    assert cpace.calculate_generator(*inputs) == run["g"]
    initiator = Initiator(*inputs, run["ADa"])
    assert initiator.share == run["Ya"]
    assert initiator.finish(run["Yb"], run["ADb"]) == run["ISK_IR"]


@pytest.mark.parametrize("run", RUNS, ids=FILES)
def test_vectors_on_the_phone_that_invites(
    monkeypatch: pytest.MonkeyPatch, run: dict[str, bytes]
) -> None:
    fix_scalar(monkeypatch, run["yb"])
    responder = cpace.Responder(run["PRS"], run["CI"], run["sid"], run["ADb"])
    assert responder.share == run["Yb"]
    assert responder.finish(run["Ya"], run["ADa"]) == run["ISK_IR"]
    with pytest.raises(ValueError, match="ends once"):
        responder.finish(run["Ya"], run["ADa"])


def test_the_hash_of_the_generator_string(target: Target) -> None:
    run = RUNS[1]
    source = """
        from hushbear.crypto.sha512 import sha512
        result(sha512(text).digest()[:32])
    """
    expected = bytes.fromhex(load(FILES[1])["generator_string_hash"])
    assert target.run(source, args={"text": run["generator_string"]}) == expected


def test_lengths_before_values(target: Target) -> None:
    # Appendix A.1, and lengths of two and three bytes
    parts = [[b"1234", b"5", b"", b"678"], [], [b""], [bytes(range(127))], [bytes(range(128))]]
    parts += [[bytes(16383)], [bytes(16384), b"1"]]
    heads = ["0431323334013500033637", "", "00", "7f000102", "80010001", "ff7f0000", "80800100"]
    source = """
        from hushbear.crypto.cpace import lv_cat
        results = [lv_cat(*parts) for parts in cases]
        result([(text[:11], len(text)) for text in results])
    """
    got = cast(list[tuple[bytes, int]], target.run(source, args={"cases": parts[:5]}))
    long = """
        from hushbear.crypto.cpace import lv_cat
        results = [lv_cat(bytes(16383)), lv_cat(bytes(16384), b"1")]
        result([(text[:11], len(text)) for text in results])
    """
    got += cast(list[tuple[bytes, int]], target.run(long))
    joined = [cpace.lv_cat(*case) for case in parts]
    assert got == [(text[:11], len(text)) for text in joined]
    assert [size for _, size in got] == [12, 0, 1, 128, 130, 16385, 16389]
    for text, head in zip(joined, heads, strict=True):
        assert text.hex().startswith(head)


def test_the_code_has_the_first_block_of_the_hash_for_itself(target: Target) -> None:
    sizes = [0, 6, 116, 117, 118, 119, 127, 128, 200]
    source = """
        from hushbear.crypto.cpace import generator_string
        result([generator_string(bytes(size), b"CI", b"sid") for size in sizes])
    """
    expected = [cpace.generator_string(bytes(size), b"CI", b"sid") for size in sizes]
    assert target.run(source, args={"sizes": sizes}) == expected
    rest = b"\2CI\3sid"
    for size, text in zip(sizes, expected, strict=True):
        assert text.endswith(rest)
        assert len(text) - len(rest) == max(128, 9 + len(cpace.lv_cat(bytes(size))) + 1)


ELLIGATOR = """
    from hushbear.crypto.cpace import elligator2
    points = []
    for r in cases:
        for u in elligator2(r):
            pass
        points.append(u)
    result(points)
"""


def test_elligator_vectors_on_the_toy(target: Target) -> None:
    args = {"cases": [r for r, _ in R_AND_U]}
    assert target.run(ELLIGATOR, args=args) == [u for _, u in R_AND_U]


def test_elligator_vectors_on_the_phone() -> None:
    assert [cpace.elligator2(r) for r, _ in R_AND_U] == [u for _, u in R_AND_U]


def test_elligator_of_any_field_element(target: Target) -> None:
    rng = random.Random(21)
    values = [0, 1, 2, P - 1, P, P + 1, P + 18, 2**255, 2**255 + 1, 2**256 - 1]
    cases = [value.to_bytes(32, "little") for value in values]
    cases += [rng.randbytes(32) for _ in range(12)]
    expected = [cpace.elligator2(r) for r in cases]
    assert target.run(ELLIGATOR, args={"cases": cases}) == expected
    for point in expected:  # on the curve, not on its twist
        u = int.from_bytes(point, "little")
        assert u < P and pow(u**3 + 486662 * u**2 + u, (P - 1) // 2, P) in (0, 1)
    # Two elements that differ in sign make one point.
    negative = ((P - value) % P for value in values[:5])
    assert [cpace.elligator2(r.to_bytes(32, "little")) for r in negative] == expected[:5]


def test_toy_and_phone_agree_on_a_key(target: Target) -> None:
    rng = random.Random(22)
    inputs = [(PRS, CI, SID, AD_A, AD_B), (b"", b"", b"", b"", b"")]
    inputs += [
        cast(Any, tuple(rng.randbytes(rng.choice((0, 6, 16, 130))) for _ in range(5)))
        for _ in range(4)
    ]
    initiators = [Initiator(*given[:4]) for given in inputs]
    runs = [(*given, phone.share) for given, phone in zip(inputs, initiators, strict=True)]
    keys = [
        (phone.finish(share, given[4]), isk)
        for given, phone, (share, isk) in zip(
            inputs, initiators, answers(target, runs), strict=True
        )
    ]
    assert all(one == other and len(one) == 64 for one, other in keys)
    assert len(dict(keys)) == len(keys)


def test_another_code_protocol_session_or_data_make_another_key(target: Target) -> None:
    phone = Initiator(PRS, CI, SID, AD_A)
    same: Run = (PRS, CI, SID, AD_A, AD_B, phone.share)
    others = [
        b"493028",
        b"Hushbear pairing 2",
        bytes(16),
        b"phonf",
        b"toy\x01",
        Initiator(PRS, CI, SID, AD_A).share,
    ]
    runs = [same]
    for i, other in enumerate(others):
        runs.append(cast(Run, (*same[:i], other, *same[i + 1 :])))
    # What moves from one input to its neighbour is another input, too.
    runs.append((PRS + CI[:1], CI[1:], SID, AD_A, AD_B, phone.share))
    runs.append((PRS, CI + SID[:1], SID[1:], AD_A, AD_B, phone.share))
    source = ANSWER.replace("answers = []", "cpace.urandom = lambda n: scalar; answers = []")
    got = cast(
        list[tuple[bytes, bytes]],
        target.run(source, args={"runs": runs, "scalar": SCALAR}, timeout=120),
    )
    share, key = got[0]
    assert phone.finish(share, AD_B) == key
    assert len({isk for _, isk in got}) == len(runs)
    # Code, protocol and session are in the generator; what goes with the shares is not.
    assert [other == share for other, _ in got[1:]] == [*[False] * 3, *[True] * 3, *[False] * 2]


@pytest.mark.parametrize("change", ["code", "protocol", "session", "ad_a", "ad_b", "share"])
def test_the_phones_key_hangs_on_all_that_was_said(
    monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    fix_scalar(monkeypatch, SCALAR)
    answer = cpace.calculate_generator(b"", b"", b"")  # any point
    given = {"code": PRS, "protocol": CI, "session": SID, "ad_a": AD_A, "ad_b": AD_B}
    given["share"] = answer

    def key(said: dict[str, bytes]) -> bytes:
        initiator = Initiator(said["code"], said["protocol"], said["session"], said["ad_a"])
        return initiator.finish(said["share"], said["ad_b"])

    assert key(given) == key(dict(given))
    other = {**given, change: cpace.elligator2(given[change] + bytes(32))}
    assert key(other) != key(given)


def test_the_points_of_the_draft_on_the_toy(target: Target) -> None:
    source = """
        from hushbear.crypto.x25519 import x25519
        products = []
        for u in points:
            try:
                products.append(x25519(k, u))
            except ValueError:
                products.append(bytes(32))
        result(products)
    """
    got = target.run(source, args={"k": SCALAR, "points": [u for u, _ in U_AND_Q]})
    assert got == [q for _, q in U_AND_Q]


def test_toy_refuses_every_point_of_small_order(target: Target) -> None:
    source = """
        from hushbear.crypto.cpace import Responder
        refused = []
        for share in shares:
            responder = Responder(b"493027", b"CI", b"sid", b"A", b"B")
            try:
                responder.answer(share)
            except ValueError as error:
                refused.append((str(error), responder.isk))
            try:  # nor afterwards
                responder.answer(share)
            except ValueError:
                refused.append(responder.isk)
        result(refused)
    """
    got = target.run(source, args={"shares": SMALL_ORDER}, timeout=120)
    assert got == [("this point has small order", None), None] * len(SMALL_ORDER)


def test_phone_refuses_every_point_of_small_order() -> None:
    for share in SMALL_ORDER:
        phone = Initiator(PRS, CI, SID, AD_A)
        with pytest.raises(ValueError, match="the other side's share is not a valid point"):
            phone.finish(share, AD_B)
        with pytest.raises(ValueError, match="ends once"):
            phone.finish(Initiator(PRS, CI, SID, AD_A).share, AD_B)


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_shares_of_another_size_are_refused(target: Target, size: int) -> None:
    with pytest.raises(ValueError, match="the other side's share is not a valid point"):
        Initiator(PRS, CI, SID, AD_A).finish(b"\x09" * size, AD_B)
    source = """
        from hushbear.crypto.cpace import Responder
        Responder(b"493027", b"CI", b"sid", b"A", b"B").answer(b"\\x09" * size)
    """
    with pytest.raises(DeviceError, match="ValueError: scalar and point are 32 bytes"):
        target.run(source, args={"size": size})


def test_points_that_are_not_reduced_are_bound_as_they_came(target: Target) -> None:
    # u + p and the highest bit name the same point, but are another message.
    u = 9
    same = [value.to_bytes(32, "little") for value in (u, u + P, u | 1 << 255)]
    source = ANSWER.replace("answers = []", "cpace.urandom = lambda n: scalar; answers = []")
    runs = [(PRS, CI, SID, AD_A, AD_B, share) for share in same]
    got = target.run(source, args={"runs": runs, "scalar": SCALAR}, timeout=120)
    k = X25519PrivateKey.from_private_bytes(SCALAR).exchange(
        X25519PublicKey.from_public_bytes(same[0])
    )
    for share, (yb, isk) in zip(same, cast(list[tuple[bytes, bytes]], got), strict=True):
        transcript = cpace.lv_cat(share, AD_A) + cpace.lv_cat(yb, AD_B)
        text = cpace.lv_cat(b"CPace255_ISK", SID, k) + transcript
        assert isk == hashlib.sha512(text).digest()


def test_the_work_can_be_sliced(target: Target) -> None:
    phone = Initiator(PRS, CI, SID, AD_A)
    source = """
        from hushbear.crypto.cpace import Responder
        responder = Responder(*inputs)
        pauses = [(pause, responder.isk) for pause in responder.steps(share)]
        result((len(pauses), set(pauses), responder.answer(share), responder.isk))
    """
    args = {"inputs": [PRS, CI, SID, AD_A, AD_B], "share": phone.share}
    count, pauses, share, isk = cast(
        tuple[int, set[object], bytes, bytes], target.run(source, args=args)
    )
    # Two ladders of 40 slices and their results, two powers of 8, the hash, the point
    assert count == 2 * 41 + 2 * 9 + 2 and pauses == {(None, None)}
    assert phone.finish(share, AD_B) == isk


def test_a_responder_has_one_secret_and_one_answer(target: Target) -> None:
    one, other = (Initiator(PRS, CI, SID, AD_A).share for _ in range(2))
    source = """
        from hushbear.crypto.cpace import Responder
        responder = Responder(*inputs)
        steps = responder.steps(one)
        next(steps)
        refused = []
        for call in (
            lambda: responder.answer(one),  # not done
            lambda: next(responder.steps(one)),
            lambda: [step for step in steps] and responder.answer(other),
            lambda: responder.answer(one),
            lambda: responder.answer(one),
        ):
            try:
                refused.append(call())
            except ValueError as error:
                refused.append(str(error))
        result(refused)
    """
    args = {"inputs": [PRS, CI, SID, AD_A, AD_B], "one": one, "other": other}
    got = cast(list[Any], target.run(source, args=args))
    assert got[:3] == ["a run of CPace has one answer"] * 3
    assert got[3] == got[4] and len(got[3]) == 32
    run = (PRS, CI, SID, AD_A, AD_B, one)
    shares = {share for share, _ in answers(target, [run, run])}
    assert len(shares | {got[3]}) == 3


def test_the_secret_on_the_phone_is_used_once() -> None:
    shares = {Initiator(PRS, CI, SID, AD_A).share for _ in range(3)}
    assert len(shares) == 3
    phone = Initiator(PRS, CI, SID, AD_A)
    phone.finish(shares.pop(), AD_B)
    with pytest.raises(ValueError, match="ends once"):
        phone.finish(shares.pop(), AD_B)
    assert PRS.decode() not in repr(vars(phone))


def test_what_a_run_takes_of_the_heap(target: Target) -> None:
    source = """
        import gc

        def used():
            gc.collect()
            return gc.mem_alloc()

        before = used()
        from hushbear.crypto import cpace
        package = used() - before
        responder = cpace.Responder(*inputs)
        gc.disable()
        before = gc.mem_alloc()
        responder.answer(share)
        garbage = gc.mem_alloc() - before
        gc.enable()
        result((package, garbage))
    """
    inputs = [PRS, CI, SID, AD_A, AD_B]
    args = {"inputs": inputs, "share": Initiator(*inputs[:4]).share}
    package, garbage = cast(tuple[int, int], target.run(source, args=args))
    assert package < 12_000
    assert garbage < 40_000
