"""Load for a relay: requests that were signed beforehand, over connections that stay open.

The generator runs beside the relay, on the same cores, so it does as little as it can: it writes
bytes and reads a status and a length.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import time
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hushbear_relay import signing


@dataclasses.dataclass(frozen=True)
class Ready:
    """A request as it goes over the wire."""

    head: bytes
    body: bytes = b""


def ready(
    key: Ed25519PrivateKey,
    method: str,
    url: str,
    body: bytes | None = None,
    media_type: str = "application/octet-stream",
) -> Ready:
    """Return a request that `key` signs now: it is good for five minutes, once."""
    parts = urlsplit(url)
    lines = [f"{method} {parts.path}{'?' + parts.query if parts.query else ''} HTTP/1.1"]
    lines.append(f"Host: {parts.netloc}")
    lines += [f"{name}: {value}" for name, value in signing.sign(key, method, url, body).items()]
    if body is not None:
        lines += [f"Content-Type: {media_type}", f"Content-Length: {len(body)}"]
    return Ready("\r\n".join([*lines, "", ""]).encode(), body or b"")


def bare(url: str) -> Ready:
    """Return a GET that nobody signs."""
    parts = urlsplit(url)
    return Ready(f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())


class Connection:
    """One connection that stays open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, url: str) -> Connection:
        parts = urlsplit(url)
        return cls(*await asyncio.open_connection(parts.hostname, parts.port, limit=1 << 20))

    async def ask(self, request: Ready) -> int:
        """Send a request and read its answer; return the status."""
        self._writer.write(request.head)
        if request.body:
            self._writer.write(request.body)
        head = await self._reader.readuntil(b"\r\n\r\n")
        at = head.find(b"content-length: ")
        if at >= 0:
            await self._reader.readexactly(int(head[at + 16 : head.index(b"\r", at)]))
        return int(head[9:12])

    def close(self) -> None:
        self._writer.close()


async def fastest(url: str, requests: Sequence[Ready], connections: int, status: int) -> float:
    """Return the requests a second that are answered when each connection asks again at once."""
    waiting = iter(requests)
    opened = [await Connection.open(url) for _ in range(connections)]

    async def ask(connection: Connection, mine: Iterator[Ready]) -> None:
        for request in mine:
            got = await connection.ask(request)
            assert got == status, f"status {got}"

    began = time.perf_counter()
    await asyncio.gather(*(ask(each, waiting) for each in opened))
    took = time.perf_counter() - began
    for each in opened:
        each.close()
    return len(requests) / took


async def steady(
    url: str, requests: Sequence[Ready], rate: float, connections: int, status: int
) -> list[float]:
    """Return the seconds that each request took, in order of size, when `rate` of them come a
    second whether the ones before were answered or not; waiting for a connection counts."""
    free: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(connections):
        free.put_nowait(await Connection.open(url))
    took: list[float] = []

    async def ask(request: Ready, due: float) -> None:
        connection = await free.get()
        got = await connection.ask(request)
        assert got == status, f"status {got}"
        took.append(time.perf_counter() - due)
        free.put_nowait(connection)

    began = time.perf_counter()
    asked = []
    for number, request in enumerate(requests):
        due = began + number / rate
        if (early := due - time.perf_counter()) > 0:
            await asyncio.sleep(early)
        asked.append(asyncio.ensure_future(ask(request, due)))
    await asyncio.gather(*asked)
    while not free.empty():
        free.get_nowait().close()
    return sorted(took)


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the value below which so many percent are."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def new_id() -> str:
    """Return a message's id."""
    return os.urandom(16).hex()
