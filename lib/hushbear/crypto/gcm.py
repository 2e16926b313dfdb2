"""AES-256-GCM in place, with 96-bit nonces (NIST SP 800-38D).

Official firmware has AES a block at a time (ECB) and nothing above it: counter mode is ECB over
counter blocks made here, and GHASH is viper on 32-bit words. It multiplies by H through 4-bit
tables, one for each 64-bit half of a block, so that both halves share their shifts: 576 bytes a
key. `seal` and `open` allocate nothing, so they work with the heap locked. All keys share one
scratch buffer: call them from tasks, not from interrupts.
"""

from cryptolib import aes

NONCE_SIZE = 12
TAG_SIZE = 16
SIZE_MAX = 0xFFFF  # bytes of data in one call, and of AAD

_MODE_ECB = const(1)
_BATCH = const(16)  # blocks in one call of AES

# A key's words: 16 products of H, 16 of H * x^64, the reduction of each 4 bits shifted out.
_TABLE_SIZE = const(4 * (64 + 64 + 16))

_stream = bytearray(16 * _BATCH)  # counter blocks, encrypted in place
_state = bytearray(16)  # GHASH, four words
_tag = bytearray(16)  # the first counter block, encrypted, and then the tag
_last = bytearray(16)  # a block that is not whole, or the lengths
_WRITABLE = (bytearray, memoryview)


@micropython.viper
def _make_table(table: ptr32, h: ptr8):
    # In words of GCM's bit order: bit 31 of the first is the coefficient of x^0, so that
    # multiplying by x shifts right. The product at hand is where the reductions will be.
    product = ptr32(int(table) + 512)
    j = 0
    while j < 4:
        product[j] = h[0] << 24 | h[1] << 16 | h[2] << 8 | h[3]
        h = ptr8(int(h) + 4)
        j += 1
    reduction = 0xE1  # in a variable, as no literal has more than 30 bits
    i = 0
    while i < 68:
        power = i & 63
        entry = ptr32(int(table) + ((i & 64) << 2) + (8 >> power << 4))
        carry = 0
        j = 0
        while j < 4:
            word = product[j]
            if power < 4:  # H * x^i and H * x^(64 + i) are the entries 8 >> i
                entry[j] = word
            product[j] = int(uint(word) >> 1) | carry
            carry = word << 31
            j += 1
        if carry:
            product[0] = product[0] ^ reduction << 24
        i += 1
    i = 0
    while i < 128:  # the other entries are sums of those
        k = i >> 2 & 15
        lowest = k & -k
        if k == 0:
            table[i] = 0
        elif k != lowest:
            table[i] = table[(i & 67) | lowest << 2] ^ table[i ^ lowest << 2]
        i += 1
    i = 0
    while i < 16:
        table[128 + i] = i << 21 ^ i << 26 ^ i << 27 ^ i << 28
        i += 1


@micropython.viper
def _absorb(p: ptr32, source: ptr8, state: ptr32, offset: int, blocks: int):
    # `p` comes in as the table and is then the entry at hand: it has the fastest register.
    table = int(p)
    source = ptr8(int(source) + offset)
    a = uint(state[0])
    b = uint(state[1])
    c = uint(state[2])
    d = uint(state[3])
    while blocks:
        next_1 = a ^ uint(source[0] << 24 | source[1] << 16 | source[2] << 8 | source[3])
        m = b ^ uint(source[4] << 24 | source[5] << 16 | source[6] << 8 | source[7])
        next_2 = c ^ uint(source[8] << 24 | source[9] << 16 | source[10] << 8 | source[11])
        n = d ^ uint(source[12] << 24 | source[13] << 16 | source[14] << 8 | source[15])
        source = ptr8(int(source) + 16)
        a = uint(0)
        b = a
        c = a
        d = a
        i = 16
        while i:
            p = ptr32(table + int(m & 15) * 16)
            out = int(d) & 15
            d = d >> 4 ^ c << 28 ^ p[3]
            c = c >> 4 ^ b << 28 ^ p[2]
            b = b >> 4 ^ a << 28 ^ p[1]
            a = a >> 4 ^ p[0]
            p = ptr32(table + 512 + out * 4)
            a = a ^ p[0]
            p = ptr32(table + 256 + int(n & 15) * 16)
            a = a ^ p[0]
            b = b ^ p[1]
            c = c ^ p[2]
            d = d ^ p[3]
            m = m >> 4
            n = n >> 4
            i -= 1
            if i == 8:
                m = next_1
                n = next_2
        blocks -= 1
    state[0] = int(a)
    state[1] = int(b)
    state[2] = int(c)
    state[3] = int(d)


@micropython.viper
def _pad(block: ptr8, source: ptr8, offset: int, n: int):
    i = 0
    while i < 16:
        block[i] = source[offset + i] if i < n else 0
        i += 1


@micropython.viper
def _copy(buffer: ptr8, block: ptr8, offset: int):
    i = 0
    while i < 16:
        buffer[offset + i] = block[i]
        i += 1


