"""The ids of the last inbox messages that were deleted, and the next sequence number.

A phone that lost the link before it heard "committed" sends its message again, perhaps after the
child heard it and it was deleted: it must not come back as new. One file of fixed size, replaced
whole: "HBGN", next sequence number u32, position u8, 3 bytes 0, then 64 ids of 16 bytes.
"""

import struct

from hushbear.atomic import read, replace
from hushbear.container import ID_SIZE

REMEMBERED = 64
_HEAD = "<4sIB3x"
_MAGIC = b"HBGN"
_HEAD_SIZE = struct.calcsize(_HEAD)
_SIZE = _HEAD_SIZE + REMEMBERED * ID_SIZE
_NONE = bytes(ID_SIZE)  # a place not taken yet


class Gone:
    def __init__(self, path, log):
        self._path = path
        self._log = log
        self._data = bytearray(_SIZE)
        self._ids = memoryview(self._data)[_HEAD_SIZE:]
        self._position = 0

    def load(self):
        """Read the file; return the next sequence number it knows of."""
        self._position = 0
        for i in range(_SIZE):
            self._data[i] = 0
        data = read(self._path, _SIZE + 1)
        if data is None:
            return 1
        if len(data) == _SIZE:
            magic, sequence, position = struct.unpack_from(_HEAD, data)
            if magic == _MAGIC and position < REMEMBERED and 1 <= sequence < 1 << 31:
                self._data[:] = data
                self._position = position
                return sequence
        self._log("store: list of deleted ids damaged, begun again")
        return 1

    def __contains__(self, message_id):
        ids = self._ids
        if message_id == _NONE:
            return False
        for at in range(0, REMEMBERED * ID_SIZE, ID_SIZE):
            if ids[at : at + ID_SIZE] == message_id:
                return True
        return False

    def remember(self, message_id, sequence):
        """Note a deleted id (None: only the next sequence number), durably."""
        if message_id is not None and message_id not in self:
            at = self._position * ID_SIZE
            self._ids[at : at + ID_SIZE] = message_id
            self._position = (self._position + 1) % REMEMBERED
        struct.pack_into(_HEAD, self._data, 0, _MAGIC, sequence, self._position)
        replace(self._path, self._data)
