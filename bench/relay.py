"""What a relay does on this machine: messages a second, how long they take, memory, long polls.

Relay and load share the cores. Rows that compare are of one run. HUSHBEAR_BENCH_LONG=1 stores 10⁶
messages, too, and measures for longer.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import resource
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from host_tests.relay.postgres import Postgres, missing
from host_tests.relay.running import Process, free_port, settings
from hushbear_relay import names, signing

from .figures import Figure, Row
from .relay_load import Connection, Ready, bare, fastest, new_id, percentile, ready, steady

LONG = bool(os.environ.get("HUSHBEAR_BENCH_LONG"))
SIZES = {80_000: "80 kB", 324_000: "324 kB"}
STORED = (0, 10_000, 100_000, *((1_000_000,) if LONG else ()))
PROCESSES = (1, 2, 4)
POLLS = 10_000
_CONNECTIONS = 16
_BYTES = (80_000_000, 320_000_000)[LONG]  # that one row moves
_SMALL = (1500, 6000)[LONG]  # requests of a row without bodies
_BODY = 1000  # bytes of the messages that are only there
_OWNERS = 50
_BATCH = 10_000

SQLITE, POSTGRESQL = "relay, SQLite", "relay, PostgreSQL"

_FAST = f"{_CONNECTIONS} connections, each asking again at once"
_HALF = "at half of the messages a second that were reached, arriving evenly; waiting counts"
_MANY = "lists and puts of 1 kB side by side"
_OTHERS = "; beside it: of what it is with none stored"

HELLO = Figure("the framework's bare hello", "requests/s", f"FastAPI on uvicorn; {_FAST}")
ABOUT = Figure("an empty mailbox listed", "requests/s", f"signed; {_FAST}")


def _loaded(stored: int) -> dict[tuple[Any, ...], Figure]:
    """Return what is measured of a relay that has so many messages of other people: by
    ("in" or "out", bytes), by ("in" or "out", bytes, percentile), ("mixed",) and ("memory",)."""
    where = f", {stored:,} stored" if stored else ""
    beside = _OTHERS if stored else ""
    found: dict[tuple[Any, ...], Figure] = {}
    for size, name in SIZES.items():
        for way in ("in", "out"):
            found[way, size] = Figure(
                f"messages {way}, {name}{where}", "messages/s", _FAST + beside
            )
            for p in (50, 99):
                found[way, size, p] = Figure(f"message {way}, {name}, p{p}{where}", "ms", _HALF)
    found["mixed",] = Figure(f"lists and puts{where}", "requests/s", _MANY + beside)
    found["memory",] = Figure(f"memory after all that{where}", "MB", "resident, of one process")
    return found


LOADED = {stored: _loaded(stored) for stored in STORED}
SCALED = {
    n: Figure(f"messages in, 80 kB, {n} process{'es' * (n > 1)}", "messages/s",
              f"sharing one port and one PostgreSQL; {_FAST}")
    for n in PROCESSES
}  # fmt: skip
HELD = Figure(
    "long polls held", "polls", f"{POLLS:,} asked for, each answered when a message came"
)
HELD_MEMORY = Figure("memory for a long poll", "kB", "resident with all of them, less without")
WOKEN = Figure(
    "until a long poll is answered", "ms", "from the answer to the put, with all others waiting"
)
FIGURES = [
    HELLO, ABOUT, *(figure for figures in LOADED.values() for figure in figures.values()),
    *SCALED.values(), HELD, HELD_MEMORY, WOKEN,
]  # fmt: skip


def measure() -> Iterator[Row]:
    import uvloop

    with tempfile.TemporaryDirectory(prefix="hushbear-bench-") as name:
        directory = Path(name)
        hello = uvloop.run(_hello(directory))
        yield HELLO.on(SQLITE, hello)
        yield uvloop.run(_about(directory / "about", hello))
        yield from uvloop.run(_all_loaded(directory))
        yield from uvloop.run(_polls(directory / "polls"))
        if reason := missing():
            yield from (figure.missing(POSTGRESQL, reason) for figure in SCALED.values())
        else:
            yield from uvloop.run(_scaled(directory / "scaled"))


class _Mailboxes:
    """Mailboxes at a relay, each with one member."""

    def __init__(self, url: str, count: int = _OWNERS) -> None:
        self.url = url
        self.owners = [Ed25519PrivateKey.generate() for _ in range(count)]
        self.writer = Ed25519PrivateKey.generate()
        self.names = [names.mailbox_of(signing.public_bytes(key)) for key in self.owners]

    async def make(self) -> None:
        requests = []
        for key, mailbox in zip(self.owners, self.names, strict=True):
            member = names.member_of(mailbox, signing.public_bytes(self.writer))
            body = f'{{"members":["{member.hex()}"]}}'.encode()
            url = f"{self.url}/v1/mailboxes/{mailbox.hex()}"
            requests.append(ready(key, "PUT", url, body, "application/json"))
        await fastest(self.url, requests, 1, 201)

    def puts(self, count: int, body: bytes) -> tuple[list[Ready], list[tuple[int, str]]]:
        """Return puts of messages, and in which mailbox each is, under which id."""
        places = [(number % len(self.names), new_id()) for number in range(count)]
        return [
            ready(self.writer, "PUT", self._message(place, message), body)
            for place, message in places
        ], places

    def gets(self, places: list[tuple[int, str]]) -> list[Ready]:
        return [
            ready(self.owners[place], "GET", self._message(place, message))
            for place, message in places
        ]

    def lists(self, count: int, query: str = "") -> list[Ready]:
        return [
            ready(
                self.owners[number % len(self.owners)],
                "GET",
                f"{self.url}/v1/mailboxes/{self.names[number % len(self.names)].hex()}"
                f"/messages{query}",
            )
            for number in range(count)
        ]

    def _message(self, place: int, message: str) -> str:
        return f"{self.url}/v1/mailboxes/{self.names[place].hex()}/messages/{message}"


def _relay(directory: Path, database: str = "", **more: Any) -> Process:
    given: dict[str, Any] = {
        "log_level": "warning",
        "mailboxes_per_minute": 10**6,
        "mailbox_messages": 10**7,
        "member_messages": 10**7,
        "mailbox_bytes": 10**12,
        "member_bytes": 10**12,
        "wait_max": 600,
    }
    return Process(settings(directory, database, **given | more))


@contextlib.contextmanager
def _started(process: Process) -> Iterator[Process]:
    process.start()
    try:
        yield process
    finally:
        process.kill()


def _resident(process: Process) -> float:
    """Return the MB that a process has in memory."""
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def _serve_hello(port: int) -> None:
    import uvicorn
    from fastapi import FastAPI
    from fastapi.responses import PlainTextResponse

    app = FastAPI(openapi_url=None)

    @app.get("/", response_class=PlainTextResponse)
    async def hello() -> str:
        return "hello"

    uvicorn.run(app, port=port, log_level="error", access_log=False, loop="uvloop")


async def _hello(directory: Path) -> float:
    port = free_port()
    process = multiprocessing.get_context("forkserver").Process(target=_serve_hello, args=(port,))
    process.start()
    try:
        url = f"http://127.0.0.1:{port}"
        while True:
            with contextlib.suppress(OSError):
                (await Connection.open(url)).close()
                break
            await asyncio.sleep(0.05)
        request = bare(f"{url}/")
        await fastest(url, [request] * 500, _CONNECTIONS, 200)
        return await fastest(url, [request] * 3 * _SMALL, _CONNECTIONS, 200)
    finally:
        process.kill()
        process.join()


async def _about(directory: Path, hello: float) -> Row:
    with _started(_relay(directory)) as process:
        boxes = _Mailboxes(process.url)
        await boxes.make()
        await fastest(process.url, boxes.lists(200), _CONNECTIONS, 200)
        rate = await fastest(process.url, boxes.lists(_SMALL), _CONNECTIONS, 200)
        return ABOUT.on(SQLITE, rate, f"{100 * rate / hello:.0f} % of hello")


async def _all_loaded(directory: Path) -> list[Row]:
    rows: list[Row] = []
    none_stored: dict[tuple[Any, ...], float] = {}
    for stored, figures in LOADED.items():
        process = _relay(directory / str(stored))
        with _started(process):
            process.stop()
        _fill(directory / str(stored) / "relay.sqlite", stored)
        with _started(process):
            measured = await _load(process)
        none_stored = none_stored or measured
        for what, figure in figures.items():
            share = f"{100 * measured[what] / none_stored[what]:.0f} %" if stored else ""
            rows.append(figure.on(SQLITE, measured[what], share))
    return rows


async def _load(process: Process) -> dict[tuple[Any, ...], float]:
    """Return what a relay does, by the keys of _loaded()."""
    url = process.url
    boxes = _Mailboxes(url)
    await boxes.make()
    measured: dict[tuple[Any, ...], float] = {}
    for warm in (True, False):
        puts, _ = boxes.puts(100 if warm else _SMALL // 2, os.urandom(_BODY))
        measured["mixed",] = await _mixed(url, puts, boxes.lists(len(puts), "?limit=1"))
    for size in SIZES:
        body, count = os.urandom(size), max(50, _BYTES // size)
        puts, places = boxes.puts(count, body)
        again, _ = boxes.puts(count, body)
        for way, first, later, status in (
            ("in", puts, again, 201), ("out", boxes.gets(places), boxes.gets(places), 200)
        ):  # fmt: skip
            rate = measured[way, size] = await fastest(url, first, _CONNECTIONS, status)
            took = await steady(url, later, rate / 2, 4 * _CONNECTIONS, status)
            for p in (50, 99):
                measured[way, size, p] = 1e3 * percentile(took, p)
    measured["memory",] = _resident(process)
    return measured


async def _mixed(url: str, puts: list[Ready], lists: list[Ready]) -> float:
    """Return the requests a second of both kinds, asked side by side."""
    began = time.perf_counter()
    await asyncio.gather(
        fastest(url, puts, _CONNECTIONS // 2, 201), fastest(url, lists, _CONNECTIONS // 2, 200)
    )
    return (len(puts) + len(lists)) / (time.perf_counter() - began)


def _fill(file: Path, count: int) -> None:
    """Store messages of other people: 100 in a mailbox, straight into the tables."""
    now = int(time.time())
    with contextlib.closing(sqlite3.connect(file)) as connection:
        for at in range(0, count, _BATCH):
            boxes = [os.urandom(32) for _ in range(_BATCH // 100)]
            member = os.urandom(32)
            connection.executemany(
                "INSERT INTO mailboxes (id, seen, last, messages, bytes) VALUES (?, ?, ?, 100, ?)",
                [(box, now // 86400, now * 10**6, 100 * _BODY) for box in boxes],
            )
            connection.executemany(
                "INSERT INTO members (mailbox, id, messages, bytes) VALUES (?, ?, 100, ?)",
                [(box, member, 100 * _BODY) for box in boxes],
            )
            connection.executemany(
                "INSERT INTO messages (number, mailbox, id, position, member, size, digest,"
                " received, expires) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (at + n + 1, boxes[n // 100], os.urandom(16), now * 10**6 + n, member, _BODY,
                     os.urandom(32), now, now + 86400 * 30)
                    for n in range(_BATCH)
                ],
            )  # fmt: skip
            connection.executemany(
                "INSERT INTO bodies (message, body) VALUES (?, ?)",
                [(at + n + 1, os.urandom(_BODY)) for n in range(_BATCH)],
            )
            connection.commit()


async def _polls(directory: Path) -> list[Row]:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if most < POLLS + 1000:
        why = f"only {most} files may be open: ulimit -Hn {POLLS + 1000}"
        return [figure.missing(SQLITE, why) for figure in (HELD, HELD_MEMORY, WOKEN)]
    with _started(_relay(directory)) as process:
        boxes = _Mailboxes(process.url, 100)
        await boxes.make()
        before = _resident(process)
        polls = boxes.lists(POLLS, "?wait=600")
        opened: list[Connection] = []
        answers: list[asyncio.Task[int]] = []
        for at in range(0, POLLS, 200):
            for poll in polls[at : at + 200]:
                opened.append(await Connection.open(process.url))
                answers.append(asyncio.ensure_future(opened[-1].ask(poll)))
            await asyncio.sleep(0)
        await _until_polls(process, POLLS)
        held = POLLS - sum(answer.done() for answer in answers)
        memory = 1e3 * (_resident(process) - before) / POLLS
        # One mailbox gets a message: its hundred polls are answered, the others go on waiting.
        puts, places = boxes.puts(len(boxes.names), b"x")
        mine = [answers[n] for n in range(POLLS) if n % len(boxes.names) == places[0][0]]
        await fastest(process.url, puts[:1], 1, 201)
        began = time.perf_counter()
        await asyncio.wait(mine, return_when=asyncio.FIRST_COMPLETED)
        woken = 1e3 * (time.perf_counter() - began)
        await fastest(process.url, puts[1:], 1, 201)
        done = await asyncio.wait_for(asyncio.gather(*answers), 120)
        assert set(done) == {200} and held == POLLS
        for each in opened:
            each.close()
    return [
        HELD.on(SQLITE, held, f"{before + memory * POLLS / 1e3:.0f} MB in all"),
        HELD_MEMORY.on(SQLITE, memory),
        WOKEN.on(SQLITE, woken),
    ]


async def _until_polls(process: Process, count: int) -> None:
    async with asyncio.timeout(180):
        while True:
            await asyncio.sleep(0.5)
            reader, writer = await asyncio.open_connection(*process.metrics[7:].split(":"))
            writer.write(b"GET /metrics HTTP/1.0\r\nHost: relay\r\n\r\n")
            text = (await reader.read()).decode()
            writer.close()
            if f"hushbear_relay_long_polls {count}.0" in text:
                return


async def _scaled(directory: Path) -> list[Row]:
    server = Postgres(free_port())
    rows = []
    try:
        server.start("-c max_wal_size=4GB")
        first = 0.0
        for count in PROCESSES:
            url = server.database()
            processes = [_relay(directory, url, reuse_port=True) for _ in range(count)]
            with contextlib.ExitStack() as stack:
                for process in processes:
                    process.url = processes[0].url
                    stack.enter_context(_started(process))
                    await _until_polls(process, 0)
                boxes = _Mailboxes(processes[0].url)
                await boxes.make()
                puts, _ = boxes.puts(_BYTES // 80_000, os.urandom(80_000))
                rate = await fastest(processes[0].url, puts, 2 * _CONNECTIONS, 201)
            first = first or rate
            rows.append(SCALED[count].on(POSTGRESQL, rate, f"{100 * rate / first:.0f} % of one"))
    finally:
        server.close()
    return rows
