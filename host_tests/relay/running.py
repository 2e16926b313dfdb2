"""Relays for tests: in the test's own event loop, or in a process that can be killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import os
import resource
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from hushbear_relay.server import serve
from hushbear_relay.server.service import Service
from hushbear_relay.server.settings import Settings

# Children come from a process that has imported all of it, and nothing else.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["hushbear_relay.server.serve", "host_tests.relay.running"])


def settings(data: Path, database: str = "", **more: Any) -> Settings:
    """Return settings that take nothing from this computer's environment."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    given: dict[str, Any] = {"data": data, "database": database, "log_level": "debug"} | more
    return Settings(**given)


@contextlib.asynccontextmanager
async def served(given: Settings) -> AsyncIterator[tuple[str, Service]]:
    """A relay in this event loop; its URL, and what its requests share."""
    service = Service(given)
    service.database.prepare()
    listener = socket.create_server(("127.0.0.1", 0))
    server = serve.Server(serve.configured(given, service))
    task = asyncio.create_task(server.serve([listener]))
    while not server.started:
        assert not task.done()
        await asyncio.sleep(0.001)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", service
    finally:
        service.arrivals.stop()
        server.should_exit = True
        await task
        await service.close()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Process:
    """A relay in a process of its own. `before` is called there first, such as to break it."""

    def __init__(self, given: Settings, before: Callable[..., None] | None = None) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self.metrics = f"http://127.0.0.1:{free_port()}"
        self.log = given.data / f"{self.url.rpartition(':')[2]}.log"
        self._settings = given
        self._before = before
        self._process: Any = None

    def start(self, *arguments: Any) -> None:
        """Start it, and wait until it serves. `arguments` are for `before`."""
        self._process = _FORKS.Process(target=self._run, args=arguments, daemon=True)
        self._process.start()
        until = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/v1"):
                return
            assert self._process.is_alive(), self.log.read_text()
            assert time.monotonic() < until
            time.sleep(0.01)

    def _run(self, *arguments: Any) -> None:
        import sys

        from hushbear_relay.server import logs

        log = os.open(self.log, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.stderr = os.fdopen(2, "w", buffering=1)
        logs.configure(self._settings.log_level)
        if self._before:
            self._before(*arguments)
        changed = {"listen": self.url[7:], "metrics": self.metrics[7:]}
        serve.serve(self._settings.model_copy(update=changed))

    @property
    def pid(self) -> int:
        return int(self._process.pid)

    @property
    def alive(self) -> bool:
        return bool(self._process.is_alive())

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.join()

    def stop(self) -> int:
        """Ask it to stop, and return its exit code."""
        os.kill(self.pid, signal.SIGTERM)
        self._process.join(60)
        return int(self._process.exitcode)

    def limit_files(self, size: int) -> None:
        """Let no file grow beyond `size` bytes, as if the disk were full; -1: as before."""
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def log_lines(self) -> list[dict[str, Any]]:
        """Return what it has logged."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]
