"""The encoder to ima.py, with as much lookahead as there is time for.

Blocks, buffers and offsets are as described there. What the decoder makes of a block counts: the
encoder's own idea of it is the same to the bit, so that errors do not add up.
"""

from array import array

from hushbear.ima import MOVES

_BLOCK_ALIGN = const(256)
_BLOCK_SAMPLES = const(505)
LOOKAHEAD_MAX = const(6)  # seven squares of 2^28 fit in a word
SAMPLES_SIZE = const(2 * (_BLOCK_SAMPLES + LOOKAHEAD_MAX))

# The state is the decoder's (see ima.py), but the value is biased by 0x8000 instead of 0x20000:
# then bit 16 says that a value has left 16 bits, and bit 17 that it did so at the lower end.
#
# Of a step's levels d(0) to d(7) the one nearest to a distance x below d(7) is d(code), with
#     code = (x + 1) * reciprocal >> 29
# and reciprocals of 2^31 / step that are a little larger where the shifts of the shift-and-add
# form lose most. That is exact for each of the 89 steps and every x.


def _make_reciprocals():
    reciprocals = array("i", bytes(4 * 89))
    for index in range(89):
        step = MOVES[16 * index + 4] - MOVES[16 * index] & 0xFFFF
        reciprocals[index] = ((1 << 33) - 1) // (4 * step - max(0, (step & 7) - 5))
    return reciprocals


_RECIPROCALS = _make_reciprocals()
del _make_reciprocals


@micropython.viper
def _load(samples: ptr16, src: ptr16, src_off: int, n: int):
    # Copy a block's samples, and repeat the last to the end of the lookahead.
    src = ptr16(uint(src) + (src_off << 1))
    if uint(src) & 1:
        raise ValueError("samples at an odd address")
    stop = uint(samples) + (n << 1)
    if uint(samples) == uint(src):
        samples = ptr16(stop)
    while uint(samples) < stop:
        samples[0] = src[0]
        samples = ptr16(uint(samples) + 2)
        src = ptr16(uint(src) + 2)
    last = ptr16(uint(samples) - 2)[0]
    while n < _BLOCK_SAMPLES + LOOKAHEAD_MAX:
        samples[0] = last
        samples = ptr16(uint(samples) + 2)
        n += 1


@micropython.viper
def _first_index(samples: ptr16, off: int) -> int:
    # A step of the size of the average move is right for the start. Code 4 moves by 9/8 steps.
    samples = ptr16(uint(samples) + (off << 1))
    moves = ptr16(MOVES)
    moved = i = index = 0
    while i < 32:
        move = (samples[i + 1] ^ 0x8000) - (samples[i] ^ 0x8000)
        moved += move if move > 0 else -move
        i += 1
    while index < 88 and moves[32 * index + 8] << 5 < moved:
        index += 1
    return index


@micropython.viper
def _encode_nearest(
    state: int, far: int, samples: ptr16, src_off: int, dst: ptr8, dst_off: int
) -> int:
    # In: state is the step index, far nothing. Out: the step index. The first two parameters live
    # in registers; mpy-cross 1.26 for RISC-V spoils one that is used as the index of a ptr32.
    # The distance `far` has the row's bits on top: its own are 0 to 17, the last being the sign.
    samples = ptr16(uint(samples) + (src_off << 1))
    if uint(samples) & 1:
        raise ValueError("samples at an odd address")
    dst = ptr8(uint(dst) + dst_off)
    far = samples[0]
    dst[0] = far
    dst[1] = far >> 8
    dst[2] = state
    dst[3] = 0
    state = state << 24 | far ^ 0x8000
    moves = int(ptr32(MOVES))
    reciprocals = ptr32(_RECIPROCALS)
    end = uint(samples) + 2 * (_BLOCK_SAMPLES - 1)
    while uint(samples) < end:
        far = (samples[1] ^ 0x8000) - state
        row = (state >> 18) + moves
        code = 0
        if far & 0x20000:
            far = -far
            code = 8
        far = (far & 0xFFFF) + 1
        if ptr16(row)[14] >= far:
            code = int(uint(reciprocals[state >> 24] * far) >> 29) + code
        else:
            code += 7
        state = ptr32(code * 4 + row)[0] + state
        if state & 0x10000:
            state = (state + 0x20000 >> 18 << 18) | (0 if state & 0x20000 else 0xFFFF)
        low = code
        far = (samples[2] ^ 0x8000) - state
        row = (state >> 18) + moves
        code = 0
        if far & 0x20000:
            far = -far
            code = 8
        far = (far & 0xFFFF) + 1
        if ptr16(row)[14] >= far:
            code = int(uint(reciprocals[state >> 24] * far) >> 29) + code
        else:
            code += 7
        state = ptr32(code * 4 + row)[0] + state
        if state & 0x10000:
            state = (state + 0x20000 >> 18 << 18) | (0 if state & 0x20000 else 0xFFFF)
        dst[4] = code << 4 | low
        dst = ptr8(uint(dst) + 1)
        samples = ptr16(uint(samples) + 4)
    return state >> 24


