"""Small files that are replaced whole: after a power cut the old or the new, never a mix."""

import os


def replace(path, *pieces):
    """Write `pieces` as the contents of `path`, or raise OSError and leave the old ones."""
    temporary = path + ".tmp"
    with open(temporary, "wb") as file:
        for piece in pieces:
            if file.write(piece) != len(piece):
                raise OSError(28)  # ENOSPC
    os.rename(temporary, path)


def read(path, limit):
    """Return the first `limit` bytes of a file, or None if there is no such file."""
    try:
        with open(path, "rb") as file:
            return file.read(limit)
    except OSError as error:
        if error.errno == 2:  # ENOENT
            return None
        raise
