"""Hostile requests: malformed, oversized, truncated, slow, and tricks with paths and headers."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from host_tests.relay.people import Person
from host_tests.relay.running import served, settings
from hushbear_relay import names, signing
from hushbear_relay.client.http import JSON, OCTETS, Relay
from hushbear_relay.problems import MEDIA_TYPE
from hushbear_relay.server import protocol
from hushbear_relay.server.service import Service

Running = tuple[str, Service]


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    """A relay whose patience is short."""
    given = settings(
        tmp_path / "relay", header_seconds=0.5, body_seconds=0.5, body_rate=1_000_000, uploads=2
    )
    async with served(given) as (url, service):
        yield url, service


async def raw(url: str, *pieces: bytes, pause: float = 0.0) -> bytes:
    """Send bytes to the relay, and return all that comes until it closes the connection."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(pause)
        async with asyncio.timeout(60):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def request_line(path: str, *headers: str, method: str = "GET") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: relay", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


async def well(url: str) -> bool:
    async with Relay(url) as relay:
        return "body_max" in await relay.about()


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50),  # TLS
        b"GET\r\n\r\n",
        b"GET /v1 HTTP/9.9\r\n\r\n",
        b"\x00" * 1000,
        b"GET /v1 HTTP/1.1\r\nHost relay\r\n\r\n",
        b"GET /v1 HTTP/1.1\r\nHost: relay\r\nContent-Length: -1\r\n\r\n",
        b"GET /v1 HTTP/1.1\r\nHost: relay\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST /v1 HTTP/1.1\r\nHost: relay\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /v1 HTTP/1.1\r\nHost: relay\r\nX: a\r\n b\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
async def test_what_is_no_request_is_refused(running: Running, sent: bytes) -> None:
    answer = await raw(running[0], sent)
    assert answer == b"" or answer.split(b" ", 2)[1][:1] == b"4"
    assert await well(running[0])


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 404),
        ("/v1/", 404),
        ("//v1", 404),
        ("/v1/../v1", 404),
        ("/v1/mailboxes/..%2f..%2fetc%2fpasswd", 404),
        ("/%76%31", 404),
        ("/v1/mailboxes/" + "A" * 64, 400),
        ("/v1/mailboxes/" + "0" * 63, 400),
        ("/v1/mailboxes/" + "0" * 64 + "/", 404),
        ("/v1/mailboxes/" + "0" * 64 + "/messages/x", 400),
        ("/v1/mailboxes/" + "0" * 64 + "/messages?limit=0", 400),
        ("/v1/mailboxes/" + "0" * 64 + "/messages?limit=1e9", 400),
        ("/v1/mailboxes/" + "0" * 64 + "/messages?wait=nan", 400),
        ("/v1/mailboxes/" + "0" * 64 + "/messages?after=9223372036854775808", 400),
        ("/v1/rendezvous/0/messages/0", 400),
        ("/v1/rendezvous/99999999999999999999/messages/0", 400),
        ("/v1/rendezvous/1/messages/8", 400),
        ("/docs", 404),
        ("/metrics", 404),
        ("/health/ready", 404),
        ("*", 404),
        ("http://elsewhere/v1", 200),
    ],
)
async def test_tricks_with_paths(running: Running, path: str, status: int) -> None:
    answer = await raw(running[0], request_line(path))
    assert int(answer.split(b" ")[1]) == status
    assert status == 200 or MEDIA_TYPE.encode() in answer
    assert b"Traceback" not in answer


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (["Host: another"], 421),
        (["X-Forwarded-Host: another"], 200),
        (["X-Http-Method-Override: DELETE"], 200),
        (["Content-Length: 0"], 200),
        (["Upgrade: websocket", "Sec-WebSocket-Key: x"], 200),
        (["Cookie: " + "x" * 3000], 200),
        (["Expect: 100-continue"], 200),
    ],
)
async def test_tricks_with_headers(running: Running, headers: list[str], status: int) -> None:
    answer = await raw(running[0], request_line("/v1", *headers))
    assert int(answer.split(b" ")[1]) == status
    assert await well(running[0])


async def test_headers_without_end_are_cut_off(running: Running) -> None:
    answer = await raw(
        running[0],
        b"GET /v1 HTTP/1.1\r\nHost: relay\r\n",
        *[b"X: " + b"x" * protocol.HEAD_MAX] * 20,
    )
    assert answer == b"" or b" 431 " in answer.splitlines()[0]


async def test_headers_that_come_slowly_are_not_waited_for(running: Running) -> None:
    dripping = [bytes((byte,)) for byte in request_line("/v1")]
    began = time.monotonic()
    answer = await raw(running[0], *dripping, pause=0.1)
    assert answer == b"" or b" 408 " in answer.splitlines()[0]
    assert time.monotonic() - began < 60
    assert await raw(running[0]) in (b"", b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n"
                                     b"connection: close\r\n\r\n")  # fmt: skip


