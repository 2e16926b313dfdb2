"""The ids of the last inbox messages that were deleted, and the next sequence number.

A phone that lost the link before it heard "committed" sends its message again, perhaps after the
child heard it and it was deleted: it must not come back as new. One file of fixed size: "HBGN",
next sequence number u32, position u8, 3 bytes 0, then 64 ids of 16 bytes. It stays on flash; a
change to a file shows when littlefs closes it, whole or not at all.
"""

import struct

from hushbear.atomic import replace
from hushbear.container import ID_SIZE

REMEMBERED = 64
HEAD = "<4sIB3x"
MAGIC = b"HBGN"
HEAD_SIZE = 12


class Gone:
    def __init__(self, path, log):
        self.path = path
        self.log = log
        self.position = None  # where the next id goes; None: there is no file yet

    def ids(self):
        """Iterate over the ids. The same bytearray each time."""
        if self.position is None:
            return
        found = bytearray(ID_SIZE)
        with open(self.path, "rb") as file:
            file.seek(HEAD_SIZE)
            while file.readinto(found) == ID_SIZE:
                yield found

    def __contains__(self, message_id):
        here = False
        for found in self.ids():  # to the end, which closes the file
            here = here or found == message_id
        return here

    def remember(self, message_id, sequence):
        """Note a deleted id (None: only the next sequence number), durably."""
        position = self.position
        if position is None:
            head = struct.pack(HEAD, MAGIC, sequence, 0)
            replace(self.path, head, bytes(REMEMBERED * ID_SIZE))
            self.position = position = 0
        following = position
        with open(self.path, "r+b") as file:
            if message_id is not None:
                following = (position + 1) % REMEMBERED
                file.seek(HEAD_SIZE + position * ID_SIZE)
                file.write(message_id)
                file.seek(0)
            file.write(struct.pack(HEAD, MAGIC, sequence, following))
        self.position = following
