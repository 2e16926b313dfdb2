"""Messages sealed end to end, a chunk at a time: AES-256-GCM in the STREAM construction (Hoang,
Reyhanitabar, Rogaway and Vizár, 2015; docs/protocol.md has the bytes).

The key comes from the family's, the message's id and its whole header, the nonce from the chunk's
place and from whether it is the last. So a chunk opens only where it was sealed. Both classes work
in a caller's buffer of CHUNK_SIZE bytes; after construction nothing allocates.
"""

import struct

from hushbear.container import (
    BLOCK_ALIGN,
    CHUNK_SIZE,
    HEADER_SIZE,
    INFO,
    TAG_SIZE,
    blocks_within,
    parse_header,
)
from hushbear.crypto.gcm import AESGCM
from hushbear.crypto.kdf import expand, extract

_KEY_SIZE = const(32)
_PREFIX_SIZE = const(7)
_COUNTER = ">IB"  # which chunk, and whether it is the last


class Broken(Exception):
    """A chunk is not what was sealed in its place."""


class _Chunks:
    def __init__(self, header, family_key, chunk):
        prk = extract(parse_header(header)[0], family_key)
        secret = expand(prk, INFO + header, _KEY_SIZE + _PREFIX_SIZE)
        self._aead = AESGCM(secret[:_KEY_SIZE])
        self._nonce = bytearray(secret[_KEY_SIZE:] + bytes(5))
        self._count = 0
        self.chunk = chunk

    def _next_nonce(self, last):
        struct.pack_into(_COUNTER, self._nonce, _PREFIX_SIZE, self._count, last)
        self._count += 1
        return self._nonce


class Sealer(_Chunks):
    """Seals blocks into `recording`, which has written the header and has room for `room`."""

    def __init__(self, recording, header, family_key, chunk):
        super().__init__(header, family_key, chunk)
        self.room = blocks_within(recording.limit)
        self._recording = recording
        self._filled = 0

    def take(self, ring):
        """Move a block from the ring. Raises what Recording.write raises."""
        if self._filled + TAG_SIZE == CHUNK_SIZE:
            self._seal(0)
        self._filled += ring.get(self.chunk, self._filled, BLOCK_ALIGN)
        self.room -= 1

    def empty(self):
        """Whether there is nothing to finish."""
        return not self._filled

    def finish(self):
        """Seal what is left as the last chunk."""
        self._seal(1)

    def _seal(self, last):
        self._aead.seal(self._next_nonce(last), self.chunk, 0, self._filled)
        self._recording.write(self.chunk, self._filled + TAG_SIZE)
        self._filled = 0


class Opener(_Chunks):
    """Opens the message in `reader`, of which the header has been read."""

    def __init__(self, reader, header, family_key, chunk):
        super().__init__(header, family_key, chunk)
        self._readinto = reader.readinto
        self._left = reader.size - HEADER_SIZE
        self._broken = Broken()  # made now: nothing can be allocated when it is needed

    def fill(self):
        """Have the next chunk's blocks lie in `chunk`; return how many bytes they are,
        0 after the last. Raises Broken.
        """
        if not self._left:
            return 0
        n = self._readinto(self.chunk)
        self._left -= n
        size = n - TAG_SIZE
        if (
            size <= 0
            or size % BLOCK_ALIGN
            or not self._aead.open(self._next_nonce(not self._left), self.chunk, 0, n)
        ):
            raise self._broken
        return size
