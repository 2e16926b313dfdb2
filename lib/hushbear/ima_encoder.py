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

_ROW = const(0x1FFF)
_VALUE = const(13)
_TOP = const(0xFFFF << 13)


# What the search leaves behind at each sample of the lookahead
_FRAMES = array("i", bytes(4 * 6 * (LOOKAHEAD_MAX - 1)))


@micropython.viper
def _load(samples: ptr16, src: ptr16, src_off: int, n: int):
    # Copy a block's samples, biased by 32768, and repeat the last to the end of the lookahead.
    if uint(src) & 1:
        raise ValueError("samples at an odd address")
    src = ptr16(uint(src) + (src_off << 1))
    stop = uint(src) + (n << 1)
    while uint(src) < stop:
        samples[0] = src[0] ^ 0x8000
        samples = ptr16(uint(samples) + 2)
        src = ptr16(uint(src) + 2)
    last = ptr16(uint(samples) - 2)[0]
    while n < _BLOCK_SAMPLES + LOOKAHEAD_MAX:
        samples[0] = last
        samples = ptr16(uint(samples) + 2)
        n += 1


@micropython.viper
def _first_row(samples: ptr16) -> int:
    # A step of the size of the average move is right for the start. Code 4 moves by 9/8 steps.
    moves = ptr32(MOVES)
    moved = i = row = 0
    while i < 32:
        move = samples[i + 1] - samples[i]
        moved += move if move > 0 else 0 - move
        i += 1
    while row < 88 and (moves[8 * row + 4] >> _VALUE) << 5 < moved:
        row += 1
    return row << 6


@micropython.viper
def _encode_nearest(state: int, level: int, samples: ptr16, dst: ptr8, dst_off: int) -> int:
    # In: state is the row, level nothing. Out: the row. The first parameters live in registers.
    dst = ptr8(uint(dst) + dst_off)
    level = samples[0] ^ 0x8000
    dst[0] = level
    dst[1] = level >> 8
    dst[2] = state >> 6
    dst[3] = 0
    dst = ptr8(uint(dst) + 4)
    state |= samples[0] << _VALUE
    moves = int(ptr32(MOVES))
    end = uint(samples) + 2 * (_BLOCK_SAMPLES - 1)
    low = -1
    while uint(samples) < end:
        samples = ptr16(uint(samples) + 2)
        target = samples[0]
        # The code whose level is nearest: twice the distance is compared with the sum of two
        # moves. The 128 makes up for two rows that go one back.
        level = target - (state >> _VALUE)
        row = ptr32(((state & _ROW) >> 1) + moves)
        sign = 0
        if level < 0:
            level = 0 - level
            sign = 8
        level = (level << _VALUE + 1) - 128
        if level <= row[3] + row[4]:
            if level <= row[1] + row[2]:
                code = sign if level <= row[0] + row[1] else sign + 1
            else:
                code = sign + 2 if level <= row[2] + row[3] else sign + 3
        elif level <= row[5] + row[6]:
            code = sign + 4 if level <= row[4] + row[5] else sign + 5
        else:
            code = sign + 6 if level <= row[6] + row[7] else sign + 7
        move = row[code & 7]
        if code & 8:
            move = (((move + 64) & _ROW) << 1) - 128 - move
        state += move
        # A level beyond the end of the range is cut off there, which may have brought it nearer
        level = state >> _VALUE
        mirrored = target + target - level
        if (level | mirrored) >> 16:
            if mirrored >> 16:
                place = code ^ 15 if code & 8 else code ^ 8
                place += 1 if mirrored > 0 else -1
                if not place >> 4:
                    state -= move
                    code = place ^ 8 if place & 8 else place ^ 15
                    move = row[code & 7]
                    if code & 8:
                        move = (((move + 64) & _ROW) << 1) - 128 - move
                    state += move
            if state >> 29:
                state = (state & _ROW) if state < 0 else (state & _ROW) | _TOP
        if low < 0:
            low = code
        else:
            dst[0] = low | code << 4
            dst = ptr8(uint(dst) + 1)
            low = -1
    return state & _ROW


