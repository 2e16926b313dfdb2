"""What the child recorded, from the toy onto this disk: never half a file, never one lost.

The message is kept sealed, byte for byte, and written as a WAV where somebody can find it. The
order makes it safe: each file is written beside its place, flushed to the disk and renamed; only
then is the toy told that the message may go.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from . import message, sealing
from .errors import BadMessage, FileProblem
from .private import write_private
from .records import Entry

if TYPE_CHECKING:
    from .client import Client, Progress


async def fetch_into(
    client: Client,
    entry: Entry,
    directory: Path,
    sealed: Path,
    progress: Progress | None = None,
) -> tuple[Path, Path]:
    """Fetch one message, tell the toy, and return the paths of the WAV, in `directory`, and of the
    message as it came, in `sealed`.

    A message that does not open is kept sealed all the same, but the toy is not told.
    """
    kept = sealed / f"{entry.id.hex()}.message"
    content = _kept(kept, client.family)
    if content is None:
        part = sealed / f".{entry.id.hex()}.part"
        content = await client.fetch(entry, part, progress)
        _keep(kept, content)
        with contextlib.suppress(OSError):
            part.unlink()
    path = save(content, client.family, directory)
    await client.fetched(entry.id)
    return path, kept


def prepare(directory: Path, *, private: bool = False) -> None:
    """Make the directory, or raise FileProblem."""
    try:
        directory.mkdir(mode=0o700 if private else 0o777, parents=True, exist_ok=True)
    except OSError as error:
        raise _problem(directory, error) from None


def save(content: bytes, family: Mapping[int, bytes], directory: Path) -> Path:
    """Open a message and write it as WAV, on the disk when this returns. The same one twice is
    one file. Raises as sealing.unseal() does."""
    header, blocks = sealing.unseal(content, family)
    wav = message.to_wav(blocks)
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


def _kept(path: Path, family: Mapping[int, bytes]) -> bytes | None:
    """Return the message at `path`, where it is there, whole and genuine."""
    with contextlib.suppress(OSError, BadMessage):
        content = path.read_bytes()
        header, _ = sealing.unseal(content, family)
        if path.stem == header.id.hex():
            return content
    return None


def _keep(path: Path, content: bytes) -> None:
    try:
        write_private(path, content)
    except OSError as error:
        raise _problem(path.parent, error) from None


def _problem(directory: Path, error: OSError) -> FileProblem:
    return FileProblem(
        f"{directory} cannot be written: {error.strerror}.",
        "Make room, or choose another directory.",
    )
