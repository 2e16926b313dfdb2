"""Hypothesis on whatever reads what strangers send: names, signatures, digests, envelopes."""

from __future__ import annotations

import contextlib
import json
import os

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from hushbear_relay import names, signing
from hushbear_relay.client.envelope import Kind, open_sealed, seal
from hushbear_relay.client.errors import Sealed, Unreachable
from hushbear_relay.client.http import Answer
from hushbear_relay.problems import Problem, by_type
from hushbear_relay.server.guard import source_group

URL = "https://relay.example/v1/mailboxes/00"
KEY = Ed25519PrivateKey.generate()
HEADERS = {name.lower(): value for name, value in signing.sign(KEY, "PUT", URL, b"body").items()}
latin = st.text(st.characters(max_codepoint=255))


@given(st.text(), st.integers(0, 40))
def test_names(text: str, size: int) -> None:
    with contextlib.suppress(ValueError):
        assert names.parse(text, size).hex() == text and size > 0


@given(st.binary(min_size=1, max_size=40))
def test_a_name_stands_for_its_bytes(name: bytes) -> None:
    assert names.parse(name.hex(), len(name)) == name


def test_a_request_as_it_was_signed_verifies() -> None:
    who = signing.verify("PUT", URL, HEADERS.items())
    assert who.key == signing.public_bytes(KEY) and signing.matches(who.digest, b"body")


@given(
    st.sampled_from(sorted(HEADERS)),
    st.integers(0, 400),
    st.integers(0, 255),
    st.sampled_from(["put", "cut", "insert", "drop"]),
)
def test_an_altered_signature_never_verifies(name: str, at: int, byte: int, how: str) -> None:
    value = HEADERS[name]
    at %= len(value)
    altered = {
        "put": value[:at] + chr(byte) + value[at + 1 :],
        "cut": value[:at],
        "insert": value[:at] + chr(byte) + value[at:],
        "drop": "",
    }[how]
    if altered.strip(" \t") == value:
        return
    try:
        who = signing.verify("PUT", URL, (HEADERS | {name: altered}).items())
    except (signing.Unsigned, signing.Forged):
        return
    # Structured fields may be written in more than one way; what is signed is the same.
    assert who == signing.verify("PUT", URL, HEADERS.items())


@given(
    st.sampled_from(["GET", "PUT", "DELETE"]),
    st.sampled_from([URL, URL + "?", URL + "?a", URL + "/", URL.replace("example", "com")]),
)
def test_a_signature_is_of_one_request(method: str, url: str) -> None:
    try:
        signing.verify(method, url, HEADERS.items())
    except signing.Forged:
        assert (method, url.rstrip("?")) != ("PUT", URL)
    else:
        assert (method, url.rstrip("?")) == ("PUT", URL)


@pytest.mark.parametrize("left_out", [*signing.COMPONENTS, signing.DIGEST])
def test_a_signature_covers_all_of_a_request(
    left_out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tuple(name for name in signing.COMPONENTS if name != left_out)
    body = None if left_out == signing.DIGEST else b"body"
    with monkeypatch.context() as patched:
        patched.setattr(signing, "COMPONENTS", kept)
        signed = signing.sign(KEY, "PUT", URL, body)
    fields = {name.lower(): value for name, value in signed.items()}
    assert left_out not in fields["signature-input"]
    with pytest.raises(signing.Forged, match="not all is signed"):
        signing.verify("PUT", URL, (HEADERS | fields).items())


@given(st.dictionaries(st.sampled_from(sorted(HEADERS)), latin), latin)
def test_any_header_fields(fields: dict[str, str], path: str) -> None:
    with contextlib.suppress(signing.Unsigned, signing.Forged):
        signing.verify("GET", "https://relay.example/" + path, fields.items())
        raise AssertionError("nobody signed this")


@given(
    st.lists(
        st.sampled_from(
            ['"@method"', '"@path"', '"@query"', '"@authority"', '"x"', ";sf", ";bs", ";req"]
        )
    ),
    st.lists(
        st.sampled_from(["created=1", 'nonce="0"', 'keyid="0"', "alg=1", 'tag="x"', "=", ";"])
    ),
)
def test_fields_that_look_like_a_signature(parts: list[str], said: list[str]) -> None:
    fields = {
        "signature-input": f'a=({" ".join(parts)});{";".join(said)};tag="{signing.TAG}"',
        "signature": "a=:AAAA:",
    }
    with contextlib.suppress(signing.Unsigned, signing.Forged):
        signing.verify("GET", URL, fields.items())
        raise AssertionError("nobody signed this")


@given(latin | st.none(), st.binary(max_size=50))
def test_digests(field: str | None, body: bytes) -> None:
    assert signing.matches(signing.content_digest(body), body)
    if signing.matches(field, body):
        assert field is not None or not body
    digest = signing.sha256_of(field)
    assert digest is None or len(digest) == 32


@given(st.binary(max_size=300))
def test_any_bytes_as_an_envelope(body: bytes) -> None:
    with contextlib.suppress(Sealed):
        open_sealed(bytes(32), bytes(32), bytes(16), body)
        raise AssertionError("nobody sealed this")


@given(st.sampled_from(Kind), st.binary(max_size=100), st.integers(0, 10**6), st.integers(1, 255))
def test_envelopes(kind: Kind, content: bytes, at: int, flip: int) -> None:
    secret, mailbox, name = os.urandom(32), os.urandom(32), os.urandom(16)
    content = content if kind is Kind.MESSAGE else os.urandom(16)
    body = seal(secret, mailbox, name, kind, content)
    assert open_sealed(secret, mailbox, name, body) == (kind, content)
    altered = bytearray(body)
    altered[at % len(body)] ^= flip
    for wrong in (
        (secret, mailbox, name, bytes(altered)),
        (secret, mailbox, name, body[:-1]),
        (secret, os.urandom(32), name, body),
        (secret, mailbox, os.urandom(16), body),
        (os.urandom(32), mailbox, name, body),
    ):
        with contextlib.suppress(Sealed):
            open_sealed(*wrong)
            raise AssertionError("it was altered")


@given(st.binary() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(
    lambda value: json.dumps(value).encode()))  # fmt: skip
def test_answers_of_no_relay(body: bytes) -> None:
    with contextlib.suppress(Unreachable):
        assert isinstance(Answer(200, {}, body).json(), dict)


@given(st.text() | st.integers() | st.none())
def test_problem_types(uri: object) -> None:
    assert by_type(uri) in (None, *Problem)


def test_every_problem_is_known_by_its_type() -> None:
    assert [by_type(problem.type) for problem in Problem] == list(Problem)


@given(st.text(), st.integers(0, 2**40))
def test_any_source_has_a_group(address: str, minute: int) -> None:
    assert 0 <= source_group(address.replace("\ud800", ""), minute) < 65536
