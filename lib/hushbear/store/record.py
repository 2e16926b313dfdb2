"""Recording a message: a file that is moved to the outbox when it is kept, or never was."""

import os

from hushbear.container import HEADER_SIZE, ContainerError, check_size, parse_header
from hushbear.store.errors import StoreError, StoreFull, from_os
from hushbear.wire import FAILED, MALFORMED, OUTBOX


class Recording:
    """A recording under way: `size` bytes of at most `limit` are written, header included."""

    def __init__(self, index, path, header, limit, ended):
        try:
            self._id, self._sender, self._time, _ = parse_header(header)
        except ContainerError as error:
            raise StoreError(MALFORMED, str(error))
        self._index = index
        self._path = path
        self._ended = ended
        self._failed = False
        # Made now: nothing can be allocated when they are needed.
        self._full = StoreFull()
        self._broken = StoreError(FAILED, "write failed")
        self.limit = limit
        self.size = HEADER_SIZE
        self._file = open(path, "wb")
        self._file.write(header, HEADER_SIZE)

    def write(self, buf, n):
        """Append n bytes of buf. Allocates nothing, whatever happens."""
        if self._failed:
            raise self._broken
        if self.size + n > self.limit:
            raise self._full
        try:
            if self._file.write(buf, n) == n:
                self.size += n
                return
        except OSError:
            pass
        self._failed = True
        raise self._broken

    def keep(self):
        """Make it a message of the outbox; return its Entry. On an error it is discarded."""
        try:
            if self._failed:  # littlefs would keep what it flushed last, not what was written
                raise self._broken
            check_size(self.size)
            self._file.close()
            entry = self._index.adopt(
                OUTBOX, self._path, self._id, self._sender, self.size, self._time
            )
            self._end()
            return entry
        except (ContainerError, OSError, StoreError) as error:
            self.discard()
            if isinstance(error, OSError):
                raise from_os(error)
            if isinstance(error, ContainerError):
                raise StoreError(MALFORMED, str(error))
            raise error

    def discard(self):
        """Forget it. Harmless after keep() or another discard()."""
        if self._file is None:
            return
        self._end()
        try:
            os.remove(self._path)
        except OSError:  # then boot() removes it
            pass

    def _end(self):
        file, self._file = self._file, None
        try:
            file.close()
        except OSError:
            pass
        self._ended()
