"""SHA-512 (FIPS 180-4), which official firmware does not have: hashlib's interface, in viper.

A 64-bit word is two of 32 bits, the lower one first. Both halves go through the same lines, which
take the same steps whatever the data are. 150,000 instructions for a block of 128 bytes.
"""

from array import array
from struct import pack

DIGEST_SIZE = 64
BLOCK_SIZE = 128

# Big-endian, as in the standard: the first 64 bits of the fractional parts of the square roots of
# the first 8 primes and of the cube roots of the first 80 (sections 5.3.5 and 4.2.3)
_INITIAL = (
    b"\x6a\x09\xe6\x67\xf3\xbc\xc9\x08\xbb\x67\xae\x85\x84\xca\xa7\x3b"
    b"\x3c\x6e\xf3\x72\xfe\x94\xf8\x2b\xa5\x4f\xf5\x3a\x5f\x1d\x36\xf1"
    b"\x51\x0e\x52\x7f\xad\xe6\x82\xd1\x9b\x05\x68\x8c\x2b\x3e\x6c\x1f"
    b"\x1f\x83\xd9\xab\xfb\x41\xbd\x6b\x5b\xe0\xcd\x19\x13\x7e\x21\x79"
)
_K = (
    b"\x42\x8a\x2f\x98\xd7\x28\xae\x22\x71\x37\x44\x91\x23\xef\x65\xcd"
    b"\xb5\xc0\xfb\xcf\xec\x4d\x3b\x2f\xe9\xb5\xdb\xa5\x81\x89\xdb\xbc"
    b"\x39\x56\xc2\x5b\xf3\x48\xb5\x38\x59\xf1\x11\xf1\xb6\x05\xd0\x19"
    b"\x92\x3f\x82\xa4\xaf\x19\x4f\x9b\xab\x1c\x5e\xd5\xda\x6d\x81\x18"
    b"\xd8\x07\xaa\x98\xa3\x03\x02\x42\x12\x83\x5b\x01\x45\x70\x6f\xbe"
    b"\x24\x31\x85\xbe\x4e\xe4\xb2\x8c\x55\x0c\x7d\xc3\xd5\xff\xb4\xe2"
    b"\x72\xbe\x5d\x74\xf2\x7b\x89\x6f\x80\xde\xb1\xfe\x3b\x16\x96\xb1"
    b"\x9b\xdc\x06\xa7\x25\xc7\x12\x35\xc1\x9b\xf1\x74\xcf\x69\x26\x94"
    b"\xe4\x9b\x69\xc1\x9e\xf1\x4a\xd2\xef\xbe\x47\x86\x38\x4f\x25\xe3"
    b"\x0f\xc1\x9d\xc6\x8b\x8c\xd5\xb5\x24\x0c\xa1\xcc\x77\xac\x9c\x65"
    b"\x2d\xe9\x2c\x6f\x59\x2b\x02\x75\x4a\x74\x84\xaa\x6e\xa6\xe4\x83"
    b"\x5c\xb0\xa9\xdc\xbd\x41\xfb\xd4\x76\xf9\x88\xda\x83\x11\x53\xb5"
    b"\x98\x3e\x51\x52\xee\x66\xdf\xab\xa8\x31\xc6\x6d\x2d\xb4\x32\x10"
    b"\xb0\x03\x27\xc8\x98\xfb\x21\x3f\xbf\x59\x7f\xc7\xbe\xef\x0e\xe4"
    b"\xc6\xe0\x0b\xf3\x3d\xa8\x8f\xc2\xd5\xa7\x91\x47\x93\x0a\xa7\x25"
    b"\x06\xca\x63\x51\xe0\x03\x82\x6f\x14\x29\x29\x67\x0a\x0e\x6e\x70"
    b"\x27\xb7\x0a\x85\x46\xd2\x2f\xfc\x2e\x1b\x21\x38\x5c\x26\xc9\x26"
    b"\x4d\x2c\x6d\xfc\x5a\xc4\x2a\xed\x53\x38\x0d\x13\x9d\x95\xb3\xdf"
    b"\x65\x0a\x73\x54\x8b\xaf\x63\xde\x76\x6a\x0a\xbb\x3c\x77\xb2\xa8"
    b"\x81\xc2\xc9\x2e\x47\xed\xae\xe6\x92\x72\x2c\x85\x14\x82\x35\x3b"
    b"\xa2\xbf\xe8\xa1\x4c\xf1\x03\x64\xa8\x1a\x66\x4b\xbc\x42\x30\x01"
    b"\xc2\x4b\x8b\x70\xd0\xf8\x97\x91\xc7\x6c\x51\xa3\x06\x54\xbe\x30"
    b"\xd1\x92\xe8\x19\xd6\xef\x52\x18\xd6\x99\x06\x24\x55\x65\xa9\x10"
    b"\xf4\x0e\x35\x85\x57\x71\x20\x2a\x10\x6a\xa0\x70\x32\xbb\xd1\xb8"
    b"\x19\xa4\xc1\x16\xb8\xd2\xd0\xc8\x1e\x37\x6c\x08\x51\x41\xab\x53"
    b"\x27\x48\x77\x4c\xdf\x8e\xeb\x99\x34\xb0\xbc\xb5\xe1\x9b\x48\xa8"
    b"\x39\x1c\x0c\xb3\xc5\xc9\x5a\x63\x4e\xd8\xaa\x4a\xe3\x41\x8a\xcb"
    b"\x5b\x9c\xca\x4f\x77\x63\xe3\x73\x68\x2e\x6f\xf3\xd6\xb2\xb8\xa3"
    b"\x74\x8f\x82\xee\x5d\xef\xb2\xfc\x78\xa5\x63\x6f\x43\x17\x2f\x60"
    b"\x84\xc8\x78\x14\xa1\xf0\xab\x72\x8c\xc7\x02\x08\x1a\x64\x39\xec"
    b"\x90\xbe\xff\xfa\x23\x63\x1e\x28\xa4\x50\x6c\xeb\xde\x82\xbd\xe9"
    b"\xbe\xf9\xa3\xf7\xb2\xc6\x79\x15\xc6\x71\x78\xf2\xe3\x72\x53\x2b"
    b"\xca\x27\x3e\xce\xea\x26\x61\x9c\xd1\x86\xb8\xc7\x21\xc0\xc2\x07"
    b"\xea\xda\x7d\xd6\xcd\xe0\xeb\x1e\xf5\x7d\x4f\x7f\xee\x6e\xd1\x78"
    b"\x06\xf0\x67\xaa\x72\x17\x6f\xba\x0a\x63\x7d\xc5\xa2\xc8\x98\xa6"
    b"\x11\x3f\x98\x04\xbe\xf9\x0d\xae\x1b\x71\x0b\x35\x13\x1c\x47\x1b"
    b"\x28\xdb\x77\xf5\x23\x04\x7d\x84\x32\xca\xab\x7b\x40\xc7\x24\x93"
    b"\x3c\x9e\xbe\x0a\x15\xc9\xbe\xbc\x43\x1d\x67\xc4\x9c\x10\x0d\x4c"
    b"\x4c\xc5\xd4\xbe\xcb\x3e\x42\xb6\x59\x7f\x29\x9c\xfc\x65\x7e\x2a"
    b"\x5f\xcb\x6f\xab\x3a\xd6\xfa\xec\x6c\x44\x19\x8c\x4a\x47\x58\x17"
)


