"""What is being sent, kept on this disk until the toy has confirmed it.

`hushbear send` of the same file after it was interrupted goes on with the message that was begun,
under the same id, so that it arrives once.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from pathlib import Path

from . import audio, message
from .errors import BadMessage, FileProblem
from .keystore import Toy, config_directory, write_private

_KEEP = 14 * 24 * 3600  # seconds after which nobody will go on
_KEEP_MAX = 32


class Outbox:
    """The messages that were begun."""

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = (directory or config_directory()) / "outbox"

    def prepare(self, toy: Toy, file: Path) -> tuple[bytes, Path]:
        """Return the message for `toy` with the sound of `file`, and where it is kept."""
        kept = self.directory / f"{self._name(toy, file)}.message"
        with contextlib.suppress(OSError, BadMessage):
            content = kept.read_bytes()
            message.parse(content)
            return content, kept
        header = message.Header(message.new_id(), toy.sender, message.timestamp(time.time()))
        content = audio.message_from_file(file, header)
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._tidy()
            write_private(kept, content)
        except OSError as error:
            raise FileProblem(
                f"{self.directory} cannot be written: {error.strerror}.", "Make room."
            ) from None
        return content, kept

    def confirmed(self, kept: Path) -> None:
        """The toy has it: the same file sent again is another message."""
        with contextlib.suppress(OSError):
            kept.unlink()

    def _name(self, toy: Toy, file: Path) -> str:
        digest = hashlib.sha256(toy.sender)
        # What cannot be read is for audio to explain.
        with contextlib.suppress(OSError), file.open("rb") as source:
            while piece := source.read(1 << 20):
                digest.update(piece)
        return digest.hexdigest()[:32]

    def _tidy(self) -> None:
        files = sorted(self.directory.glob("*.message"), key=lambda path: -path.stat().st_mtime)
        for place, path in enumerate(files, 1):
            if place >= _KEEP_MAX or path.stat().st_mtime < time.time() - _KEEP:
                path.unlink(missing_ok=True)
