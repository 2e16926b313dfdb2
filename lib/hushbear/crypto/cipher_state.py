"""One direction of a Noise session (The Noise Protocol Framework, revision 34, section 5.1)."""

from struct import pack_into

from .gcm import AESGCM, NONCE_SIZE, TAG_SIZE

RECORDS_MAX = 1 << 32  # one way


class NoiseError(Exception):
    """The handshake or the cipher cannot go on."""


class CipherState:
    """Seals or opens the records of one direction, in order. `count` is how many there were.

    Neither method allocates.
    """

    def __init__(self, key):
        self._aead = AESGCM(key)
        self._nonce = bytearray(NONCE_SIZE)  # 4 zeros, the count as 8 bytes big-endian
        self.count = 0

    def seal(self, buffer, offset, n):
        """Encrypt n bytes in place and return the n + 16 that the record takes with its tag."""
        if self.count >= RECORDS_MAX:
            raise NoiseError("too many records under one key")
        pack_into(">I", self._nonce, 8, self.count)
        self._aead.seal(self._nonce, buffer, offset, n)
        self.count += 1
        return n + TAG_SIZE

    def open(self, buffer, offset, n):
        """Decrypt in place the record of n bytes and return the length of what was in it, or -1.

        After the first -1 (altered, cut, replayed, out of order) the key is gone: always -1.
        """
        if self._aead is None or self.count >= RECORDS_MAX:
            return -1
        pack_into(">I", self._nonce, 8, self.count)
        if not self._aead.open(self._nonce, buffer, offset, n):
            self._aead = None
            return -1
        self.count += 1
        return n - TAG_SIZE
