"""The toys that this phone knows: names, keys and families in one file that only its owner can
read.

JSON in the platform's configuration directory, or in $HUSHBEAR_CONFIG. A change writes a new file
and renames it, so that a power cut leaves the old one or the new one. A file of version 1, from
before messages were sealed, is read as one whose families are still to be learned from the toys.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from . import message
from .errors import BadLink, FileProblem, KeysUnsafe, NoSuchToy, UsageError
from .link import decode_key, encode_key
from .records import printable

VERSION = 2
EPOCHS_MAX = 1024  # family keys that are kept of a toy, the newest: nobody has removed more phones
_FILE = "toys.json"
_SIZE_MAX = 1 << 20
_AT_ONCE = getattr(os, "O_NONBLOCK", 0)  # a pipe in the file's place is not waited for
_ID_SIZE = 8
_MEMBERS_MAX = 64
_MEMBER_NAME_MAX = 64
_NAME = re.compile(r"[\w][\w .'-]{0,39}", re.UNICODE)


@dataclass(frozen=True)
class Toy:
    """A toy: its name here, this phone's key, and what is known of its family.

    `id` names the toy in files here, whatever becomes of name and key. `sender` is the sender id
    that the toy has given this phone, None until it has; `members` are the names of the family's
    phones by sender id, as the toy last told them.
    """

    name: str
    key: bytes = field(repr=False)
    id: bytes
    sender: bytes | None = None
    family: Mapping[int, bytes] = field(default_factory=dict, repr=False)
    members: Mapping[bytes, str] = field(default_factory=dict)


def config_directory() -> Path:
    """Return where the companion keeps its files."""
    override = os.environ.get("HUSHBEAR_CONFIG")
    if override:
        return Path(override)
    import platformdirs

    return Path(platformdirs.user_config_dir("hushbear", appauthor=False))


def data_directory() -> Path:
    """Return where the companion keeps messages: with $HUSHBEAR_CONFIG, in `data` there."""
    if os.environ.get("HUSHBEAR_CONFIG"):
        return config_directory() / "data"
    import platformdirs

    return Path(platformdirs.user_data_dir("hushbear", appauthor=False))


def check_name(name: str) -> str:
    """Return `name` without blanks round it, or raise UsageError."""
    name = name.strip()
    if not _NAME.fullmatch(name):
        raise UsageError(
            "A toy's name is 1 to 40 letters, digits, blanks, dots, quotes or dashes.",
            "Choose another with --name.",
        )
    return name


class KeyStore:
    """The toys in one directory. Every method reads or writes the file; nothing is kept."""

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = directory or config_directory()
        self.path = self.directory / _FILE

    def toys(self) -> list[Toy]:
        """Return the toys in the order in which they were added."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | _AT_ONCE)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise KeysUnsafe(f"{self.path} cannot be read: {error.strerror}.") from None
        try:
            self._check_private(os.fstat(descriptor))
            with open(descriptor, "rb", closefd=False) as file:
                content = file.read(_SIZE_MAX + 1)
        finally:
            os.close(descriptor)
        try:
            return _parse(content)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, BadLink):
            raise KeysUnsafe(
                f"{self.path} is damaged.",
                "Move it away and add your toys again from their links.",
            ) from None

    def get(self, name: str | None) -> Toy:
        """Return the toy of that name; without a name, the only one there is."""
        toys = self.toys()
        if not toys:
            raise NoSuchToy(
                "No toy is known here yet.",
                "Pair with one: `hushbear pair` (or `hushbear add LINK`).",
            )
        names = ", ".join(toy.name for toy in toys)
        if name is None:
            if len(toys) > 1:
                raise UsageError(f"Several toys are known: {names}.", "Choose with --toy NAME.")
            return toys[0]
        for toy in toys:
            if toy.name.casefold() == name.strip().casefold():
                return toy
        raise NoSuchToy(f"No toy is called {name!r} here.", f"Known: {names}.")

    def add(
        self, name: str, key: bytes, sender: bytes | None = None,
        family: Mapping[int, bytes] | None = None,
    ) -> Toy:  # fmt: skip
        """Remember a toy. The same key again only changes the name; a name taken is refused."""
        with self._locked():
            toys = self.toys()
            known = next((toy for toy in toys if toy.key == key), None)
            name = self.check_free(name, known)
            if known:
                toy = replace(known, name=name)
            else:
                toy = Toy(name, key, os.urandom(_ID_SIZE), sender, _newest(family or {}))
            self._write([toy if old.key == key else old for old in toys] + [toy] * (not known))
        return toy

    def check_free(self, name: str, known: Toy | None = None) -> str:
        """Return a name that no toy but `known` has, or raise UsageError."""
        name = check_name(name)
        others = [toy for toy in self.toys() if known is None or toy.key != known.key]
        if any(toy.name.casefold() == name.casefold() for toy in others):
            raise UsageError(
                f"A toy called {name!r} is known already.",
                "Choose another with --name, or `hushbear toys forget` the old one.",
            )
        return name

    def free_name(self) -> str:
        """Return a name for a toy that nobody has named: bear, bear 2, ..."""
        taken = {toy.name.casefold() for toy in self.toys()}
        names = itertools.chain(["bear"], (f"bear {n}" for n in itertools.count(2)))
        return next(name for name in names if name not in taken)

    def unite(self, key: bytes, *, keep_name: bool) -> Toy:
        """Make one of the toy of that key and an older entry of the same family, if there is one.
        What remains has the older entry's id, and with `keep_name` its name; the older key goes.
        """
        with self._locked():
            toys = self.toys()
            new = next(toy for toy in toys if toy.key == key)
            for old in toys:
                if old is not new and old.family.items() & new.family.items():
                    name = old.name if keep_name else new.name
                    family = _newest({**old.family, **new.family})
                    united = replace(new, name=name, id=old.id, family=family)
                    self._write([united if toy is old else toy for toy in toys if toy is not new])
                    return united
        return new

    def learn(
        self, key: bytes, sender: bytes | None, family: Mapping[int, bytes],
        members: Mapping[bytes, str],
    ) -> None:  # fmt: skip
        """Add what the toy of that key has told of its family. What was known stays."""
        with self._locked():
            toys = self.toys()
            for place, toy in enumerate(toys):
                if toy.key == key:
                    toys[place] = replace(
                        toy,
                        sender=sender or toy.sender,
                        family=_newest({**toy.family, **family}),
                        members=dict(list(members.items())[:_MEMBERS_MAX]) or toy.members,
                    )
            self._write(toys)

    def remove(self, name: str) -> Toy:
        """Forget a toy and its key."""
        with self._locked():
            gone = self.get(name)
            self._write([toy for toy in self.toys() if toy != gone])
        return gone

    def forget(self, key: bytes) -> None:
        """Forget the toy of that key, if it is known."""
        with self._locked():
            self._write([toy for toy in self.toys() if toy.key != key])

    def _check_private(self, status: os.stat_result) -> None:
        if os.name != "posix":
            return
        if not stat.S_ISREG(status.st_mode):
            raise KeysUnsafe(f"{self.path} is not a file.", "Move it away.")
        if status.st_uid not in (os.getuid(), 0):
            raise KeysUnsafe(
                f"{self.path} belongs to another user.",
                f"Move it away, or chown it to {os.getuid()}.",
            )
        if status.st_mode & 0o077:
            raise KeysUnsafe(
                f"{self.path} can be read by others (mode {stat.S_IMODE(status.st_mode):04o}), "
                "so the keys in it may be known to them.",
                f"If nobody else uses this computer: `chmod 600 {self.path}`; "
                "otherwise run the toys' set-up again for new keys.",
            )

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one process at a time change the file."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if os.name == "posix":
                self.directory.chmod(0o700)
            with open(self.directory / ".lock", "wb") as lock:
                with contextlib.suppress(ImportError):
                    import fcntl

                    fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise FileProblem(
                f"{self.directory} cannot be written: {error.strerror}.",
                "Make room or mend its permissions, or set HUSHBEAR_CONFIG.",
            ) from None

    def _write(self, toys: list[Toy]) -> None:
        rows = [
            {
                "name": toy.name,
                "key": encode_key(toy.key),
                "id": toy.id.hex(),
                "sender": toy.sender and toy.sender.hex(),
                "family": {str(epoch): encode_key(key) for epoch, key in toy.family.items()},
                "members": {sender.hex(): name for sender, name in toy.members.items()},
            }
            for toy in toys
        ]
        content = json.dumps({"version": VERSION, "toys": rows}, indent=1, ensure_ascii=False)
        write_private(self.path, content.encode() + b"\n")


