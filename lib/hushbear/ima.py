"""IMA ADPCM in WAV blocks of 256 bytes: 505 samples of 16-bit mono, 4 bits each.

Block: first sample (int16), step index (0 to 88), a zero byte, then two codes a byte, low nibble
first (Microsoft "New Multimedia Data Types", 1994; tables from the IMA's "Recommended Practices",
1992). The decoder follows the shift-and-add form to the bit, as sox and ffmpeg do (but ffmpeg up
to 5.1, of Debian 12, multiplies instead and is up to 15 off).

Every buffer is bytes-like and len() is taken for its size in bytes; PCM has to start at an even
address. Offsets into PCM count samples, offsets into blocks count bytes. A span that does not fit
its buffer is the caller's mistake and raises ValueError; nothing here allocates after import.

A decoder for anything that came from outside: a block that no encoder makes decodes to no
samples and leaves the output as it was. That is, fewer than 4 or more than 256 bytes, a step index
above 88 (ffmpeg refuses it, sox takes it for 0), or a fourth byte that is not zero (ffmpeg 5.1
refuses it, sox and later ffmpeg ignore it).
"""

from array import array

_BLOCK_ALIGN = const(256)

# Encoder and decoder keep the state of the codec in one word: from bit 18 on the place of its row
# in MOVES, 64 bytes for each step index; below that 0x20000 plus the value. So the lower half is
# the value in two's complement, adding an entry of MOVES moves both, no move borrows from the
# row, and a value has left 16 bits if, and only if, bit 16 of `state + 0x8000` is set.


def _make_moves():
    steps = [
        7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 19, 21, 23, 25, 28, 31, 34, 37, 41, 45, 50, 55, 60,
        66, 73, 80, 88, 97, 107, 118, 130, 143, 157, 173, 190, 209, 230, 253, 279, 307, 337, 371,
        408, 449, 494, 544, 598, 658, 724, 796, 876, 963, 1060, 1166, 1282, 1411, 1552, 1707, 1878,
        2066, 2272, 2499, 2749, 3024, 3327, 3660, 4026, 4428, 4871, 5358, 5894, 6484, 7132, 7845,
        8630, 9493, 10442, 11487, 12635, 13899, 15289, 16818, 18500, 20350, 22385, 24623, 27086,
        29794, 32767,
    ]  # fmt: skip
    moves = array("i", bytes(89 * 16 * 4))
    for index, step in enumerate(steps):
        for code in range(16):
            difference = step >> 3
            if code & 4:
                difference += step
            if code & 2:
                difference += step >> 1
            if code & 1:
                difference += step >> 2
            to = index + 2 * (code & 3) + 2 if code & 4 else index - 1
            row = 64 * (min(max(to, 0), 88) - index) << 18
            moves[16 * index + code] = row + (-difference if code & 8 else difference)
    return moves


# MOVES[16 * step index + code] is what a code adds to the state. The codes 8 to 15 move the row as
# much as 0 to 7, and the value the other way: half the table would do, but to work the others out
# takes a dozen instructions a sample.
MOVES = _make_moves()
del _make_moves  # and its steps: a kilobyte


@micropython.viper
def _decode(state: int, src: ptr8, dst: ptr16, src_off: int, size: int, dst_off: int) -> int:
    # The first two parameters live in registers, the others in memory. To shift takes an
    # instruction more than to multiply, as an ESP32 has to be told by how much.
    src = ptr8(uint(src) + src_off)
    dst = ptr16(uint(dst) + (dst_off << 1))
    if uint(dst) & 1:
        raise ValueError("samples at an odd address")
    if src[2] > 88 or src[3]:
        return 0
    moves = int(ptr32(MOVES))
    end = uint(src) + size
    state = src[0] | src[1] << 8
    dst[0] = state
    state = ((state ^ 0x8000) + 0x18000) | src[2] << 24
    src = ptr8(uint(src) + 4)
    while uint(src) < end:
        state = ptr32((((src[0] & 15) * 0x100000) + state >> 18) + moves)[0] + state
        if (state + 0x8000) & 0x10000:
            state = state >> 18 << 18 | (0x27FFF if state & 0x20000 else 0x18000)
        dst[1] = state
        state = ptr32((((src[0] & 0xF0) << 16) + state >> 18) + moves)[0] + state
        if (state + 0x8000) & 0x10000:
            state = state >> 18 << 18 | (0x27FFF if state & 0x20000 else 0x18000)
        dst[2] = state
        src = ptr8(uint(src) + 1)
        dst = ptr16(uint(dst) + 4)
    return 2 * size - 7


@micropython.native
def decode(src, src_off, size, dst, dst_off):
    """Decode the block of `size` bytes (4 to 256) at byte `src_off` of `src`.

    Its 2 * size - 7 int16 samples go to sample `dst_off` of `dst`. Return their number; 0 when
    the block is not one (see above).
    """
    if size < 4 or size > _BLOCK_ALIGN:
        return 0
    if src_off < 0 or src_off + size > len(src):
        raise ValueError("block outside the buffer")
    if dst_off < 0 or 2 * (dst_off + 2 * size - 7) > len(dst):
        raise ValueError("samples outside the buffer")
    return _decode(0, src, dst, src_off, size, dst_off)
