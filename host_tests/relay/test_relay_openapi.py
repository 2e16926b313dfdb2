"""The OpenAPI description is true: schemathesis makes requests from it, good ones and bad ones,
signed by a key that owns a mailbox and may write to it, and compares the answers with it."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import ignored_auth, negative_data_rejection

from host_tests.relay.running import Process
from host_tests.relay.running import settings as relay_settings
from hushbear_relay import names, signing
from hushbear_relay.problems import Problem
from hushbear_relay.server import app, mailbox_routes, rendezvous_routes
from hushbear_relay.server.service import Service

# The signer signs what schemathesis sends without a signature, too; and what it takes for
# malformed may have become well formed when it was made to be about what there is.
NOT_HERE = [ignored_auth, negative_data_rejection]
CONTACT = "mailto:security@relay.example"
KEY = Ed25519PrivateKey.generate()
MAILBOX = names.mailbox_of(signing.public_bytes(KEY))
MEMBER = names.member_of(MAILBOX, signing.public_bytes(KEY))
MESSAGES = [bytes([number] * 16).hex() for number in range(3)]
MEMBERS = json.dumps({"members": [MEMBER.hex()]}).encode()


class Signer(requests.auth.AuthBase):
    """Signs whatever is sent, as it is sent."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        body = request.body or b""
        body = body.encode() if isinstance(body, str) else body
        assert request.method and request.url and isinstance(body, bytes)
        signed = body if body or request.method == "PUT" else None
        for name, value in signing.sign(KEY, request.method, request.url, signed).items():
            request.headers[name] = value
        return request


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    process = Process(
        relay_settings(
            tmp_path_factory.mktemp("relay"),
            wait_max=0,
            mailboxes_per_minute=10**6,
            rendezvous_per_minute=10**6,
            member_messages=20,
            security_contact=(CONTACT,),
        )
    )
    process.start()
    yield process.url
    process.kill()


def description() -> dict[str, Any]:
    """The description, as the application makes it."""
    with tempfile.TemporaryDirectory() as directory:
        given = relay_settings(Path(directory), security_contact=(CONTACT,))
        return app.build(given, Service(given)).openapi()


DESCRIPTION = description()
SCHEMA = schemathesis.openapi.from_dict(DESCRIPTION)
OPERATIONS = [
    (path, method) for path, methods in DESCRIPTION["paths"].items() for method in methods
]


def about_what_there_is(case: Any, choose: random.Random) -> None:
    """Have most requests be about what there is."""
    if isinstance(case.path_parameters, dict) and choose.random() < 0.8:
        if "mailbox" in case.path_parameters:
            case.path_parameters["mailbox"] = MAILBOX.hex()
        if "message" in case.path_parameters:
            new = choose.randbytes(16).hex()
            case.path_parameters["message"] = choose.choice([*MESSAGES, new])


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize(("path", "method"), OPERATIONS, ids=lambda part: part)
def test_answers_are_as_described(relay: str, path: str, method: str, mode: Any) -> None:
    signer = Signer()
    seen = set()

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(SCHEMA[path][method].as_strategy(generation_mode=mode), st.integers(0, 10**6))
    def ask(case: Any, seed: int) -> None:
        choose = random.Random(seed)
        mailbox = f"{relay}/v1/mailboxes/{MAILBOX.hex()}"
        as_json = {"Content-Type": "application/json"}
        requests.put(mailbox, data=MEMBERS, headers=as_json, auth=signer, timeout=30)
        there = f"{mailbox}/messages/{choose.choice(MESSAGES)}"
        octets = {"Content-Type": "application/octet-stream"}
        requests.put(there, data=b"x", headers=octets, auth=signer, timeout=30)
        about_what_there_is(case, choose)
        response = case.call(base_url=relay, auth=signer)
        seen.add(response.status_code)
        assert response.status_code < 500 or response.status_code in (503, 507)
        case.validate_response(response, excluded_checks=NOT_HERE)
        if response.status_code >= 400 and method != "head":
            said = response.json()
            assert said["status"] == response.status_code
            assert said["type"] in {problem.type for problem in Problem}

    try:
        ask()
    except Unsatisfiable:
        pytest.skip(f"there are no such requests: {mode.name.lower()}")
    if mode is GenerationMode.POSITIVE:
        assert min(seen) < 300 or "rendezvous/{" in path, "no request was understood"


def test_every_route_is_described_and_nothing_else() -> None:
    routed = {
        (route.path, method.lower())  # type: ignore[attr-defined]
        for router in (mailbox_routes.router, rendezvous_routes.router)
        for route in router.routes
        for method in route.methods  # type: ignore[attr-defined]
    }
    assert set(OPERATIONS) == routed | {("/v1", "get"), ("/.well-known/security.txt", "get")}


def test_what_is_not_open_is_signed() -> None:
    unsigned = [
        path
        for path, operations in DESCRIPTION["paths"].items()
        for operation in operations.values()
        if operation.get("security") != [{"signature": []}]
    ]
    assert sorted(unsigned) == ["/.well-known/security.txt", "/v1"]


def test_what_is_served_is_this_description(relay: str) -> None:
    served = requests.get(f"{relay}/openapi.json", timeout=30).json()
    assert served == json.loads(json.dumps(DESCRIPTION))
    for reference in {part.split('"')[0] for part in json.dumps(served).split('"$ref": "#/')[1:]}:
        found = served
        for step in reference.split("/"):
            found = found[step]
        assert isinstance(found, dict)