@micropython.viper
def _encode_search(
    level: int, moved: int, samples: ptr16, dst: ptr8, dst_off: int, depth: int
) -> int:
    # In: moved is the row, level nothing. Out: the row.
    dst = ptr8(uint(dst) + dst_off)
    level = samples[0] ^ 0x8000
    dst[0] = level
    dst[1] = level >> 8
    dst[2] = moved >> 6
    dst[3] = 0
    dst = ptr8(uint(dst) + 4)
    state = moved | samples[0] << _VALUE
    moves = int(ptr32(MOVES))
    frames = ptr32(_FRAMES)
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
        target = samples[0]
        start = place = middle
        step = 1
        while True:
            cost = best
            if not place >> 4:
                code = place ^ 8 if place & 8 else place ^ 15
                move = ptr32(((base & _ROW) >> 1) + moves)[code & 7]
                if code & 8:
                    move = (((move + 64) & _ROW) << 1) - 128 - move
                moved = base + move
                if moved >> 29:
                    moved = (moved & _ROW) if moved < 0 else (moved & _ROW) | _TOP
                level = target - (moved >> _VALUE)
                if (level + 16384) >> 15:
                    level = 16384
                cost = spent + level * level
            if cost < best:
                if not k:
                    first = code
                    first_moved = moved
                k += 1
                after = samples[k]
                # The code whose level is nearest for the sample after, as above
                level = after - (moved >> _VALUE)
                row = ptr32(((moved & _ROW) >> 1) + moves)
                sign = 0
                if level < 0:
                    level = 0 - level
                    sign = 8
                level = (level << _VALUE + 1) - 128
                if level <= row[3] + row[4]:
                    if level <= row[1] + row[2]:
                        code = sign if level <= row[0] + row[1] else sign + 1
                    else:
                        code = sign + 2 if level <= row[2] + row[3] else sign + 3
                elif level <= row[5] + row[6]:
                    code = sign + 4 if level <= row[4] + row[5] else sign + 5
                else:
                    code = sign + 6 if level <= row[6] + row[7] else sign + 7
                move = row[code & 7]
                if code & 8:
                    move = (((move + 64) & _ROW) << 1) - 128 - move
                level = (moved + move) >> _VALUE
                code = code ^ 15 if code & 8 else code ^ 8
                mirrored = after + after - level
                if (level | mirrored) >> 16:
                    sign = 1 if mirrored > 0 else -1
                    if mirrored >> 16 and not (code + sign) >> 4:
                        code += sign
                        level = mirrored
                    if level >> 16:
                        level = 0 if level < 0 else 0xFFFF
                if k == 1:
                    first_middle = code
                if k == depth:
                    k -= 1
                    level = after - level
                    if (level + 16384) >> 15:
                        level = 16384
                    cost += level * level
                    if cost < best:
                        best = cost
                        best_code = first
                        state = first_moved
                        middle = first_middle
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
                    start = place = code
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
            dst[0] = low | best_code << 4
            dst = ptr8(uint(dst) + 1)
            low = -1
    return state & _ROW


class Encoder:
    """Codes samples into blocks one after another.

    With a lookahead of 0 each code is the one that comes nearest to its sample. With a lookahead
    of n (up to 6) it is the first of those n + 1 codes that have the least sum of squared errors
    over their samples, an error of more than 16384 counting as 16384; past the end of a block its
    last sample is taken to repeat. Not to be called from an interrupt.

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
        self.reset()

    def reset(self):
        """Begin another signal."""
        self._row = -1

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
        samples = self._samples
        _load(samples, src, src_off, n)
        row = self._row
        if row < 0:
            row = _first_row(samples)
        if self._lookahead:
            self._row = _encode_search(0, row, samples, dst, dst_off, self._lookahead)
        else:
            self._row = _encode_nearest(row, 0, samples, dst, dst_off)
        return _BLOCK_ALIGN
