"""What has come through the relay for this phone itself, sealed, one file for each message."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from . import message
from .errors import BadMessage
from .private import data_directory
from .toy import Toy


@dataclass(frozen=True)
class Received:
    """A message for this phone: from the toy's child, or from somebody in its family."""

    header: message.Header
    size: int
    path: Path

    @property
    def seconds(self) -> float:
        """How long it is."""
        return message.duration(self.size)


def received_directory(toy: Toy, directory: Path | None = None) -> Path:
    """Return where messages for this phone are, sealed, as `ID.message`."""
    return (directory or data_directory()) / toy.id.hex() / "received"


def fetched_directory(toy: Toy, directory: Path | None = None) -> Path:
    """Return where messages from the toy are, sealed, as `ID.message`."""
    return (directory or data_directory()) / toy.id.hex() / "fetched"


def received(toy: Toy, directory: Path | None = None) -> list[Received]:
    """Return what has come, oldest first."""
    found = []
    for path in received_directory(toy, directory).glob("*.message"):
        with contextlib.suppress(OSError, BadMessage):
            with path.open("rb") as file:
                header = message.parse_header(file.read(message.HEADER_SIZE))
            found.append((path.stat().st_mtime, Received(header, path.stat().st_size, path)))
    return [each for _, each in sorted(found, key=lambda pair: (pair[0], pair[1].path))]
