"""What comes in: who signed a request, and its body, within bounds and deadlines."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from fastapi import Request

from .. import signing
from ..problems import Problem
from . import guard
from .errors import Refused
from .service import Service

OCTETS = "application/octet-stream"


def service(request: Request) -> Service:
    """Return what the process shares."""
    found: Service = request.app.state.service
    return found


def signed(request: Request) -> signing.Signed:
    """Return who signed a request, at a time that is close enough.

    Whether the key may do anything, and whether the signature has come before, is for the
    transaction to say.
    """
    scope = request.scope
    host = request.headers.get("host", "")
    path = scope["raw_path"].decode("latin-1")
    query = scope["query_string"].decode("latin-1")
    url = f"{scope['scheme']}://{host}{path}" + (f"?{query}" if query else "")
    try:
        who = signing.verify(
            request.method,
            url,
            (
                (name.decode("latin-1"), value.decode("latin-1"))
                for name, value in scope["headers"]
            ),
        )
    except signing.Unsigned:
        raise Refused(Problem.UNSIGNED) from None
    except signing.Forged:
        raise Refused(Problem.NOT_FOUND) from None
    here = service(request)
    guard.check_clock(who, here.now(), here.settings.skew)
    return who


def source(request: Request) -> str:
    """Return the address that a request comes from, to count by."""
    return request.client.host if request.client else ""


def declared_length(request: Request, most: int, media_type: str) -> int:
    """Return how long a request says its body is, or refuse it."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != media_type:
        raise Refused(Problem.MEDIA)
    if "content-encoding" in request.headers:
        raise Refused(Problem.MEDIA)
    length = request.headers.get("content-length", "")
    if not length.isdecimal() or "transfer-encoding" in request.headers:
        raise Refused(Problem.LENGTH)
    if len(length) > 15 or int(length) > most:
        raise Refused(Problem.TOO_LARGE)
    return int(length)


async def body(request: Request, length: int, who: signing.Signed) -> bytes:
    """Return a request's body of `length` bytes, which its signature covers."""
    settings = service(request).settings
    content = bytearray()
    try:
        async with asyncio.timeout(settings.body_seconds + length / settings.body_rate):
            async for piece in request.stream():
                content += piece
                if len(content) > length:
                    raise Refused(Problem.MALFORMED)
    except TimeoutError:
        raise Refused(Problem.TOO_SLOW) from None
    whole = bytes(content)
    if len(whole) != length or not signing.matches(who.digest, whole):
        raise Refused(Problem.DIGEST)
    return whole


@contextlib.asynccontextmanager
async def upload(request: Request) -> AsyncIterator[None]:
    """One of the bodies that are taken in at the same time, which bounds the memory they need."""
    here = service(request)
    if here.uploads.locked() or here.arrivals.stopping:
        raise Refused(Problem.BUSY, retry_after=2)
    async with here.uploads:
        with here.metrics.uploads.track_inprogress():
            yield


async def arrival(request: Request, waiter: asyncio.Future[None], seconds: float) -> bool:
    """Wait until a waiter is woken, at most so long. Return whether the client is still there."""
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        with service(request).metrics.polls.track_inprogress():
            await asyncio.wait(
                {waiter, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
        return not gone.done()
    finally:
        gone.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
