"""How the command speaks: lines and tables for people, JSON for programs, bars for transfers."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, TextIO

from .errors import HushbearError
from .records import Entry, Settings, Status, printable


class Output:
    """Where one command's result goes. With `as_json` stdout holds one JSON object, always."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json

    def result(self, values: dict[str, Any], *lines: str) -> None:
        """Print the result: `values` for programs, `lines` for people."""
        if self.as_json:
            print(json.dumps(values, ensure_ascii=False))
        else:
            for line in lines:
                print(line)

    def table(self, values: dict[str, Any], heads: tuple[str, ...], rows: list[list[str]]) -> None:
        """Print a result that is a table for people."""
        if self.as_json:
            self.result(values)
            return
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(*heads, box=box.SIMPLE_HEAD, pad_edge=False)
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        console = Console()
        if not console.is_terminal:
            console = Console(width=160)
        console.print(table)

    def line(self, text: str) -> None:
        """Print a part of the result, for people, as soon as it is there."""
        if not self.as_json:
            print(text, flush=True)

    def waiting(self, text: str) -> None:
        """Say what is being waited for."""
        if not self.as_json:
            print(text, file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def progress(self, label: str) -> Iterator[Callable[[int, int], None]]:
        """Give a function (done, total) that moves a bar on a terminal."""
        if self.as_json or not sys.stderr.isatty():
            yield lambda done, total: None
            return
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        with Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        ) as bars:
            task = bars.add_task(label, total=None)
            yield lambda done, total: bars.update(task, completed=done, total=total)


class LastingOutput(Output):
    """Of a command that goes on when nobody listens any more: a pipe whose reader is gone, a full
    disk."""

    def line(self, text: str) -> None:
        with _listened_to(sys.stdout):
            super().line(text)

    def waiting(self, text: str) -> None:
        with _listened_to(sys.stderr):
            super().waiting(text)


@contextlib.contextmanager
def _listened_to(stream: TextIO) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.EPIPE, errno.EIO):  # for good: the buffer would fail at the end
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), stream.fileno())


def report(error: HushbearError, as_json: bool) -> None:
    """Print an error: one line for people, an object with the key `error` for programs."""
    if as_json:
        print(json.dumps({"error": error_values(error)}, ensure_ascii=False))
    else:
        line = " ".join(str(error).split())
        print(f"hushbear: {printable(line)}", file=sys.stderr)


def error_values(error: HushbearError) -> dict[str, str]:
    """Return the keys of an error."""
    return {"code": error.code, "message": error.message, "hint": error.hint}


def entry_values(entry: Entry, sender: bytes | None) -> dict[str, Any]:
    """Return the keys of a message; `sender` is this phone's."""
    return {
        "id": entry.id.hex(),
        "box": entry.box.name.lower(),
        "sequence": entry.sequence,
        "from": sender_name(entry.sender, sender),
        "size": entry.size,
        "seconds": round(entry.seconds, 2),
        "time": iso(entry.time),
        "done": entry.done,
    }


def sender_name(sender: bytes, own: bytes | None) -> str:
    """Return who a message is from: "toy", "here", or eight bytes in hexadecimal."""
    return "here" if sender == own else sender.hex() if any(sender) else "toy"


def status_values(status: Status) -> dict[str, Any]:
    """Return the keys of a status."""
    return {
        "protocol": status.protocol,
        "firmware": status.firmware,
        "doing": status.doing.name.lower(),
        "quiet_now": status.quiet_now,
        "uptime": status.uptime,
        "clock": iso(status.clock),
        "battery_mv": status.battery_mv,
        "free": status.free,
        "total": status.total,
        "heap_free": status.heap_free,
        "inbox": status.inbox,
        "unheard": status.unheard,
        "outbox": status.outbox,
        "unfetched": status.unfetched,
        "crashlog": status.crashlog,
    }


def settings_values(settings: Settings) -> dict[str, Any]:
    """Return the keys of the settings."""
    return {
        "volume": settings.volume,
        "volume_max": settings.volume_max,
        "led": settings.led,
        "quiet_hours": {
            "on": settings.quiet,
            "from": clock_time(settings.quiet_from),
            "to": clock_time(settings.quiet_to),
        },
        "record_min": settings.record_min_ms / 1000,
        "record_max": settings.record_max_s,
        "keep_days": settings.keep_days,
        "keep_until_heard": settings.keep_until_heard,
        "language": settings.language or None,
    }


def kept(settings: Settings) -> str:
    """Return how long messages are kept."""
    days = f"kept for {settings.keep_days} days" if settings.keep_days else ""
    if settings.keep_until_heard:
        return f"{days}, or until heard or fetched" if days else "kept until heard or fetched"
    return days or "kept as long as there is room"


def clock_time(minutes: int) -> str:
    """Return minutes after midnight as HH:MM."""
    return f"{minutes // 60:02}:{minutes % 60:02}"


def iso(moment: datetime | None) -> str | None:
    """Return a moment as JSON has it: ISO 8601 in UTC, or null."""
    return moment.isoformat() if moment else None


def when(moment: datetime | None) -> str:
    """Return a moment as people read it, in local time."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M") if moment else "unknown"