@micropython.viper
def _encode_search(
    code: int, moved: int, samples: ptr16, dst: ptr8, dst_off: int, depth: int, frames: ptr32
) -> int:
    # In: code is the step index, moved nothing. Out: the step index.
    dst = ptr8(uint(dst) + dst_off)
    moved = samples[0]
    dst[0] = moved
    dst[1] = moved >> 8
    dst[2] = code
    dst[3] = 0
    dst = ptr8(uint(dst) + 4)
    state = code << 24 | moved ^ 0x8000
    moves = int(ptr32(MOVES))
    reciprocals = ptr32(_RECIPROCALS)
    most = 0x3FFFFFFF
    most += most + 1
    end = uint(samples) + 2 * (_BLOCK_SAMPLES - 1)
    middle = 8
    low = -1
    while uint(samples) < end:
        samples = ptr16(uint(samples) + 2)
        # Try the codes in the order of their levels, places 0 to 15: from the nearest level up,
        # then down, each way until one costs as much by itself as the best so far with all that
        # follows it.
        best = most
        k = 0  # depth of the sample that a code is tried for
        base = state  # the state that it starts from
        spent = 0  # squared error on the way there
        target = samples[0] ^ 0x8000
        start = place = middle
        step = 1
        while True:
            cost = best
            if not place >> 4:
                code = place ^ 8 if place & 8 else place ^ 15
                moved = ptr32(((code << 20) + base >> 18) + moves)[0] + base
                far = target - moved << 14 >> 14
                if far < 0:
                    far = -far
                if far > 16384:
                    far = 16384
                cost = far * far + spent
            if cost < best:
                if moved & 0x10000:
                    moved = (moved + 0x20000 >> 18 << 18) | (0 if moved & 0x20000 else 0xFFFF)
                if not k:
                    first = code
                    first_moved = moved
                k += 1
                after = samples[k] ^ 0x8000
                # The code whose level is nearest for the sample after, as above
                near = after - moved << 14 >> 14
                row = (moved >> 18) + moves
                flip = 8
                if near < 0:
                    near = -near
                    flip = 7
                code = 7
                if ptr16(row)[14] > near:
                    code = int(uint(reciprocals[moved >> 24] * (near + 1)) >> 29)
                if k == 1:
                    first_middle = code ^ flip
                if k == depth:
                    k -= 1
                    near -= ptr16((code << 2) + row)[0]
                    if near > 16384:
                        near = 16384
                    cost = near * near + cost
                    if cost < best:
                        best = cost
                        best_code = first
                        state = first_moved
                        middle = first_middle
                    if place == start:
                        # No two levels are closer to each other than the first is to its mirror
                        # image, so often none of the other codes can be better.
                        far = (ptr16((base >> 18) + moves)[0] << 1) - far
                        if far > 0 and far * far + spent >= best:
                            if not k:
                                break
                            step = -1
                            place = 0
                    place += step
                else:
                    frames[0] = base
                    frames[1] = spent
                    frames[2] = target
                    frames[3] = start
                    frames[4] = place
                    frames[5] = step
                    frames = ptr32(uint(frames) + 24)
                    base = moved
                    spent = cost
                    target = after
                    start = place = code ^ flip
                    step = 1
            elif step > 0:
                step = -1
                place = start - 1
            elif not k:
                break
            else:
                k -= 1
                frames = ptr32(uint(frames) - 24)
                base = frames[0]
                spent = frames[1]
                target = frames[2]
                start = frames[3]
                step = frames[5]
                place = frames[4] + step
        if low < 0:
            low = best_code
        else:
            dst[0] = best_code << 4 | low
            dst = ptr8(uint(dst) + 1)
            low = -1
    return state >> 24


class Encoder:
    """Codes samples into blocks one after another.

    With a lookahead of 0 each code is the one that comes nearest to its sample. With a lookahead
    of n (up to 6) it is the first of those n + 1 codes that have the least sum of squared errors
    over their samples. An error is that of the level before it is cut off at the end of the range,
    and counts as 16384 if it is more; past the end of a block its last sample is taken to repeat.
    Not to be called from an interrupt.

    `samples` is memory to work in, SAMPLES_SIZE bytes. It may be where the samples come from, too:
    then they are gone once they are coded.
    """

    def __init__(self, lookahead=1, samples=None):
        if not 0 <= lookahead <= LOOKAHEAD_MAX:
            raise ValueError("lookahead out of range")
        self._lookahead = lookahead
        if samples is None:
            samples = bytearray(SAMPLES_SIZE)
        if len(samples) < SAMPLES_SIZE:
            raise ValueError("too little memory")
        self._samples = samples
        # What the search leaves behind at each sample of the lookahead
        self._frames = array("i", bytes(4 * 6 * max(lookahead - 1, 0)))
        self.reset()

    def reset(self):
        """Begin another signal."""
        self._index = -1

    @micropython.native
    def encode(self, src, src_off, n, dst, dst_off):
        """Code `n` samples (1 to 505) from sample `src_off` of `src`.

        One block of 256 bytes goes to byte `dst_off` of `dst`; one of fewer than 505 samples is
        filled up by repeating the last. Return 256; or 0, having written nothing, if n is 0.
        """
        if n < 0 or n > _BLOCK_SAMPLES:
            raise ValueError("too many samples for a block")
        if src_off < 0 or 2 * (src_off + n) > len(src):
            raise ValueError("samples outside the buffer")
        if dst_off < 0 or dst_off + _BLOCK_ALIGN > len(dst):
            raise ValueError("block outside the buffer")
        if not n:
            return 0
        if n < _BLOCK_SAMPLES or self._lookahead:
            _load(self._samples, src, src_off, n)
            src = self._samples
            src_off = 0
        index = self._index
        if index < 0:
            index = _first_index(src, src_off)
        if self._lookahead:
            index = _encode_search(index, 0, src, dst, dst_off, self._lookahead, self._frames)
        else:
            index = _encode_nearest(index, 0, src, src_off, dst, dst_off)
        self._index = index
        return _BLOCK_ALIGN
