"""Files that only their owner can read: where they are, and how they are read and written."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .errors import FileProblem, KeysUnsafe

_AT_ONCE = getattr(os, "O_NONBLOCK", 0)  # a pipe in the file's place is not waited for


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


def read_private(path: Path, limit: int) -> bytes | None:
    """Return up to `limit` bytes of a file that nobody else can read; None if it is not there."""
    try:
        descriptor = os.open(path, os.O_RDONLY | _AT_ONCE)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KeysUnsafe(f"{path} cannot be read: {error.strerror}.") from None
    try:
        _check_private(path, os.fstat(descriptor))
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(limit)
    finally:
        os.close(descriptor)


def _check_private(path: Path, status: os.stat_result) -> None:
    if os.name != "posix":
        return
    if not stat.S_ISREG(status.st_mode):
        raise KeysUnsafe(f"{path} is not a file.", "Move it away.")
    if status.st_uid not in (os.getuid(), 0):
        raise KeysUnsafe(
            f"{path} belongs to another user.",
            f"Move it away, or chown it to {os.getuid()}.",
        )
    if status.st_mode & 0o077:
        raise KeysUnsafe(
            f"{path} can be read by others (mode {stat.S_IMODE(status.st_mode):04o}), "
            "so the keys in it may be known to them.",
            f"If nobody else uses this computer: `chmod 600 {path}`; "
            "otherwise run the toys' set-up again for new keys.",
        )


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Let one process at a time change what is in a directory, which is made."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.name == "posix":
            directory.chmod(0o700)
        with open(directory / ".lock", "wb") as lock:
            with contextlib.suppress(ImportError):
                import fcntl

                fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise FileProblem(
            f"{directory} cannot be written: {error.strerror}.",
            "Make room or mend its permissions, or set HUSHBEAR_CONFIG.",
        ) from None


@contextlib.contextmanager
def alone(path: Path) -> Iterator[bool]:
    """Tell whether no other process is inside with the same path; that ends with the process,
    however it ends. Where the platform has no such locks, everybody is alone."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = open(path, "ab")
    except OSError as error:
        raise FileProblem(
            f"{path} cannot be written: {error.strerror}.", "Make room, or mend its permissions."
        ) from None
    with lock:
        try:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except (ImportError, OSError):
            pass
        yield True


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
