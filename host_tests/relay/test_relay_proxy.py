"""Caddy before a relay, by the Caddyfile that we give: with certificates of its own making, and
on other ports, as `_configuration` says."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import shutil
import socket
import ssl
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from host_tests.relay.people import Person
from host_tests.relay.running import free_port, served, settings
from host_tests.targets import ROOT
from hushbear_relay.client.errors import Unreachable
from hushbear_relay.client.http import Relay

CADDYFILE = ROOT / "relay" / "deploy" / "Caddyfile"
CADDY = shutil.which("caddy")
CLIENT = "127.0.0.77"

pytestmark = pytest.mark.skipif(not CADDY, reason="no Caddy: Debian's package caddy")


def _caddy(*arguments: str, upstream: str = "relay:8421") -> str:
    """Run one of Caddy's commands on the Caddyfile, and return what it prints."""
    assert CADDY
    environment = {**os.environ, "RELAY_HOST": "localhost", "RELAY_UPSTREAM": upstream}
    done = subprocess.run(
        [CADDY, *arguments, "--config", str(CADDYFILE), "--adapter", "caddyfile"],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def _configuration(directory: Path, port: int, upstream: str) -> dict[str, Any]:
    """Return the Caddyfile as JSON, with a port that nobody has, and nothing put elsewhere."""
    found: dict[str, Any] = json.loads(_caddy("adapt", upstream=upstream))
    (server,) = found["apps"]["http"]["servers"].values()
    server["listen"] = [f"127.0.0.1:{port}"]
    server["automatic_https"] = {"disable_redirects": True}
    found["apps"]["pki"] = {"certificate_authorities": {"local": {"install_trust": False}}}
    found["storage"] = {"module": "file_system", "root": str(directory)}
    return found


class Proxy:
    """Caddy as a process."""

    def __init__(self, directory: Path, upstream: str, port: int) -> None:
        self.port = port
        self.url = f"https://localhost:{self.port}"
        self.log = directory / "log"
        self._directory = directory
        self._configuration = _configuration(directory / "data", self.port, upstream)

    async def start(self) -> None:
        """Start it, and wait until it has made its certificates and serves."""
        assert CADDY
        file = self._directory / "caddy.json"
        file.write_text(json.dumps(self._configuration))
        with self.log.open("w") as log:
            self._process = await asyncio.create_subprocess_exec(
                CADDY, "run", "--config", str(file), stdout=log, stderr=log,
                env={**os.environ, "HOME": str(self._directory)},
            )  # fmt: skip
        root = self._directory / "data" / "pki" / "authorities" / "local" / "root.crt"
        while True:
            assert self._process.returncode is None, self.log.read_text()
            with contextlib.suppress(OSError):
                self.trust = ssl.create_default_context(cafile=root)
                _, writer = await asyncio.open_connection(
                    "127.0.0.1", self.port, ssl=self.trust, server_hostname="localhost"
                )
                writer.close()
                return
            await asyncio.sleep(0.02)

    async def stop(self) -> None:
        self._process.kill()
        await self._process.wait()


@contextlib.asynccontextmanager
async def proxied(
    directory: Path, upstream: str, monkeypatch: pytest.MonkeyPatch, port: int = 0
) -> AsyncIterator[Proxy]:
    """A proxy that runs, and that this process's clients trust."""
    directory.mkdir(exist_ok=True)
    proxy = Proxy(directory, upstream, port or free_port())
    await proxy.start()
    connector = functools.partial(
        aiohttp.TCPConnector, ssl=proxy.trust, local_addr=(CLIENT, 0), family=socket.AF_INET
    )
    monkeypatch.setattr("hushbear_relay.client.http.aiohttp.TCPConnector", connector)
    try:
        yield proxy
    finally:
        await proxy.stop()


class Upstream:
    """Stands where the relay would, and notes what comes. A path with `drop` gets no answer."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.headers: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                line, *self.headers = head.rstrip().split(b"\r\n")
                for header in self.headers:
                    if header.lower().startswith(b"content-length:"):
                        await reader.readexactly(int(header.partition(b":")[2]))
                self.requests[line.decode().rpartition(" ")[0]] += 1
                if b"drop" in line:
                    break
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()


def test_the_configuration_is_valid() -> None:
    _caddy("validate")


async def test_a_conversation_through_the_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, long: bool
) -> None:
    # With `hosts`, a relay answers only what is addressed to the name that the client used.
    port = free_port()
    given = settings(tmp_path / "relay", hosts=(f"localhost:{port}",))
    async with (
        served(given) as (url, _),
        proxied(tmp_path / "caddy", url[7:], monkeypatch, port) as proxy,
        Relay(proxy.url) as relay,
    ):
        owner, member = Person(relay), Person(relay)
        letterbox = member.at(owner)
        assert await owner.mailbox.put([member.member_at(owner)])
        body = os.urandom(given.body_max)
        assert await letterbox.put(b"a" * 16, body)
        assert not await letterbox.put(b"a" * 16, body)
        assert [each.id for each in (await owner.mailbox.list()).messages] == [b"a" * 16]
        assert await owner.mailbox.get(b"a" * 16) == body
        await owner.mailbox.remove(b"a" * 16)
        assert (await owner.mailbox.list(wait=60 if long else 1)).messages == []
        poll = asyncio.create_task(owner.mailbox.list(wait=60))
        await letterbox.put(b"b" * 16, b"b")
        assert [each.id for each in (await poll).messages] == [b"b" * 16]


@contextlib.asynccontextmanager
async def before_upstream(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Upstream, Proxy, aiohttp.ClientSession]]:
    """What counts requests, a proxy before it, and a client that keeps connections."""
    upstream = Upstream()
    listener = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    address = f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    async with (
        listener,
        proxied(directory, address, monkeypatch) as proxy,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector()) as session,
    ):
        yield upstream, proxy, session


async def test_the_proxy_sends_a_request_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with before_upstream(tmp_path, monkeypatch) as (upstream, proxy, session):
        for method, body in (("GET", None), ("PUT", b"x"), ("DELETE", None), ("HEAD", None)):
            # A connection that was of use before is one on which a request could be tried again.
            async with session.get(f"{proxy.url}/fine") as response:
                assert response.status == 204
            async with session.request(method, f"{proxy.url}/drop", data=body) as response:
                assert response.status == 502
            assert upstream.requests[f"{method} /drop"] == 1


async def test_the_proxy_tells_the_clients_address_and_believes_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with before_upstream(tmp_path, monkeypatch) as (upstream, proxy, session):
        forged = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "http"}
        await session.get(f"{proxy.url}/", headers=forged)
    sent = {header.lower() for header in upstream.headers}
    assert f"host: localhost:{proxy.port}".encode() in sent
    assert {each for each in sent if each.startswith(b"x-forwarded-for")} == {
        f"x-forwarded-for: {CLIENT}".encode()
    }
    assert b"x-forwarded-proto: https" in sent


async def test_the_proxy_logs_nothing_of_who_asks_while_the_relay_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    async with proxied(tmp_path, nowhere, monkeypatch) as proxy, Relay(proxy.url) as relay:
        owner = Person(relay)
        with pytest.raises(Unreachable):
            await owner.mailbox.list()
    said = proxy.log.read_text()
    assert CLIENT not in said
    assert owner.mailbox.name.hex() not in said