@micropython.viper
def _lengths(last: ptr8, aad: int, n: int):
    i = 0
    while i < 16:
        last[i] = 0
        i += 1
    last[5] = aad >> 13
    last[6] = aad >> 5
    last[7] = aad << 3
    last[13] = n >> 13
    last[14] = n >> 5
    last[15] = n << 3


@micropython.viper
def _count(block: ptr32, counter: int, blocks: int, nonce: ptr8):
    a = nonce[0] | nonce[1] << 8 | nonce[2] << 16 | nonce[3] << 24
    b = nonce[4] | nonce[5] << 8 | nonce[6] << 16 | nonce[7] << 24
    c = nonce[8] | nonce[9] << 8 | nonce[10] << 16 | nonce[11] << 24
    while blocks:
        block[0] = a
        block[1] = b
        block[2] = c
        block[3] = counter << 24 | (counter & 0xFF00) << 8 | counter >> 8 & 0xFF00
        block = ptr32(int(block) + 16)
        counter += 1
        blocks -= 1


@micropython.viper
def _xor(buffer: ptr8, stream: ptr8, offset: int, n: int):
    buffer = ptr8(int(buffer) + offset)
    while n >= 4:
        buffer[0] = buffer[0] ^ stream[0]
        buffer[1] = buffer[1] ^ stream[1]
        buffer[2] = buffer[2] ^ stream[2]
        buffer[3] = buffer[3] ^ stream[3]
        buffer = ptr8(int(buffer) + 4)
        stream = ptr8(int(stream) + 4)
        n -= 4
    while n:
        n -= 1
        buffer[n] = buffer[n] ^ stream[n]


@micropython.viper
def _finish(tag: ptr8, state: ptr32):
    i = 0
    while i < 16:
        tag[i] = tag[i] ^ state[i >> 2] >> (24 - ((i & 3) << 3))
        i += 1


@micropython.viper
def _differ(buffer: ptr8, tag: ptr8, offset: int) -> int:
    difference = 0
    i = 0
    while i < 16:  # to the end, wherever the first difference is
        difference |= buffer[offset + i] ^ tag[i]
        i += 1
    return difference


def _check(nonce, buffer, offset, n, room, aad):
    if not isinstance(buffer, _WRITABLE):
        raise TypeError("seal and open work in a bytearray or memoryview")
    if len(nonce) != NONCE_SIZE:
        raise ValueError("the nonce is 12 bytes")
    if offset < 0 or not 0 <= n <= SIZE_MAX or n + room > len(buffer) - offset:
        raise ValueError("outside the buffer")
    if len(aad) > SIZE_MAX:
        raise ValueError("too much additional data")


class AESGCM:
    """One AES-256 key, 32 bytes. A nonce must never seal twice under it."""

    def __init__(self, key):
        if len(key) != 32:
            raise ValueError("the key is 32 bytes")
        self._encrypt = aes(key, _MODE_ECB).encrypt
        self._table = bytearray(_TABLE_SIZE)
        _make_table(self._table, self._encrypt(bytes(16)))

    def seal(self, nonce, buffer, offset, n, aad=b""):
        """Encrypt the n bytes of `buffer` at `offset`, and write the tag to the 16 after them."""
        _check(nonce, buffer, offset, n, TAG_SIZE, aad)
        self._crypt(nonce, buffer, offset, n)
        self._authenticate(nonce, buffer, offset, n, aad)
        _copy(buffer, _tag, offset + n)

    def open(self, nonce, buffer, offset, n, aad=b""):
        """Decrypt the n bytes at `offset`, of which the last 16 are the tag, and return True.

        A wrong tag: return False, having decrypted nothing and changed nothing.
        """
        _check(nonce, buffer, offset, n, 0, aad)
        n -= TAG_SIZE
        if n < 0:
            return False
        self._authenticate(nonce, buffer, offset, n, aad)
        if _differ(buffer, _tag, offset + n):
            return False
        self._crypt(nonce, buffer, offset, n)
        return True

    def _crypt(self, nonce, buffer, offset, n):
        counter = 2  # 1 encrypts the tag
        while n > 0:
            # Always a whole batch: what is too much costs less than a view for every length.
            _count(_stream, counter, _BATCH, nonce)
            self._encrypt(_stream, _stream)
            size = min(n, 16 * _BATCH)
            _xor(buffer, _stream, offset, size)
            counter += _BATCH
            offset += size
            n -= size

    def _authenticate(self, nonce, buffer, offset, n, aad):
        # Leaves the tag in _tag.
        _pad(_state, b"", 0, 0)
        self._hash(aad, 0, len(aad))
        self._hash(buffer, offset, n)
        _lengths(_last, len(aad), n)
        _absorb(self._table, _last, _state, 0, 1)
        _count(_tag, 1, 1, nonce)
        self._encrypt(_tag, _tag)
        _finish(_tag, _state)

    def _hash(self, data, offset, n):
        whole = n & ~15
        _absorb(self._table, data, _state, offset, whole >> 4)
        if n > whole:
            _pad(_last, data, offset + whole, n - whole)
            _absorb(self._table, _last, _state, 0, 1)
