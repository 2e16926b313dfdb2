"""The messages on flash: one file each, inbox and outbox, there whole or not at all.

    Store(root="/msg", reserve=24, log=print)   reserve: flash blocks that messages never take
    .boot()                       after a restart: clear up what was cut short, find the messages
    .entries(box, after=0)        iterate over Entry, oldest first, sequence number above `after`
    .find(box, id) -> Entry | None      .count(box)      .waiting(box): not heard, not fetched
    .oldest_unheard() -> Entry | None   .last_heard() -> Entry | None
    .mark_done(box, id)           heard, fetched          NOT_FOUND
    .delete(box, id)              NOT_FOUND, BUSY while it is open
    .open(box, id) -> Reader      .readinto(buf), .seek(offset), .size, .close(); use `with`
    .free()  .total()             bytes for messages

  Receiving (inbox), one message at a time; an offer suspends what was being received:
    .offer(id, size, digest) -> offset   where to continue; equal to `size` when it is here already
                                         MALFORMED, BUSY (while one is committed), StoreFull
    .append(offset, buf, start, n)       allocates nothing          RANGE
    .suspend()                           link lost: keep what came, on flash; never raises
    await .commit(id)             checks digest and header, then shows it; returning means that it
                                  is safe. A message that is here already is committed at once.
                                  Runs in slices of 4 kB, so that other tasks go on.
                                  NOT_FOUND, RANGE (not all came), DAMAGED, BUSY
  Recording (outbox), one at a time:
    .record(header, size_max=SIZE_MAX) -> Recording       BUSY, StoreFull
    Recording.write(buf, n)       allocates nothing; StoreFull past its `limit`, which may be less
                                  than `size_max`, and what came so far can still be kept
    Recording.keep() -> Entry     .discard()      .size      .limit

Words in capitals are the `.status` of a StoreError; every method may raise FAILED.

When the flash is full, the oldest messages that nobody waits for make room: heard ones in the
inbox, fetched ones in the outbox; unfinished receptions go first. What was not heard or not
fetched is never given up: StoreFull is raised instead, and nothing was deleted. Neither box may
take more than three quarters of the room: however much the family sends, the child can answer.
"""

from hushbear.container import SIZE_MAX
from hushbear.once import once
from hushbear.store.errors import StoreError, StoreFull, from_os
from hushbear.store.index import Index
from hushbear.store.receive import Receiver
from hushbear.store.record import Recording
from hushbear.store.room import Room
from hushbear.wire import BUSY, INBOX, OUTBOX

RECORD_MIN = 64 * 256 + 48  # bytes, 2 s of sound: with room for less, no recording is begun


class Store:
    def __init__(self, root="/msg", reserve=24, log=print):
        self._root = root
        self._index = Index(root, log)
        self._receiver = Receiver(self._index, root + "/part")
        self._room = Room(self._index, self._receiver, reserve)
        self._record_path = root + "/part/recording"
        self._heard = None  # id
        self.entries = self._index.entries
        self.find = self._index.find
        self.count = self._index.count
        self.waiting = self._index.waiting
        self.append = self._receiver.append
        self.suspend = self._receiver.suspend
        self.commit = self._receiver.commit
        self.free = self._room.free
        self.total = self._room.total

    def boot(self):
        boot = once("hushbear.store.boot").boot
        boot(self._root, self._record_path, self._index, self._receiver, self._room)
        for entry in self.entries(INBOX):
            if entry.done:
                self._heard = entry.id

    def oldest_unheard(self):
        for entry in self.entries(INBOX):
            if not entry.done:
                return entry
        return None

    def last_heard(self):
        return None if self._heard is None else self.find(INBOX, self._heard)

    def mark_done(self, box, message_id):
        entry = self._index.get(box, message_id)
        try:
            if not entry.done:
                self._index.mark_done(box, entry)
        except OSError as error:
            raise from_os(error)
        if box == INBOX:
            self._heard = entry.id

    def delete(self, box, message_id):
        entry = self._index.get(box, message_id)
        if self._index.is_open(box, message_id):
            raise StoreError(BUSY)
        try:
            self._index.delete(box, entry)
        except OSError as error:
            raise from_os(error)

    def open(self, box, message_id):
        entry = self._index.get(box, message_id)
        try:
            return self._index.open(box, entry)
        except OSError as error:
            raise from_os(error)

    def offer(self, message_id, size, digest):
        try:
            return self._receiver.offer(message_id, size, digest, self._room)
        except OSError as error:
            raise from_os(error)

    def record(self, header, size_max=SIZE_MAX):
        room = self._room
        if room.recording is not None:
            raise StoreError(BUSY)
        limit = min(size_max, room.reachable(OUTBOX))
        if limit < min(size_max, RECORD_MIN):
            raise StoreFull()
        try:
            room.make(OUTBOX, limit)
            room.recording = Recording(
                self._index, self._record_path, header, limit, self._recorded
            )
        except OSError as error:
            raise from_os(error)
        return room.recording

    def _recorded(self):
        self._room.recording = None