async def test_the_next_request_of_a_connection_has_bounds_too(running: Running) -> None:
    first = b"GET /v1 HTTP/1.1\r\nHost: relay\r\n\r\n"
    answer = await raw(running[0], first, b"GET /v1 HT", pause=0.3)
    assert answer.startswith(b"HTTP/1.1 200") and b" 408 " in answer


async def put(url: str, owner: Person, member: Person, *pieces: bytes, length: int) -> bytes:
    """Put a body in pieces, of which the whole is signed."""
    path = f"/v1/mailboxes/{owner.mailbox.name.hex()}/messages/{os.urandom(16).hex()}"
    key = member.at(owner)._key
    headers = signing.sign(key, "PUT", url + path, b"".join(pieces))
    lines = [f"{name}: {value}" for name, value in headers.items()]
    head = request_line(
        path, *lines, f"Content-Type: {OCTETS}", f"Content-Length: {length}", method="PUT"
    ).replace(b"Host: relay", b"Host: " + url.removeprefix("http://").encode())
    return await raw(url, head, *pieces, pause=0.2)


async def test_a_body_that_stops_is_not_waited_for(
    running: Running, owner: Person, member: Person
) -> None:
    answer = await put(running[0], owner, member, bytes(1000), length=2000)
    assert b" 408 " in answer.splitlines()[0] and b"too-slow" in answer
    assert (await owner.mailbox.list()).messages == []


async def test_bodies_that_stop_do_not_keep_others_out(
    running: Running, owner: Person, member: Person
) -> None:
    slow = [
        asyncio.create_task(put(running[0], owner, member, bytes(10), length=2000))
        for _ in range(4)
    ]
    answers = await asyncio.gather(*slow)
    assert {answer.split(b" ")[1] for answer in answers} == {b"408", b"503"}
    assert await member.at(owner).put(os.urandom(16), b"x")


async def test_a_body_that_is_not_the_signed_one_is_refused(
    running: Running, owner: Person, member: Person
) -> None:
    path = f"/v1/mailboxes/{owner.mailbox.name.hex()}/messages/{os.urandom(16).hex()}"
    key = member.at(owner)._key
    import aiohttp

    headers = signing.sign(key, "PUT", running[0] + path, b"signed") | {"Content-Type": OCTETS}
    unsigned = signing.sign(key, "PUT", running[0] + path) | {"Content-Type": OCTETS}
    compressed = signing.sign(key, "PUT", running[0] + path, b"signed") | {
        "Content-Type": OCTETS,
        "Content-Encoding": "gzip",
    }
    typed = signing.sign(key, "PUT", running[0] + path, b"signed") | {"Content-Type": JSON}
    digest = dict(headers) | {"Content-Digest": signing.content_digest(b"sent")}
    seen = []
    async with aiohttp.ClientSession() as session:
        for fields, body in (
            (headers, b"sent"), (unsigned, b"sent"), (digest, b"sent"), (compressed, b"signed"),
            (typed, b"signed"),
        ):  # fmt: skip
            async with session.put(
                running[0] + path, data=body, headers=fields, skip_auto_headers=["Content-Type"]
            ) as response:
                seen.append((response.status, (await response.json())["title"]))
    assert seen == [
        (400, "digest"), (400, "digest"), (404, "not found"), (415, "media type"),
        (415, "media type"),
    ]  # fmt: skip
    assert (await owner.mailbox.list()).messages == []


async def test_a_body_of_unknown_or_endless_length_is_refused(
    running: Running, owner: Person, member: Person
) -> None:
    answer = await put(running[0], owner, member, bytes(10), length=10**12)
    assert b" 413 " in answer.splitlines()[0]
    key = member.at(owner)._key
    path = f"/v1/mailboxes/{owner.mailbox.name.hex()}/messages/{os.urandom(16).hex()}"
    import aiohttp

    async def pieces() -> AsyncIterator[bytes]:
        while True:
            yield bytes(1000)
            await asyncio.sleep(0)

    headers = signing.sign(key, "PUT", running[0] + path, b"x") | {"Content-Type": OCTETS}
    async with aiohttp.ClientSession() as session:
        try:
            async with session.put(running[0] + path, data=pieces(), headers=headers) as response:
                assert response.status == 411
        except aiohttp.ClientError:
            pass  # the connection was closed before the answer could be read
    assert await well(running[0])


async def test_the_rest_of_a_body_that_was_refused_is_not_read_for_ever(running: Running) -> None:
    head = request_line("/v1", "Content-Length: 1000000").replace(b"Connection: close\r\n", b"")
    answer = await raw(running[0], head, *[b"x"] * 30, pause=0.1)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 200")
    assert await well(running[0])