def write_private(path: Path, content: bytes) -> None:
    """Put `content` in place of the file at `path`, whole or not at all, mode 0600, on disk."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make renames in a directory survive a power cut, where the platform can."""
    if os.name == "posix":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _newest(family: Mapping[int, bytes]) -> dict[int, bytes]:
    return {epoch: family[epoch] for epoch in sorted(family)[-EPOCHS_MAX:]}


def _parse(content: bytes) -> list[Toy]:
    if len(content) > _SIZE_MAX:
        raise ValueError("too large")
    parsed: Any = json.loads(content)
    parse_row = {1: _parse_row_1, VERSION: _parse_row}[parsed["version"]]
    return [parse_row(row) for row in parsed["toys"]]


def _parse_row_1(row: Any) -> Toy:
    """A toy of version 1. The sender id in it was this phone's own invention; it gives a toy id
    that stays the same until the file is written again."""
    return Toy(_parse_name(row["name"]), decode_key(row["key"]), _hex(row["sender"], _ID_SIZE))


def _parse_row(row: Any) -> Toy:
    family = {int(epoch): decode_key(key) for epoch, key in row["family"].items()}
    if not all(0 < epoch < 1 << 32 for epoch in family):
        raise ValueError("impossible epoch")
    sender = row["sender"]
    return Toy(
        _parse_name(row["name"]),
        decode_key(row["key"]),
        _hex(row["id"], _ID_SIZE),
        None if sender is None else _hex(sender, message.SENDER_SIZE),
        _newest(family),
        {
            _hex(member, message.SENDER_SIZE): printable(str(name))[:_MEMBER_NAME_MAX]
            for member, name in row["members"].items()
        },
    )


def _parse_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError("impossible name")
    return name


def _hex(text: str, size: int) -> bytes:
    value = bytes.fromhex(text)
    if len(value) != size:
        raise ValueError("impossible entry")
    return value
