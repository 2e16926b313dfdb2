"""A message on its way to this disk: what has come of it, kept for when the link is back."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from types import TracebackType

from . import message
from .errors import FileProblem


class PartFile:
    """`with PartFile(path) as part:` opens what an earlier attempt left, or begins anew."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> PartFile:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        try:
            self._file = os.fdopen(os.open(self.path, flags, 0o600), "r+b")
            self._content = bytearray(self._file.read(message.SIZE_MAX + 1))
        except OSError as error:
            raise _problem(self.path, error) from None
        if len(self._content) > message.SIZE_MAX:
            self.clear()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    @property
    def size(self) -> int:
        """Bytes that have come."""
        return len(self._content)

    def append(self, piece: bytes) -> None:
        """Add what comes next."""
        try:
            self._file.write(piece)
            self._file.flush()
        except OSError as error:
            raise _problem(self.path, error) from None
        self._content += piece

    def clear(self) -> None:
        """Begin again from nothing."""
        try:
            self._file.seek(0)
            self._file.truncate()
        except OSError as error:
            raise _problem(self.path, error) from None
        self._content.clear()

    def digest(self) -> bytes:
        """Return the SHA-256 of what has come."""
        return hashlib.sha256(self._content).digest()

    def content(self) -> bytes:
        """Return what has come."""
        return bytes(self._content)


def _problem(path: Path, error: OSError) -> FileProblem:
    return FileProblem(
        f"{path} cannot be written: {error.strerror}.", "Make room, or choose another directory."
    )