async def test_a_request_that_is_cut_at_any_byte_stores_nothing(
    running: Running, owner: Person, member: Person
) -> None:
    url = running[0]
    path = f"/v1/mailboxes/{owner.mailbox.name.hex()}/messages/{os.urandom(16).hex()}"
    headers = signing.sign(member.at(owner)._key, "PUT", url + path, b"whole body")
    lines = [f"{name}: {value}" for name, value in headers.items()]
    whole = request_line(
        path, *lines, f"Content-Type: {OCTETS}", "Content-Length: 10", method="PUT"
    ).replace(b"Host: relay", b"Host: " + url.removeprefix("http://").encode())
    whole += b"whole body"
    host, _, port = url.removeprefix("http://").partition(":")
    for cut in [*range(0, len(whole) - 10, 37), *range(len(whole) - 10, len(whole))]:
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(whole[:cut])
        await writer.drain()
        writer.close()
    await asyncio.sleep(0.7)
    assert (await owner.mailbox.list()).messages == []
    assert b" 201 " in (await raw(url, whole)).splitlines()[0]


async def test_who_does_not_read_is_dropped(
    running: Running, owner: Person, member: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropped = asyncio.Event()

    def lost(self: protocol.BoundedProtocol, error: Exception | None) -> None:
        super(protocol.BoundedProtocol, self).connection_lost(error)
        if self.client == deaf.getsockname():
            dropped.set()

    monkeypatch.setattr(protocol.BoundedProtocol, "connection_lost", lost)
    message = os.urandom(16)
    await member.at(owner).put(message, bytes(500_000))
    url = running[0]
    path = f"/v1/mailboxes/{owner.mailbox.name.hex()}/messages/{message.hex()}"
    host, _, port = url.removeprefix("http://").partition(":")
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(deaf, (host, int(port)))
    wanted = b""
    for _ in range(20):  # more than the buffers on the way hold
        headers = signing.sign(owner.key, "GET", url + path)
        lines = [f"{name}: {value}" for name, value in headers.items()]
        wanted += (
            request_line(path, *lines)
            .replace(b"Connection: close\r\n", b"")
            .replace(b"Host: relay", b"Host: " + url.removeprefix("http://").encode())
        )
    await loop.sock_sendall(deaf, wanted)
    async with asyncio.timeout(60):
        await dropped.wait()
    deaf.close()
    assert await well(url)


async def test_forwarded_addresses_of_strangers_are_not_believed(tmp_path: Path) -> None:
    given = settings(tmp_path / "relay", proxies="192.0.2.1", mailboxes_per_minute=2)
    async with served(given) as (url, service):
        service.now = lambda: 1_800_000_010  # type: ignore[method-assign]
        statuses = []
        for turn in range(3):
            key = Person(Relay(url)).key
            path = f"/v1/mailboxes/{names.mailbox_of(signing.public_bytes(key)).hex()}"
            body = b'{"members":[]}'
            headers = signing.sign(key, "PUT", url + path, body, 1_800_000_010)
            lines = [f"{name}: {value}" for name, value in headers.items()]
            lines += [f"Content-Type: {JSON}", f"Content-Length: {len(body)}"]
            lines.append(f"X-Forwarded-For: 198.51.100.{turn}")
            head = request_line(path, *lines, method="PUT")
            head = head.replace(b"Host: relay", b"Host: " + url[7:].encode())
            statuses.append(int((await raw(url, head + body)).split(b" ")[1]))
        assert statuses == [201, 201, 429]


async def test_only_the_hosts_that_were_named_are_answered(tmp_path: Path) -> None:
    given = settings(tmp_path / "relay", hosts=("Relay.example",))
    async with served(given) as (url, _):
        answer = await raw(url, request_line("/v1"))
        assert b" 421 " in answer.splitlines()[0] and b"misdirected" in answer
        head = request_line("/v1").replace(b"Host: relay", b"Host: relay.EXAMPLE")
        assert b" 200 " in (await raw(url, head)).splitlines()[0]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{}", b"[]", b"null", b'{"members":null}', b'{"members":["00"]}', b"\xff",
        b'{"members":[],"more":1}', b'{"members":' + b"[" * 5000, b'{"members":["' + b"0" * 64,
        b'{"members":["' + b"A" * 64 + b'"]}',
    ],
)  # fmt: skip
async def test_members_that_are_none(running: Running, owner: Person, body: bytes) -> None:
    import aiohttp

    url = f"{running[0]}/v1/mailboxes/{owner.mailbox.name.hex()}"
    headers = signing.sign(owner.key, "PUT", url, body) | {"Content-Type": JSON}
    async with (
        aiohttp.ClientSession() as session,
        session.put(url, data=body, headers=headers) as response,
    ):
        assert response.status == 400, await response.text()
