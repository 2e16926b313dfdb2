"""The link that gives a phone the key of a toy: `hushbear://toy/<key>?v=1`, as text and as QR.

The key is 32 bytes in base64url without padding: 43 characters, one spelling only.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from hushbear import wire

from .errors import BadLink, FileProblem

if TYPE_CHECKING:
    import segno

VERSION = 1
_PATTERN = re.compile(r"hushbear://toy/([A-Za-z0-9_-]{43})\?v=([1-9][0-9]{0,3})", re.ASCII)
_KEY_SIZE: int = wire.KEY_SIZE


@dataclass(frozen=True)
class ToyLink:
    """A toy's key. `str()` gives the link, which is as secret as the key; `repr()` does not."""

    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.key) != _KEY_SIZE:
            raise BadLink(f"A key has {_KEY_SIZE} bytes, this one {len(self.key)}.")

    def __str__(self) -> str:
        return f"hushbear://toy/{encode_key(self.key)}?v={VERSION}"


def parse_link(text: str) -> ToyLink:
    """Return the link in `text` (blanks round it are cut), or raise BadLink."""
    match = _PATTERN.fullmatch(text.strip())
    if match is None:
        raise BadLink("That is no Hushbear link.")
    if int(match[2]) != VERSION:
        raise BadLink(
            f"That link is of version {match[2]}; this companion knows {VERSION}.",
            "Update the companion.",
        )
    return ToyLink(decode_key(match[1]))


def encode_key(key: bytes) -> str:
    """Return 43 characters for the 32 bytes of a key."""
    return base64.urlsafe_b64encode(key).rstrip(b"=").decode()


def decode_key(text: str) -> bytes:
    """Return the key that `text` spells, or raise BadLink."""
    try:
        key = base64.b64decode(text + "=", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise BadLink("That is no Hushbear key.") from None
    if len(key) != _KEY_SIZE or encode_key(key) != text:  # the last character has two spare bits
        raise BadLink("That is no Hushbear key.")
    return key


def show(link: ToyLink, file: TextIO | None = None) -> None:
    """Print the link and its QR code for a terminal."""
    file = file or sys.stdout
    _code(link).terminal(out=file, compact=True, border=2)
    print(str(link), file=file)


def save_png(link: ToyLink, path: Path, scale: int = 8) -> None:
    """Write the QR code as PNG that only the owner can read."""
    _save(link, path, "png", scale)


def save_svg(link: ToyLink, path: Path, scale: int = 8) -> None:
    """Write the QR code as SVG that only the owner can read."""
    _save(link, path, "svg", scale)


def _save(link: ToyLink, path: Path, kind: str, scale: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            os.chmod(path, 0o600)
            _code(link).save(file, kind=kind, scale=scale, border=4)
    except OSError as error:
        raise FileProblem(f"{path} cannot be written: {error.strerror}.") from None


def _code(link: ToyLink) -> segno.QRCode:
    import segno

    return segno.make_qr(str(link), error="m")
