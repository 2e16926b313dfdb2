"""What the child recorded, from the toy into a directory: never half a file, never one lost.

The order makes it safe: the WAV is written beside its place, flushed to the disk and renamed;
only then is the toy told that the message may go.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

from . import message
from .errors import FileProblem
from .keystore import write_private
from .records import Entry

if TYPE_CHECKING:
    from .client import Client, Progress


async def fetch_into(
    client: Client, entry: Entry, directory: Path, progress: Progress | None = None
) -> Path:
    """Fetch one message into `directory`, tell the toy, and return the WAV's path."""
    part = directory / f".{entry.id.hex()}.part"
    content = await client.fetch(entry, part, progress)
    path = save(content, directory)
    with contextlib.suppress(OSError):
        part.unlink()
    await client.fetched(entry.id)
    return path


def prepare(directory: Path) -> None:
    """Make the directory, or raise FileProblem."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _problem(directory, error) from None


def save(content: bytes, directory: Path) -> Path:
    """Write a message as WAV, on the disk when this returns. The same one twice is one file."""
    header, _ = message.parse(content)
    wav = message.to_wav(content)
    short = header.id.hex()[:8]
    try:
        for old in directory.glob(f"*_{short}.wav"):
            if old.stat().st_size == len(wav) and old.read_bytes() == wav:
                return old
        moment = time.localtime(header.time)
        date = time.strftime("%Y-%m-%d_%H-%M-%S", moment) if header.time else "undated"
        path = directory / f"{date}_{short}.wav"
        if path.exists():
            path = directory / f"{date}_{header.id.hex()}.wav"
        write_private(path, wav)
    except OSError as error:
        raise _problem(directory, error) from None
    return path


def _problem(directory: Path, error: OSError) -> FileProblem:
    return FileProblem(
        f"{directory} cannot be written: {error.strerror}.",
        "Make room, or choose another directory.",
    )
