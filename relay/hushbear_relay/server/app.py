"""The HTTP API as an ASGI application, with its OpenAPI description at /openapi.json.

FastAPI, because routes, checks of parameters and description are then one text; what it would
answer in its own way, it answers as problems.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..problems import MEDIA_TYPE, Problem
from . import mailbox_routes, rendezvous_routes
from .description import describe, problems
from .errors import Refused
from .service import Service
from .settings import Settings

_log = structlog.get_logger()

_ALWAYS = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
)
_UNROUTED = "other"


class About(BaseModel):
    """What this relay takes. Sizes in bytes, times in seconds."""

    relay: str = Field(description="Version of the relay.")
    now: int = Field(description="The relay's time, Unix seconds.")
    body_max: int
    mailbox_messages: int
    mailbox_bytes: int
    member_messages: int
    member_bytes: int
    members_max: int
    keep: int = Field(description="How long a message is kept.")
    skew: int = Field(description="How far a signature's time may be off.")
    wait_max: int = Field(description="How long a long poll may wait.")
    rendezvous_keep: int = Field(description="How long a rendezvous lasts.")


def build(settings: Settings, service: Service) -> FastAPI:
    """Return the application; it listens to the database while its lifespan runs."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.arrivals.start()
        yield
        service.arrivals.stop()

    app = FastAPI(
        title="Hushbear relay",
        version=version("hushbear-relay"),
        description="Keeps sealed messages until they are fetched, and can read none of them.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = service
    app.include_router(mailbox_routes.router, tags=["mailboxes"])
    app.include_router(rendezvous_routes.router, tags=["rendezvous"])

    @app.get("/v1", responses=problems(signed=False), tags=["about"])
    async def about() -> About:
        """Say what this relay takes."""
        return About(
            relay=app.version,
            now=service.now(),
            body_max=settings.body_max,
            mailbox_messages=settings.mailbox_messages,
            mailbox_bytes=settings.mailbox_bytes,
            member_messages=settings.member_messages,
            member_bytes=settings.member_bytes,
            members_max=settings.members_max,
            keep=settings.keep,
            skew=settings.skew,
            wait_max=int(settings.wait_max),
            rendezvous_keep=settings.rendezvous_seconds,
        )

    if settings.security_contact:
        text = security_txt(settings, datetime.datetime.now(datetime.UTC))

        @app.get(
            "/.well-known/security.txt",
            response_class=PlainTextResponse,
            responses=problems(signed=False),
            tags=["about"],
        )
        async def security() -> str:
            """Say whom to tell of a hole (RFC 9116)."""
            return text

    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]
    app.add_middleware(Gate, service=service)
    return app


def security_txt(settings: Settings, now: datetime.datetime) -> str:
    """Return the text of /.well-known/security.txt."""
    expires = settings.security_expires or now + datetime.timedelta(days=364)
    lines = [f"Contact: {uri}" for uri in settings.security_contact]
    lines.append(f"Expires: {expires.astimezone(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}")
    if settings.security_policy:
        lines.append(f"Policy: {settings.security_policy}")
    if settings.security_languages:
        lines.append(f"Preferred-Languages: {settings.security_languages}")
    return "\n".join(lines) + "\n"


def answer(problem: Problem, retry_after: int | None = None, **more: Any) -> Response:
    """Return a problem as a response."""
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    if problem in (Problem.LENGTH, Problem.TOO_SLOW):
        headers["Connection"] = "close"  # the rest of the body is not waited for
    if problem is Problem.CLOCK:
        more["now"] = int(time.time())
    return JSONResponse(
        problem.as_json() | more, problem.status, headers=headers, media_type=MEDIA_TYPE
    )


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    service: Service = request.app.state.service
    service.metrics.problems.labels(error.problem.code).inc()
    if error.problem is Problem.STORAGE:
        _log.error("the database or the store failed", exc_info=error.__cause__ or error)
    if error.problem is Problem.CLOCK:
        return answer(error.problem, now=service.now())
    return answer(error.problem, error.retry_after)


def _http_exception(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    for problem in (Problem.NOT_FOUND, Problem.METHOD):
        if problem.status == error.status_code:
            response = answer(problem)
            response.headers.update(error.headers or {})
            return response
    return answer(Problem.MALFORMED)


def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    where = sorted({str(each["loc"][-1]) for each in error.errors()})
    return answer(Problem.MALFORMED, where=", ".join(where))


class Gate:
    """Round the application: refuses paths and hosts that only tricks have, answers what nobody
    else did, gives up on clients that do not read, counts, and logs without identifiers."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service
        self._hosts = {host.lower() for host in service.settings.hosts}
        self._seconds = service.settings.body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *_ALWAYS]
            await send(message)

        try:
            refusal = self._refusal(scope)
            if refusal:
                await answer(refusal)(scope, receive, watched)
            else:
                await self._app(scope, receive, watched)
        except ClientDisconnect:
            pass
        except Exception as error:
            _log.error("a request failed", exc_info=error)
            if not status:
                await answer(Problem.FAILED)(scope, receive, watched)
        finally:
            self._count(scope, status, time.perf_counter() - began)

    def _refusal(self, scope: Scope) -> Problem | None:
        if b"%" in scope["raw_path"] or b"//" in scope["raw_path"]:
            return Problem.NOT_FOUND  # no address here has such
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or (
            self._hosts and hosts[0].decode("latin-1").lower() not in self._hosts
        ):
            return Problem.MISDIRECTED
        return None

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", _UNROUTED)
        method = scope["method"] if route != _UNROUTED else _UNROUTED
        self._service.metrics.requests.labels(route, method, status).inc()
        self._service.metrics.seconds.labels(route, method).observe(seconds)
        _log.debug(
            "request", route=route, method=method, status=status, ms=round(seconds * 1e3, 1)
        )
