"""The relay, a process as whoever runs one starts it; and how phones reach it, each from its own
address."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from .telling import PATIENCE, DemoFailed

_PIECE = 1 << 16


@contextlib.asynccontextmanager
async def running_relay(directory: Path) -> AsyncIterator[int]:
    """Run a relay whose database and log, which tells all it can, are in `directory`. Gives its
    port."""
    data = directory / "data"
    data.mkdir(mode=0o700, parents=True)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    own = {k: v for k, v in os.environ.items() if not k.startswith("HUSHBEAR_RELAY_")}
    with (directory / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "hushbear_relay", "serve", "--data", str(data),
            "--listen", f"127.0.0.1:{port}", "--metrics", "",
            env=own | {"HUSHBEAR_RELAY_LOG_LEVEL": "debug"}, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        await _answering(process, port, directory / "log")
        yield port
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _answering(process: asyncio.subprocess.Process, port: int, log: Path) -> None:
    loop = asyncio.get_running_loop()
    until = loop.time() + PATIENCE
    while process.returncode is None and loop.time() < until:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.05)
    raise DemoFailed(f"the relay does not start: {log.read_text()[-500:]}")


@contextlib.asynccontextmanager
async def line(address: str, port: int) -> AsyncIterator[str]:
    """A way to the relay at `port`, to which it comes from `address`, one of this computer's.
    Gives the URL at which the relay is found there."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pump(reader, there[1]), _pump(there[0], writer))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(_PIECE):
            writer.write(piece)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()
        await writer.wait_closed()
