"""The toy's name as it says it: up to NAME_SIZE_MAX bytes of IMA blocks, in one file.

    size() -> bytes               0 where it has no name, or a damaged one
    Name()                        a source for Speaker.play; close() it
    take(size, crc, offset, piece)    take a piece of a new name, the first one from offset 0; with
                                  the last one it has that name, whole, and until then the old one.
                                  Size 0: it has none any more. A piece that comes again changes
                                  nothing. ValueError; LookupError: it does not go on there;
                                  OSError

Loaded for a request, and when pairing opens: only then does the toy say it.
"""

import os
from binascii import crc32

from hushbear.container import BLOCK_ALIGN
from hushbear.upkeep_wire import NAME_SIZE_MAX

PATH = "/name.ima"
_ENOENT = const(2)


def size():
    found = _size(PATH)
    return found if found <= NAME_SIZE_MAX and not found % BLOCK_ALIGN else 0


def take(size, crc, offset, piece):
    if size > NAME_SIZE_MAX or size % BLOCK_ALIGN or offset + len(piece) > size:
        raise ValueError("no such name")
    new = PATH + ".tmp"
    if not size:
        _remove(new)
        _remove(PATH)
        return
    if not piece:
        raise ValueError("nothing")
    if offset > _size(new):
        if (size, crc) == (_size(PATH), _crc(PATH)):
            return  # the last piece, again
        raise LookupError("a gap")
    with open(new, "r+b" if offset else "wb") as file:
        file.seek(offset)
        if file.write(piece) != len(piece):
            raise OSError("cut short")
    if offset + len(piece) == size:
        if size != _size(new) or crc != _crc(new):
            _remove(new)
            raise LookupError("pieces of two names")
        os.rename(new, PATH)


class Name:
    def __init__(self):
        self.chunk = bytearray(BLOCK_ALIGN)
        self._file = open(PATH, "rb")
        self.close = self._file.close

    def fill(self):
        n = self._file.readinto(self.chunk)
        return n if n == BLOCK_ALIGN else 0


def _size(path):
    try:
        return os.stat(path)[6]
    except OSError:
        return 0


def _crc(path):
    block = bytearray(BLOCK_ALIGN)
    crc = 0
    try:
        with open(path, "rb") as file:
            while file.readinto(block):
                crc = crc32(block, crc)
    except OSError as error:
        if error.errno != _ENOENT:
            raise
    return crc


def _remove(path):
    try:
        os.remove(path)
    except OSError as error:
        if error.errno != _ENOENT:
            raise