@micropython.viper
def _load(words: ptr32, source: ptr8, n: int):
    # n words, big-endian in source
    end = int(words) + 8 * n
    while int(words) < end:
        words[1] = source[0] << 24 | source[1] << 16 | source[2] << 8 | source[3]
        words[0] = source[4] << 24 | source[5] << 16 | source[6] << 8 | source[7]
        words = ptr32(int(words) + 8)
        source = ptr8(int(source) + 8)


@micropython.viper
def _compress(state: ptr32, v: ptr32, w: ptr32, k: ptr8):
    # w comes in as the block, and then holds the last 16 words of the message schedule. v holds
    # a to h (section 6.4.2): they stay where they are while each round moves the names, so that
    # h's place becomes a's. Sums are made in halves of 16 bits, which leaves room for carries.
    i = 0
    while i < 16:
        v[i] = state[i]
        i += 1
    t = 0
    while t < 80:
        now = (t & 15) << 1
        if t >= 16:
            i = 0
            carry = uint(0)
            while i < 2:
                one = (t + 1 & 15) << 1  # W of t - 15
                x = uint(w[one | i])
                y = uint(w[one | i ^ 1])
                s0 = x >> 1 ^ y << 31 ^ x >> 8 ^ y << 24 ^ x >> 7
                if not i:
                    s0 ^= y << 25
                one = (t - 2 & 15) << 1
                x = uint(w[one | i])
                y = uint(w[one | i ^ 1])
                s1 = x >> 19 ^ y << 13 ^ y >> 29 ^ x << 3 ^ x >> 6
                if not i:
                    s1 ^= y << 26
                x = uint(w[now | i])
                y = uint(w[(t - 7 & 15) << 1 | i])
                low = (s0 & 0xFFFF) + (s1 & 0xFFFF) + (x & 0xFFFF) + (y & 0xFFFF) + carry
                high = (s0 >> 16) + (s1 >> 16) + (x >> 16) + (y >> 16) + (low >> 16)
                w[now | i] = high << 16 | low & 0xFFFF
                carry = high >> 16
                i += 1
        i = 0
        carry = uint(0)
        carry_d = uint(0)
        carry_a = uint(0)
        while i < 2:
            # h + S1(e) + Ch(e, f, g) + K + W
            one = (4 - t & 7) << 1
            x = uint(v[one | i])
            y = uint(v[one | i ^ 1])
            s1 = x >> 14 ^ y << 18 ^ x >> 18 ^ y << 14 ^ y >> 9 ^ x << 23
            y = uint(v[(6 - t & 7) << 1 | i])
            s0 = y ^ x & (y ^ uint(v[(5 - t & 7) << 1 | i]))
            h = (7 - t & 7) << 1 | i
            x = uint(v[h])
            y = uint(w[now | i])
            one = 4 - 4 * i
            low = uint(k[one + 3] | k[one + 2] << 8)
            high = uint(k[one + 1] | k[one] << 8)
            low += (x & 0xFFFF) + (y & 0xFFFF) + (s0 & 0xFFFF) + (s1 & 0xFFFF) + carry
            high += (x >> 16) + (y >> 16) + (s0 >> 16) + (s1 >> 16) + (low >> 16)
            carry = high >> 16
            low &= 0xFFFF
            high &= 0xFFFF
            # is added to d
            one = (3 - t & 7) << 1 | i
            x = uint(v[one])
            y = low + (x & 0xFFFF) + carry_d
            x = high + (x >> 16) + (y >> 16)
            carry_d = x >> 16
            v[one] = x << 16 | y & 0xFFFF
            # and, with S0(a) + Maj(a, b, c), becomes the next a
            one = (0 - t & 7) << 1
            x = uint(v[one | i])
            y = uint(v[one | i ^ 1])
            s0 = x >> 28 ^ y << 4 ^ y >> 2 ^ x << 30 ^ y >> 7 ^ x << 25
            y = uint(v[(1 - t & 7) << 1 | i])
            s1 = x & y | uint(v[(2 - t & 7) << 1 | i]) & (x | y)
            low += (s0 & 0xFFFF) + (s1 & 0xFFFF) + carry_a
            high += (s0 >> 16) + (s1 >> 16) + (low >> 16)
            carry_a = high >> 16
            v[h] = high << 16 | low & 0xFFFF
            i += 1
        k = ptr8(int(k) + 8)
        t += 1
    i = 0
    while i < 16:  # after 80 rounds each is in its own place again
        if not i & 1:
            carry = uint(0)
        x = uint(state[i])
        y = uint(v[i])
        low = (x & 0xFFFF) + (y & 0xFFFF) + carry
        high = (x >> 16) + (y >> 16) + (low >> 16)
        carry = high >> 16
        state[i] = high << 16 | low & 0xFFFF
        i += 1


class sha512:
    """As hashlib's: `update` takes more data, `digest` returns the 64 bytes of all so far."""

    def __init__(self, data=b""):
        self._state = array("i", bytes(64))
        _load(self._state, _INITIAL, 8)
        self._v = array("i", bytes(64))
        self._w = array("i", bytes(128))
        self._rest = b""  # not a whole block yet
        self._size = 0
        self.update(data)

    def _absorb(self, state, data):
        for at in range(0, len(data) - 127, BLOCK_SIZE):
            _load(self._w, data[at : at + BLOCK_SIZE], 16)
            _compress(state, self._v, self._w, _K)

    def update(self, data):
        self._size += len(data)
        data = self._rest + data
        self._absorb(self._state, data)
        self._rest = data[len(data) & -BLOCK_SIZE :]

    def digest(self):
        state = array("i", self._state)
        rest = self._rest + b"\x80"
        rest += bytes(-(len(rest) + 16) % BLOCK_SIZE)
        self._absorb(state, rest + (8 * self._size).to_bytes(16, "big"))
        words = [state[i ^ 1] for i in range(16)]  # the upper halves first
        return pack(">16i", *words)
