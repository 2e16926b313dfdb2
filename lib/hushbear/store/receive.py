"""Receiving a message: a part file that grows, survives restarts, and is moved when whole."""

import asyncio
import os
from hashlib import sha256

from hushbear.container import (
    BLOCK_ALIGN,
    HEADER_SIZE,
    ContainerError,
    check_size,
    parse_header,
)
from hushbear.store.errors import StoreError, StoreFull, from_os
from hushbear.store.names import TAG_SIZE, blocks_for, part_name
from hushbear.wire import BUSY, DAMAGED, INBOX, MALFORMED, NOT_FOUND, RANGE

PARTS_MAX = 3  # unfinished messages kept; the shortest goes when another one comes
_SYNC = const(16384)  # bytes between two flushes: a power cut can cost them, nothing confirmed
_READ = const(256)  # bytes per read while hashing
_READS = const(16)  # reads between two turns of the other tasks


class Part:
    def __init__(self, name, message_id, size, tag, received):
        self.name = name
        self.id = message_id
        self.size = size
        self.tag = tag
        self.received = received


class Receiver:
    def __init__(self, index, path):
        self._index = index
        self.path = path
        self.parts = []
        self._active = None
        self._file = None
        self._position = 0
        self._synced = 0
        self._committing = False

    def blocks(self):
        """Flash blocks that parts take, and that the message being received will take."""
        size = self._index.block_size
        return sum(
            blocks_for(p.size if p is self._active else p.received, size) for p in self.parts
        )

    def idle(self, part=None):
        """Return the parts that nobody is sending now, shortest first, without `part`."""
        parts = [p for p in self.parts if p is not self._active and p is not part]
        parts.sort(key=lambda p: p.received)
        return parts

    def drop(self, part):
        self.parts.remove(part)
        os.remove(self.path + "/" + part.name)

    def offer(self, message_id, size, digest, room):
        if self._index.has(message_id):
            return size
        try:
            check_size(size)
        except ContainerError as error:
            raise StoreError(MALFORMED, str(error))
        if self._committing:
            raise StoreError(BUSY)
        self.suspend()
        tag = bytes(digest[:TAG_SIZE])
        part = self._find(message_id)
        if part is not None and (part.size, part.tag) != (size, tag):
            self.drop(part)  # other contents under this id: what came of them is of no use
            part = None
        if part is None:
            idle = self.idle()
            if len(idle) >= PARTS_MAX:
                self.drop(idle[0])
            part = Part(part_name(message_id, size, tag), bytes(message_id), size, tag, 0)
        room.make(INBOX, size, part)
        # Never past the last block: the whole size means "here already".
        position = min(part.received, max(0, size - BLOCK_ALIGN))
        self._file = open(self.path + "/" + part.name, "r+b" if part.received else "wb")
        if part not in self.parts:
            self.parts.append(part)
        self._file.seek(position)
        self._position = self._synced = position
        self._digest = bytes(digest)
        self._active = part
        return position

    def append(self, offset, buf, start, n):
        part = self._active
        if part is None or self._committing or offset != self._position:
            raise StoreError(RANGE)
        if n <= 0 or offset + n > part.size or start + n > len(buf):
            raise StoreError(RANGE)
        try:
            if self._file.write(buf, start, n) != n:
                raise StoreFull()
            self._position = offset + n
            if self._position - self._synced >= _SYNC:
                self._file.flush()
                self._synced = self._position
        except (OSError, StoreFull) as error:
            self.suspend()
            self._measure(part)  # littlefs drops what came since the last flush
            raise from_os(error) if isinstance(error, OSError) else error
        if self._position > part.received:
            part.received = self._position

    def suspend(self):
        if self._active is None or self._committing:
            return
        part, file = self._active, self._file
        self._active = self._file = None
        try:
            file.close()
            if not part.received:
                self.drop(part)
        except OSError:
            self._measure(part)

    async def commit(self, message_id):
        if self._index.has(message_id):
            return
        part = self._active
        if part is None or part.id != message_id:
            raise StoreError(NOT_FOUND)
        if self._committing:
            raise StoreError(BUSY)
        if self._position != part.size:
            self.suspend()
            raise StoreError(RANGE)
        path = self.path + "/" + part.name
        self._committing = True
        try:
            self._file.close()
            with open(path, "rb") as file:
                header = file.read(HEADER_SIZE)
                file.seek(0)
                digest = await self._sha256(file)
            found_id, sender, time, _ = parse_header(header)
            if digest != self._digest or found_id != message_id:
                raise ContainerError("not what was announced")
            self._index.adopt(INBOX, path, message_id, sender, part.size, time)
            self.parts.remove(part)
        except ContainerError as error:
            self.drop(part)
            raise StoreError(DAMAGED, str(error))
        except OSError as error:
            self._measure(part)
            raise from_os(error)
        finally:  # cancelled: the part stays and can be offered again
            self._committing = False
            self._active = self._file = None

    async def _sha256(self, file):
        digest = sha256()
        buf = bytearray(_READ)
        reads = 0
        while True:
            n = file.readinto(buf)
            if n == len(buf):
                digest.update(buf)
            elif n:
                digest.update(memoryview(buf)[:n])
            else:
                return digest.digest()
            reads += 1
            if reads % _READS == 0:
                await asyncio.sleep(0)

    def _find(self, message_id):
        for part in self.parts:
            if part.id == message_id:
                return part
        return None

    def _measure(self, part):
        try:
            part.received = os.stat(self.path + "/" + part.name)[6]
        except OSError:
            part.received = 0
