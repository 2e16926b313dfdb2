"""What is being sent, kept on this disk until the toy has confirmed it.

`hushbear send` of the same file after it was interrupted goes on with the message that was begun,
under the same id, so that it arrives once. It is sealed only when the toy has answered and this
phone has the family's newest key; sealed again under the same key it is the same bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from . import audio, message, sealing
from .errors import BadMessage, FileProblem, NoFamily
from .private import config_directory, write_private
from .toy import Toy

_KEEP = 14 * 24 * 3600  # seconds after which nobody will go on
_KEEP_MAX = 32


@dataclass(frozen=True)
class Draft:
    """A recording that is to be sent: its blocks, and the header of what was begun, if it was."""

    path: Path
    blocks: bytes = field(repr=False)
    begun: message.Header | None = None

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.blocks) // message.BLOCK_ALIGN * message.BLOCK_SAMPLES / message.RATE


class Outbox:
    """The messages that were begun."""

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = (directory or config_directory()) / "outbox"

    def draft(self, toy: Toy, file: Path) -> Draft:
        """Return the sound of `file` for `toy`, or raise BadAudio."""
        path = self.directory / f"{self._name(toy, file)}.message"
        with contextlib.suppress(OSError, BadMessage):
            header, blocks = sealing.unseal(path.read_bytes(), toy.family)
            return Draft(path, blocks, header)
        return Draft(path, audio.blocks_from_file(file))

    def seal(self, draft: Draft, sender: bytes | None, family: Mapping[int, bytes]) -> bytes:
        """Return the message, sealed with the family's newest key and kept; NoFamily without one.

        What was begun under an older key keeps its id: the toy takes it once.
        """
        if not family or sender is None:
            raise NoFamily("The toy has no family yet.")
        epoch = max(family)
        if draft.begun:
            header = replace(draft.begun, epoch=epoch, sender=sender)
        else:
            header = message.new_header(sender, epoch)
        content = sealing.seal(header, draft.blocks, family[epoch])
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._tidy()
            write_private(draft.path, content)
        except OSError as error:
            raise FileProblem(
                f"{self.directory} cannot be written: {error.strerror}.", "Make room."
            ) from None
        return content

    def confirmed(self, draft: Draft) -> None:
        """The toy has it: the same file sent again is another message."""
        with contextlib.suppress(OSError):
            draft.path.unlink()

    def _name(self, toy: Toy, file: Path) -> str:
        digest = hmac.new(toy.id, digestmod=hashlib.sha256)
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
