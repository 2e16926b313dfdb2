"""The crash log as a phone reads it. Loaded for that only.

size(log) -> bytes            read(log, offset, buf) -> n, 0 at the end            clear(log)
"""

import os


def size(log):
    return _size(log.old) + _size(log.new)


def read(log, offset, buf):
    path = log.old
    if offset >= _size(path):
        offset -= _size(path)
        path = log.new
    if offset >= _size(path):
        return 0
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            return file.readinto(buf)
    except OSError:
        return 0


def clear(log):
    for path in (log.old, log.new):
        try:
            os.remove(path)
        except OSError:
            pass


def _size(path):
    try:
        return os.stat(path)[6]
    except OSError:
        return 0
