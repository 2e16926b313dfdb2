"""Somebody who has got all that a relay has, database and log, and looks for secrets there.

What is looked for is given: names, keys and addresses whole, messages and audio by any few bytes
of them. It is found raw, and in hexadecimal or base64 within whatever is round it.
"""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hushbear_companion import sealing
from hushbear_companion.errors import BadMessage
from hushbear_companion.message import parse_header
from hushbear_relay.client.envelope import open_sealed
from hushbear_relay.client.errors import Sealed

RUN = 8  # bytes in a row by which a recording is recognised, at every eighth of its bytes
_KEY_SIZE = 32
_VARIED = 6  # different bytes in a run that does not occur by itself, as silence does
_SQLITE = b"SQLite format 3\0"
_HEX = re.compile(rb"[0-9A-Fa-f]{8,}")
_BASE64 = re.compile(rb"[0-9A-Za-z+/_-]{6,}")

Row = dict[str, object]


@dataclass(frozen=True)
class Loot:
    """Files by name, and the rows of tables by the tables' names."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    tables: Mapping[str, list[Row]] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(map(len, self.files.values()))

    @property
    def contents(self) -> dict[str, bytes]:
        """All there is, by where it is: each file as it is, and each table's values, whole even
        where the file has them in pieces."""
        values = {f"the table {name}": _values(rows) for name, rows in self.tables.items()}
        joined = {where: b"\0".join(each) for where, each in values.items()}
        return {**self.files, **joined}

    @property
    def envelopes(self) -> list[Envelope]:
        """The envelopes that wait at the relay, with all that it knows of each."""
        bodies = {row["message"]: row["body"] for row in self.tables.get("bodies", ())}
        return [
            Envelope(_bytes(row["mailbox"]), _bytes(row["id"]), _bytes(bodies[row["number"]]))
            for row in self.tables.get("messages", ())
            if row["number"] in bodies
        ]


@dataclass(frozen=True)
class Envelope:
    """What somebody has put into a mailbox."""

    mailbox: bytes
    id: bytes
    body: bytes


def steal(directory: Path) -> Loot:
    """Copy all files below a directory as they are now, and read the databases among them."""
    files: dict[str, bytes] = {}
    tables: dict[str, list[Row]] = {}
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / "copy"
        shutil.copytree(directory, copy)
        paths = [path for path in sorted(copy.rglob("*")) if path.is_file()]
        for path in paths:
            files[str(path.relative_to(copy))] = path.read_bytes()
        for path in paths:
            if path.exists() and path.read_bytes()[: len(_SQLITE)] == _SQLITE:
                tables |= _tables(path)
    return Loot(files, tables)


def _tables(path: Path) -> dict[str, list[Row]]:
    with closing(sqlite3.connect(path)) as database:
        database.row_factory = sqlite3.Row
        names = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {
            name: [dict(row) for row in database.execute(f'SELECT * FROM "{name}"')]
            for (name,) in names
        }


def _values(rows: list[Row]) -> list[bytes]:
    return [_bytes(value) for row in rows for value in row.values()]


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


class Search:
    """For `secrets`, each as a whole, and for `recordings`, by any RUN bytes of them; both by what
    they are called."""

    def __init__(self, secrets: Mapping[str, bytes], recordings: Mapping[str, bytes]) -> None:
        for what, secret in secrets.items():
            if len(secret) < 4 or not any(secret):
                raise ValueError(f"{what} would be found anywhere")
        self.secrets = dict(secrets)
        self.runs = {what: _runs(content) for what, content in recordings.items()}
        for what, runs in self.runs.items():
            if not len(runs):
                raise ValueError(f"{what} would never be found")

    def found(self, content: bytes) -> list[str]:
        """Return what is in there."""
        views = list(_views(content))
        secrets = [
            what for what, secret in self.secrets.items() if any(secret in view for view in views)
        ]
        windows = np.concatenate([_windows(view) for view in views])
        return secrets + [what for what, runs in self.runs.items() if np.isin(runs, windows).any()]


def named(names: Iterable[str]) -> dict[str, bytes]:
    """Return names as secrets, as they are written in sentences and in paths."""
    return {
        f"the name {form}": form.encode()
        for name in names
        for form in (name, name.lower(), name.upper())
    }


def addressed(addresses: Iterable[str]) -> dict[str, bytes]:
    """Return IPv4 addresses as secrets: as they are written, as a number, and in hexadecimal. Its
    four bytes are too few to be told from any others."""
    found: dict[str, bytes] = {}
    for address in addresses:
        number = int(IPv4Address(address))
        forms = (address, str(number), f"{number:08x}", f"{number:08X}")
        found |= {f"the address {address} as {form}": form.encode() for form in forms}
    return found


def _views(content: bytes) -> Iterator[bytes]:
    """Yield the bytes as they are, and what they are if text in them is hexadecimal or base64,
    wherever it began."""
    yield content
    for start in range(2):
        digits = [run[start:] for run in _HEX.findall(content)]
        yield b"\0".join(bytes.fromhex(run[: len(run) & ~1].decode()) for run in digits)
    for start in range(4):
        digits = [run[start:].translate(_STANDARD) for run in _BASE64.findall(content)]
        yield b"\0".join(map(_from_base64, digits))


_STANDARD = bytes.maketrans(b"-_", b"+/")


def _from_base64(digits: bytes) -> bytes:
    if len(digits) % 4 == 1:
        digits = digits[:-1]
    return base64.b64decode(digits + b"=" * (-len(digits) % 4))


def _runs(content: bytes) -> npt.NDArray[np.uint64]:
    cut = [content[at : at + RUN] for at in range(0, len(content) - RUN + 1, RUN)]
    return np.frombuffer(b"".join(run for run in cut if len(set(run)) >= _VARIED), np.uint64)


def _windows(content: bytes) -> npt.NDArray[np.uint64]:
    """Return every RUN bytes in a row."""
    every = [
        np.frombuffer(content, np.uint64, max(0, len(content) - start) // RUN, start)
        for start in range(min(RUN, len(content)))
    ]
    return np.concatenate(every) if every else np.empty(0, np.uint64)


@dataclass(frozen=True)
class Tried:
    """How many envelopes were tried, with how many keys each, and what was in what opened."""

    envelopes: int
    keys: int
    opened: list[bytes]


def try_to_open(loot: Iterable[Loot]) -> Tried:
    """Try every value in all tables as the secret that two phones share, and as a family's key, on
    every envelope; and what everybody tries."""
    loot = list(loot)
    values = {value for each in loot for rows in each.tables.values() for value in _values(rows)}
    keys = {bytes(_KEY_SIZE), bytes(range(_KEY_SIZE)), b"\xff" * _KEY_SIZE}
    keys |= {each if len(each) == _KEY_SIZE else hashlib.sha256(each).digest() for each in values}
    envelopes = {envelope for each in loot for envelope in each.envelopes}
    contents = (_opened(envelope, key) for envelope in envelopes for key in keys)
    return Tried(len(envelopes), len(keys), [each for each in contents if each is not None])


def _opened(envelope: Envelope, key: bytes) -> bytes | None:
    try:
        return open_sealed(key, envelope.mailbox, envelope.id, envelope.body)[1]
    except Sealed:
        pass
    try:  # as if a message had been put as it is
        header = parse_header(envelope.body)
        return sealing.unseal(envelope.body, {header.epoch: key})[1]
    except BadMessage:
        return None
