"""How much fits, and what goes first when it does not."""

from hushbear.store.errors import StoreFull
from hushbear.store.names import blocks_for, size_in
from hushbear.wire import INBOX, OUTBOX

MESSAGES_MAX = 64  # per box


class Room:
    def __init__(self, index, receiver, reserve):
        self._index = index
        self._receiver = receiver
        self._reserve = reserve
        self._total = 0  # flash blocks for messages
        self.recording = None

    def boot(self, blocks_free):
        """Measure once: a count of free blocks walks through every file that littlefs has."""
        self._total = blocks_free + self._used() - self._reserve

    def free(self):
        return size_in(self._total - self._used(), self._index.block_size)

    def total(self):
        return max(0, self._total) * self._index.block_size

    def blocks(self, size):
        return blocks_for(size, self._index.block_size)

    def reachable(self, box, part=None):
        """Return how long one message of this box could be, everything gone that may go."""
        return size_in(self._reachable_blocks(box, part), self._index.block_size)

    def make(self, box, size, part=None):
        """Make room for a message of `size` bytes, or raise StoreFull and delete nothing.

        What is on flash of `part`, the beginning of this message, is there already.
        """
        blocks = self.blocks(size)
        if blocks > self._reachable_blocks(box, part):
            raise StoreFull()
        index = self._index
        while index.blocks(box) + blocks > self._quota() or index.count(box) >= MESSAGES_MAX:
            index.delete(*self._oldest_done((box,)))
        blocks -= self._on_flash(part)
        while self._total - self._used() < blocks:
            parts = self._receiver.idle(part)
            if parts:
                self._receiver.drop(parts[0])
            else:
                index.delete(*self._oldest_done((INBOX, OUTBOX)))

    def _reachable_blocks(self, box, part):
        kept = kept_blocks = may_go = 0
        for each in (INBOX, OUTBOX):
            for entry in self._index.entries(each):
                if self._may_go(each, entry):
                    may_go += self.blocks(entry.size)
                elif each == box:
                    kept += 1
                    kept_blocks += self.blocks(entry.size)
        if kept >= MESSAGES_MAX:
            return -1
        may_go += self._on_flash(part)
        for idle in self._receiver.idle(part):
            may_go += self.blocks(idle.received)
        return min(self._quota() - kept_blocks, self._total - self._used() + may_go)

    def _on_flash(self, part):
        return self.blocks(part.received) if part is not None and part.received else 0

    def _quota(self):
        return self._total * 3 // 4

    def _used(self):
        used = self._index.blocks(INBOX) + self._index.blocks(OUTBOX) + self._receiver.blocks()
        if self.recording is not None:
            used += self.blocks(self.recording.limit)
        return used

    def _may_go(self, box, entry):
        return entry.done and not self._index.is_open(box, entry.id)

    def _oldest_done(self, boxes):
        _, box, entry = min(
            (entry.sequence, box, entry)
            for box in boxes
            for entry in self._index.entries(box)
            if self._may_go(box, entry)
        )
        return box, entry
