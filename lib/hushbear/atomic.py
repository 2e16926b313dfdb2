"""Small files that are replaced whole: after a power cut the old or the new, never a mix."""

import os

_ENOENT = const(2)
_ENOSPC = const(28)  # not in MicroPython's errno


def replace(path, *pieces):
    """Write `pieces` as the contents of `path`, or raise OSError and leave the old ones."""
    temporary = path + ".tmp"
    with open(temporary, "wb") as file:
        for piece in pieces:
            if file.write(piece) != len(piece):
                raise OSError(_ENOSPC)
    os.rename(temporary, path)


def read(path, limit):
    """Return the first `limit` bytes of a file, or None if there is no such file.

    What a replace() that was cut short has left behind goes.
    """
    try:
        os.remove(path + ".tmp")
    except OSError:  # there is nothing, or something that is not ours
        pass
    try:
        file = open(path, "rb")
    except OSError as error:
        if error.errno != _ENOENT:
            raise
        return None
    with file:
        return file.read(limit)
