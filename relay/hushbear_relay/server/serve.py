"""The process: two servers on one event loop, the purge beside them, and a graceful stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
from collections.abc import Iterator
from typing import Any

import structlog
import uvicorn

from . import app, metrics, upkeep
from .errors import Refused, RelayError
from .protocol import BoundedProtocol
from .service import Service
from .settings import Address, Settings, check_private

_PURGE_SECONDS = 60
_BACKLOG = 2048
_KEEP_ALIVE_SECONDS = 15

_log = structlog.get_logger()


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises RelayError if it cannot start."""
    os.umask(0o077)
    if settings.tls_key:
        check_private(settings.tls_key)
    _raise_file_limit()
    with contextlib.suppress(ImportError):
        import uvloop

        uvloop.run(_serve(settings))
        return
    asyncio.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    service = Service(settings)
    try:
        service.database.prepare()
        if service.store:
            service.store.check()
        listeners = [_bind(settings.listen, settings.reuse_port)]
        servers = [Server(configured(settings, service))]
        if settings.metrics:
            listeners.append(_bind(settings.metrics, False))
            own = metrics.application(service.metrics, service.ready)
            servers.append(Server(uvicorn.Config(own, lifespan="off", **_PLAIN)))
        _stop_on_signals(service, servers)
        purge = asyncio.create_task(_purge(service))
        _log.info("serving", listen=settings.listen, metrics=settings.metrics)
        try:
            await asyncio.gather(
                *(
                    server.serve([listener])
                    for server, listener in zip(servers, listeners, strict=True)
                )
            )
        finally:
            purge.cancel()
            await asyncio.gather(purge, return_exceptions=True)
    finally:
        await service.close()
        _log.info("stopped")


_PLAIN: dict[str, Any] = {
    "log_config": None,
    "access_log": False,
    "server_header": False,
    "ws": "none",
    "backlog": _BACKLOG,
}


class Server(uvicorn.Server):
    """uvicorn's server, whose signals are caught below, for all servers at once."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def configured(settings: Settings, service: Service) -> uvicorn.Config:
    """Return how the API is served."""

    class Protocol(BoundedProtocol):
        head_seconds = settings.header_seconds
        read_seconds = settings.body_seconds

    return uvicorn.Config(
        app.build(settings, service),
        http=Protocol,
        lifespan="on",
        proxy_headers=True,
        forwarded_allow_ips=settings.proxies,
        timeout_graceful_shutdown=round(settings.stop_seconds),
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
        **_PLAIN,
    )


def _stop_on_signals(service: Service, servers: list[Server]) -> None:
    """At the first signal, let requests finish and end long polls; at the second, stop."""

    def stop() -> None:
        for server in servers:
            server.force_exit = server.should_exit
            server.should_exit = True
        service.arrivals.stop()

    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop)


async def _purge(service: Service) -> None:
    """Purge about once a minute; several processes may do so at the same time."""
    while True:
        await asyncio.sleep(_PURGE_SECONDS * (0.75 + random.random() / 2))
        try:
            counts = await service.run(
                lambda: upkeep.purge(service.database, service.store, service.settings)
            )
        except Refused as refused:
            _log.error("purging failed", exc_info=refused.__cause__)
            continue
        service.metrics.messages.labels("expired").inc(counts.messages)


def _bind(address: str, reuse_port: bool) -> socket.socket:
    where = Address(address)
    try:
        (family, kind, protocol, _, sockaddr), *_ = socket.getaddrinfo(
            where.host, where.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(sockaddr)
    except OSError as error:
        raise RelayError(
            f"{address} cannot be listened on: {error.strerror}.", "Choose another address."
        ) from None
    return listener


def _raise_file_limit() -> None:
    """Allow as many connections as the system lets this process have."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
