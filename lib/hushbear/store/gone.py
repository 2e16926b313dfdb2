"""The ids of the last inbox messages that were deleted, and the next sequence number.

A phone that lost the link before it heard "committed" sends its message again, perhaps after the
child heard it and it was deleted: it must not come back as new. One file of fixed size: "HBGN",
next sequence number u32, position u8, 3 bytes 0, then 64 ids of 16 bytes. It stays on flash; a
change to a file shows when littlefs closes it, whole or not at all.
"""

import struct

from hushbear.atomic import read, replace
from hushbear.container import ID_SIZE

_REMEMBERED = const(64)
_HEAD = "<4sIB3x"
_MAGIC = b"HBGN"
_HEAD_SIZE = const(12)


class Gone:
    def __init__(self, path, log):
        self._path = path
        self._log = log
        self._position = None  # where the next id goes; None: there is no file yet

    def load(self):
        """Look at the file; return the next sequence number it knows of."""
        self._position = None
        size = _HEAD_SIZE + _REMEMBERED * ID_SIZE
        try:
            data = read(self._path, size + 1)
        except OSError:  # it can be spared, the messages cannot
            data = b""
        if data is None:
            return 1
        if len(data) == size:
            magic, sequence, position = struct.unpack_from(_HEAD, data)
            if magic == _MAGIC and position < _REMEMBERED and 1 <= sequence <= 1 << 31:
                self._position = position
                return sequence
        self._log("store: list of deleted ids damaged, begun again")
        return 1

    def ids(self):
        """Iterate over the ids. The same bytearray each time."""
        if self._position is None:
            return
        found = bytearray(ID_SIZE)
        with open(self._path, "rb") as file:
            file.seek(_HEAD_SIZE)
            while file.readinto(found) == ID_SIZE:
                yield found

    def __contains__(self, message_id):
        here = False
        for found in self.ids():  # to the end, which closes the file
            here = here or found == message_id
        return here

    def remember(self, message_id, sequence):
        """Note a deleted id (None: only the next sequence number), durably."""
        position = self._position
        if position is None:
            head = struct.pack(_HEAD, _MAGIC, sequence, 0)
            replace(self._path, head, bytes(_REMEMBERED * ID_SIZE))
            self._position = position = 0
        following = position
        with open(self._path, "r+b") as file:
            if message_id is not None:
                following = (position + 1) % _REMEMBERED
                file.seek(_HEAD_SIZE + position * ID_SIZE)
                file.write(message_id)
                file.seek(0)
            file.write(struct.pack(_HEAD, _MAGIC, sequence, following))
        self._position = following
