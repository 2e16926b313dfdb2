"""Which messages there are: found once at boot, then kept in order of arrival in memory."""

import os
import struct
from collections import namedtuple

from hushbear.store.errors import ENOSPC, StoreError
from hushbear.store.gone import Gone
from hushbear.store.names import SEQUENCE_MAX, blocks_for, message_name
from hushbear.wire import DONE, ENTRY, FAILED, INBOX, NOT_FOUND

Entry = namedtuple("Entry", ("sequence", "id", "sender", "size", "time", "done"))

_SIZE_AT = struct.calcsize("<I16s8s")
_FLAGS_AT = struct.calcsize(ENTRY) - 1


class Reader:
    """A message that is open: it is not deleted before it is closed."""

    def __init__(self, path, key, opened):
        self._file = open(path, "rb")
        self.size = key[2]
        self.readinto = self._file.readinto  # straight to littlefs: allocates nothing
        self.seek = self._file.seek
        self._key = key
        self._opened = opened
        opened.append(key)

    def close(self):
        if self._key is not None:
            self._opened.remove(self._key)
            self._key = None
            self._file.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


class Index:
    def __init__(self, root, log):
        self.paths = (root + "/in", root + "/out")
        self.log = log
        self.boxes = ([], [])  # packed (wire.ENTRY): 64 bytes of heap each
        self._opened = []
        self.gone = Gone(root + "/gone", log)
        self.next = 1  # sequence number of the next message
        self.block_size = 4096

    def entries(self, box, after=0):
        for packed in self.boxes[box]:
            if struct.unpack_from("<I", packed)[0] > after:
                yield Entry(*struct.unpack(ENTRY, packed))

    def find(self, box, message_id):
        at = self._at(box, message_id)
        return None if at is None else Entry(*struct.unpack(ENTRY, self.boxes[box][at]))

    def get(self, box, message_id):
        entry = self.find(box, message_id)
        if entry is None:
            raise StoreError(NOT_FOUND)
        return entry

    def has(self, message_id):
        """Whether a phone need not send this message (again): it is here, or was deleted."""
        return self._at(INBOX, message_id) is not None or message_id in self.gone

    def count(self, box):
        return len(self.boxes[box])

    def waiting(self, box):
        return sum(not packed[_FLAGS_AT] & DONE for packed in self.boxes[box])

    def blocks(self, box):
        """Return the flash blocks that the messages of a box take."""
        return sum(
            blocks_for(struct.unpack_from("<I", packed, _SIZE_AT)[0], self.block_size)
            for packed in self.boxes[box]
        )

    def open(self, box, entry):
        return Reader(self._path(box, entry), (box, entry.id, entry.size), self._opened)

    def is_open(self, box, message_id):
        return any(key[0] == box and key[1] == message_id for key in self._opened)

    def adopt(self, box, path, message_id, sender, size, time):
        """Show the finished file `path` as the newest message: whole and durable on return."""
        if self.next > SEQUENCE_MAX:  # boot() would not find it
            raise StoreError(FAILED, "no sequence number left")
        entry = Entry(self.next, message_id, sender, size, time, 0)
        packed = struct.pack(ENTRY, *entry)
        os.rename(path, self._path(box, entry))
        self.next += 1
        self.boxes[box].append(packed)
        return entry

    def mark_done(self, box, entry):
        done = Entry(*entry[:5], DONE)
        os.rename(self._path(box, entry), self._path(box, done))
        self.boxes[box][self._at(box, entry.id)] = struct.pack(ENTRY, *done)

    def delete(self, box, entry):
        # The id first: if the power fails in between, boot() takes the second step.
        remembered = box == INBOX or entry.sequence + 1 == self.next
        try:
            if remembered:
                self.gone.remember(entry.id if box == INBOX else None, self.next)
        except OSError as error:
            if error.errno != ENOSPC:
                raise
            # Something else has eaten the reserve. Deleting has to help even then.
            self.remove(box, entry)
            self.gone.remember(entry.id if box == INBOX else None, self.next)
            return
        self.remove(box, entry)

    def remove(self, box, entry):
        os.remove(self._path(box, entry))
        self.boxes[box].pop(self._at(box, entry.id))

    def _path(self, box, entry):
        return self.paths[box] + "/" + message_name(entry.sequence, entry.id, entry.done)

    def _at(self, box, message_id):
        for at, packed in enumerate(self.boxes[box]):
            if packed[4:20] == message_id:
                return at
        return None
