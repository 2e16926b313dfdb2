"""A byte ring for one producer and one consumer, either of which may be an interrupt.

The caller gives the memory, all of which is used; after construction nothing allocates. The
producer alone moves the write position and the consumer alone the read position, each with one
store after the bytes have been copied, so neither side ever waits for or disturbs the other.
"""

from array import array

# Places in the state. Positions run from 0 to 2 * capacity - 1, so that a full ring is not
# mistaken for an empty one.
_CAPACITY = const(0)
_WRITE = const(1)
_READ = const(2)


@micropython.viper
def _copy(dst: ptr8, src: ptr8, state: ptr32, off: int, n: int, side: int) -> int:
    # One of dst and src is the ring, the other is the caller's, from off on. Return how many
    # bytes were copied; the position stays. The first parameters live in registers.
    capacity = state[_CAPACITY]
    room = state[_WRITE] - state[_READ]
    if room < 0:
        room += 2 * capacity
    if side == _WRITE:
        room = capacity - room
    if n > room:
        n = room
    place = state[side]
    if place >= capacity:
        place -= capacity
    # Up to the end of the ring's memory, then the rest from its beginning
    run = capacity - place
    if run > n:
        run = n
    to = int(dst) + (place if side == _WRITE else off)
    at = int(src) + (off if side == _WRITE else place)
    left = n
    while left > 0:
        dst = ptr8(to)
        src = ptr8(at)
        end = uint(src) + run
        # Four words at a time where both sides lie at them, or four halfwords, then the rest
        stop = uint(src)
        if not (to | at) & 3:
            stop = end - (run & 15)
        while uint(src) < stop:
            ptr32(dst)[0] = ptr32(src)[0]
            ptr32(dst)[1] = ptr32(src)[1]
            ptr32(dst)[2] = ptr32(src)[2]
            ptr32(dst)[3] = ptr32(src)[3]
            dst = ptr8(uint(dst) + 16)
            src = ptr8(uint(src) + 16)
        if not (to | at) & 1:
            stop = end - (run & 7)
        while uint(src) < stop:
            ptr16(dst)[0] = ptr16(src)[0]
            ptr16(dst)[1] = ptr16(src)[1]
            ptr16(dst)[2] = ptr16(src)[2]
            ptr16(dst)[3] = ptr16(src)[3]
            dst = ptr8(uint(dst) + 8)
            src = ptr8(uint(src) + 8)
        while uint(src) < end:
            dst[0] = src[0]
            dst = ptr8(uint(dst) + 1)
            src = ptr8(uint(src) + 1)
        to = int(dst) - (capacity if side == _WRITE else 0)
        at = int(src) - (0 if side == _WRITE else capacity)
        left -= run
        run = left
    return n


class Ring:
    """Bytes in the order they came, in `buffer` (a bytearray, or a memoryview of one).

    `put` belongs to the producer; `get`, `peek`, `skip` and `clear` to the consumer; `used` and
    `free` to both. A span that does not fit the caller's buffer raises ValueError.
    """

    def __init__(self, buffer):
        self._buffer = buffer
        self._state = array("i", (len(buffer), 0, 0))

    @micropython.native
    def used(self):
        """Return how many bytes can be got."""
        state = self._state
        used = state[_WRITE] - state[_READ]
        return used if used >= 0 else used + 2 * state[_CAPACITY]

    @micropython.native
    def free(self):
        """Return how many bytes can be put."""
        return self._state[_CAPACITY] - self.used()

    @micropython.native
    def put(self, src, off, n):
        """Add up to `n` bytes from offset `off` of `src`; return how many there was room for."""
        if off < 0 or n < 0 or off + n > len(src):
            raise ValueError("span outside the buffer")
        n = _copy(self._buffer, src, self._state, off, n, _WRITE)
        self._advance(_WRITE, n)
        return n

    @micropython.native
    def get(self, dst, off, n):
        """Move up to `n` bytes to offset `off` of `dst`; return how many."""
        n = self.peek(dst, off, n)
        self._advance(_READ, n)
        return n

    @micropython.native
    def peek(self, dst, off, n):
        """Copy what `get` would move and leave it in the ring; return how many bytes."""
        if off < 0 or n < 0 or off + n > len(dst):
            raise ValueError("span outside the buffer")
        return _copy(dst, self._buffer, self._state, off, n, _READ)

    def skip(self, n):
        """Drop up to `n` bytes; return how many."""
        if n < 0:
            raise ValueError("negative length")
        n = min(n, self.used())
        self._advance(_READ, n)
        return n

    def clear(self):
        """Drop everything that is there now."""
        self._state[_READ] = self._state[_WRITE]

    @micropython.native
    def _advance(self, side, n):
        state = self._state
        position = state[side] + n
        wrap = 2 * state[_CAPACITY]
        state[side] = position - wrap if position >= wrap else position
