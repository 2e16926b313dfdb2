"""A message on its way: Upload from the phone into the inbox, Download from the toy to the phone.

Both are paced by an absolute limit: nothing past it may be sent until a GRANT raises it.
"""

import asyncio
import hashlib
import struct

from hushbear import wire

_OFFSET = const(4)  # bytes of a DATA record's own head
_GRANT_MIN = const(1024)  # message bytes that a GRANT allows at least


class Upload:
    """The message that a phone is sending. The store's part file survives it."""

    def __init__(self, session, tag, message_id, size, offset):
        self.session = session
        self.tag = tag
        self.message_id = message_id
        self.size = size
        self.offset = offset
        self.grant()

    def grant(self):
        """Let the phone go on, up to `limit`."""
        self.limit = min(self.size, self.offset + wire.WINDOW)

    def due(self):
        """Whether it is worth a GRANT."""
        more = self.offset + wire.WINDOW - self.limit
        return self.limit < self.size and more >= _GRANT_MIN

    def fits(self, offset, size):
        """Whether `size` > 0 bytes at `offset` continue the upload within its limit."""
        return offset == self.offset and 0 < size <= self.limit - self.offset


class Download:
    """Sends a stored message as DATA records up to the phone's limit, then END with its digest."""

    def __init__(self, session, tag, reader, offset, limit):
        self.session = session
        self.tag = tag
        self.size = reader.size
        self.close = reader.close
        self._reader = reader
        self._offset = offset
        self._limit = limit
        self._granted = asyncio.Event()
        self._stopped = False

    def grant(self, tag, limit):
        """Raise the limit. A lower one, or one of another transfer, says nothing."""
        if tag == self.tag and limit > self._limit:
            self._limit = limit
            self._granted.set()

    def stop(self):
        """End between two records, so that the stream of frames stays whole."""
        self._stopped = True
        self._granted.set()

    async def run(self):
        """Send what is left, up to the end or to `stop`."""
        session = self.session
        frame = session.frame
        digest = hashlib.sha256()
        chunk = frame.body[_OFFSET : _OFFSET + wire.DATA_MAX]
        # A frame of whole notifications: the rest of one would take a packet of its own.
        value_size = session.peer.value_size
        whole = wire.FRAME_MAX // value_size * value_size - wire.FRAME_MAX + wire.DATA_MAX
        at = 0
        while at < self.size:
            # A resumed download reads what the phone has already: the digest is of the whole.
            sending = at >= self._offset
            while sending and at >= self._limit and not self._stopped:
                self._granted.clear()
                await self._granted.wait()
            async with frame.lock:
                if self._stopped:
                    return
                end = min(self.size, self._limit) if sending else self._offset
                piece = chunk[: min(whole, end - at)]
                size = self._reader.readinto(piece)
                if not size:
                    raise OSError("message file is shorter than it was")
                digest.update(piece[:size])
                if sending:
                    struct.pack_into(wire.DATA_HEAD, frame.body, 0, at)
                    await session.send_body(wire.DATA, self.tag, _OFFSET + size)
            at += size
            await asyncio.sleep_ms(0)
        async with frame.lock:
            if not self._stopped:
                await session.send(wire.END, self.tag, digest.digest())
