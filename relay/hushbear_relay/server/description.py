"""What the OpenAPI description says beyond what FastAPI reads from the routes."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from ..problems import MEDIA_TYPE, Problem
from ..signing import TAG
from .incoming import OCTETS

_SIGNATURE = {
    "type": "apiKey",
    "in": "header",
    "name": "Signature",
    "description": "HTTP Message Signatures (RFC 9421): one signature by Ed25519, tag "
    f'"{TAG}", over "@method" "@authority" "@path" "@query" and, if there is a body, '
    '"content-digest" (RFC 9530); parameters created, nonce (32 hexadecimal digits, never '
    "again), keyid (the public key, 64 hexadecimal digits), alg, tag.",
}
_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "enum": [problem.type for problem in Problem]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "now": {"type": "integer", "description": "The relay's time (clock)."},
        "where": {"type": "string", "description": "What is malformed (malformed)."},
    },
}

_EVERYWHERE = (
    Problem.MALFORMED,
    Problem.MISDIRECTED,
    Problem.FAILED,
    Problem.STORAGE,
)
_SIGNED = (Problem.UNSIGNED, Problem.CLOCK, Problem.REPLAYED, Problem.NOT_FOUND)
_WITH_BODY = (
    Problem.DIGEST,
    Problem.TOO_SLOW,
    Problem.LENGTH,
    Problem.TOO_LARGE,
    Problem.MEDIA,
)
_OPEN = [("/v1", "get"), ("/.well-known/security.txt", "get")]


def problems(*own: Problem, body: bool = False, signed: bool = True) -> dict[int | str, Any]:
    """Return the answers of a route that are problems, for FastAPI's `responses`."""
    all_of_them = [*own, *_EVERYWHERE, *(_SIGNED if signed else ()), *(_WITH_BODY if body else ())]
    answers: dict[int | str, Any] = {}
    for status in sorted({problem.status for problem in all_of_them}):
        codes = sorted({problem.code for problem in all_of_them if problem.status == status})
        answers[status] = {
            "description": ", ".join(codes),
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    return answers


def octets(size: int, description: str) -> dict[str, Any]:
    """Return the part of a route's description that says its request body is bytes."""
    schema = {"type": "string", "format": "binary", "maxLength": size}
    return {
        "requestBody": {
            "required": True,
            "description": description,
            "content": {OCTETS: {"schema": schema}},
        }
    }


def answered_octets(description: str) -> dict[str, Any]:
    """Return the description of an answer that is bytes."""
    schema = {"type": "string", "format": "binary"}
    return {"description": description, "content": {OCTETS: {"schema": schema}}}


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI description."""
    if app.openapi_schema:
        return app.openapi_schema
    schema = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    components = schema.setdefault("components", {})
    components["securitySchemes"] = {"signature": _SIGNATURE}
    schemas = components.setdefault("schemas", {})
    schemas["Problem"] = _PROBLEM
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            operation["responses"].pop("422", None)  # FastAPI's own; here it is `malformed`
            if (path, method) not in _OPEN:
                operation["security"] = [{"signature": []}]
    app.openapi_schema = schema
    return schema
