"""One relay over HTTP: signs requests, follows its clock, and turns problems into errors."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Self

import aiohttp
import yarl
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from .. import signing
from ..problems import MEDIA_TYPE, Problem, by_type
from .errors import Unreachable, refused

OCTETS = "application/octet-stream"
JSON = "application/json"
_SECONDS = 180.0  # for a whole request, over the slowest line
_SILENCE = 30.0  # seconds without a byte from there: a line that is dead says nothing
_ANSWER_MAX = 2 << 20  # bytes; a listing of 1000 messages has 300 kB
_AGAIN = (Problem.CLOCK, Problem.REPLAYED)


class Answer:
    """Status, headers and body of an answer that is no problem."""

    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def json(self) -> dict[str, Any]:
        """Return the object in the body; raises Unreachable if there is none."""
        import json

        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            raise Unreachable("The relay answered with something that is no JSON.") from None
        if not isinstance(found, dict):
            raise Unreachable("The relay answered with something that is no object.")
        return found


class Relay:
    """A relay at a URL such as https://relay.example. Use it as a context manager, or close it.

    Any number of mailboxes may use it at the same time.
    """

    def __init__(self, url: str, connections: int = 20) -> None:
        self.url = yarl.URL(url.rstrip("/"))
        self._ahead = 0.0  # seconds that the relay's clock is ahead of this one
        self._session: aiohttp.ClientSession | None = None
        self._connections = connections

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def about(self) -> dict[str, Any]:
        """Return what the relay takes: see `GET /v1` in its description."""
        return (await self._once("GET", self.url / "v1", {}, None, 0.0)).json()

    async def request(
        self,
        key: Ed25519PrivateKey,
        method: str,
        path: str,
        query: dict[str, int] | None = None,
        body: bytes | None = None,
        media_type: str = OCTETS,
        wait: float = 0.0,
    ) -> Answer:
        """Send a request signed by `key`; return its answer, or raise Refused or Unreachable.

        `wait`: seconds that the relay may take before it begins to answer, as it was asked to.
        Where only the clock differs, or a proxy on the way has sent it twice, it is signed anew.
        """
        url = (self.url / path.lstrip("/")).with_query(query or {})
        for again in (True, False):
            headers = signing.sign(key, method, str(url), body, time.time() + self._ahead)
            if body is not None:
                headers["Content-Type"] = media_type
            try:
                return await self._once(method, url, headers, body, wait)
            except _Again as asked:
                if not again:
                    raise asked.error from None
                if asked.now is not None:
                    self._ahead = asked.now - time.time()
        raise AssertionError

    async def _once(
        self,
        method: str,
        url: yarl.URL,
        headers: dict[str, str],
        body: bytes | None,
        wait: float,
    ) -> Answer:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        try:
            async with self._session.request(
                method,
                url,
                data=body,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    total=_SECONDS + wait, sock_connect=20, sock_read=_SILENCE + wait
                ),
            ) as response:
                content = await _read(response)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Unreachable(
                f"The relay cannot be reached: {error or type(error).__name__}"
            ) from error
        if 200 <= response.status < 300:
            return Answer(response.status, response.headers, content)
        raise _problem(method, response, content)


class _Again(Exception):
    def __init__(self, error: Exception, now: float | None) -> None:
        super().__init__()
        self.error = error
        self.now = now


async def _read(response: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for piece in response.content.iter_chunked(1 << 16):
        content += piece
        if len(content) > _ANSWER_MAX:
            raise Unreachable("The relay answers more than anybody asked for.")
    return bytes(content)


def _problem(method: str, response: aiohttp.ClientResponse, content: bytes) -> Exception:
    if method == "HEAD" and response.status == Problem.NOT_FOUND.status:
        return refused(Problem.NOT_FOUND)
    problem, said = None, {}
    if response.content_type == MEDIA_TYPE:
        said = Answer(response.status, response.headers, content).json()
        problem = by_type(said.get("type"))
    if problem is None:
        return Unreachable(f"What answers is no relay, or is not well (status {response.status}).")
    after = response.headers.get("Retry-After", "")
    error = refused(problem, int(after) if after.isdecimal() and len(after) < 8 else None)
    if problem in _AGAIN:
        now = said.get("now") if problem is Problem.CLOCK else None
        return _Again(error, now if isinstance(now, int) else None)
    return error
