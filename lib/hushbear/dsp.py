"""What happens to samples outside the codec: the microphone's, the volume, and beeps.

Every buffer is bytes-like and len() is taken for its size in bytes; offsets and counts are in
samples. Samples for the speaker are int16 and start at an even address, the microphone's are 24
bits in the upper part of an int32 and start at an address that 4 divides. A span that does not
fit its buffer raises ValueError; nothing here allocates after construction.
"""

from array import array

UNITY = const(32768)  # a volume or amplitude of 1 in Q15
TURN = const(65536)  # a phase of one turn

_DC = const(0)
_PRIMED = const(1)
_GAIN = const(2)


@micropython.viper
def _capture(dst: ptr16, y: int, src: ptr32, state: ptr32, n: int, dst_off: int):
    # Per sample y = x - dc; dc += y / 128: a high pass at 20 Hz. 20 of the microphone's 24 bits go
    # into y, the other four are its own noise; dc has 27. What the division cuts off stays in the
    # difference, so that a constant input ends at exactly 0 (Yates and Lyons, "DC Blocker
    # Algorithms", 2008).
    # The first two parameters live in registers. What is on the right of an operation is used from
    # there, anything else is moved first: hence the order in each sum and product.
    dst = ptr16(uint(dst) + (dst_off << 1))
    if uint(dst) & 1 or uint(src) & 3:
        raise ValueError("samples at an odd address")
    dc = state[_DC]
    if n and not state[_PRIMED]:
        dc = src[0] >> 5
        state[_PRIMED] = 1
    gain = state[_GAIN]
    end = uint(dst) + (n << 1)
    slots = int(src) - (int(dst) << 1)  # a slot is twice as large as a sample
    while end > uint(dst):
        y = (ptr32(slots + int(dst) + int(dst))[0] >> 5) - dc >> 7
        dc += y
        y = gain * y + 128 >> 8
        if (16384 + y) & -32768:
            # From half of full scale a parabola leads to the limit, at 1.5 times full scale: y
            # becomes what is left until there, and its square what the sample stays below it.
            if y > 0:
                y = 49151 - y
                if y < 0:
                    y = 0
                y = 32767 - ((y * y) >> 16)
            else:
                y += 49152
                if y < 0:
                    y = 0
                y = ((y * y) >> 16) - 32768
        dst[0] = y
        dst = ptr16(2 + uint(dst))
    state[_DC] = dc


class Capture:
    """The microphone's samples made fit to record: DC removed, amplified, softly limited.

    `gain` is linear, 1/16 to 64 in steps of 1/16; with 1 a full slot becomes a full sample.
    """

    def __init__(self, gain):
        gain = int(gain * 16 + 0.5)
        if gain < 1 or gain > 1024:
            raise ValueError("gain out of range")
        self._state = array("i", (0, 0, gain))

    def reset(self):
        """Begin another recording, in which the first sample is taken for the DC offset."""
        self._state[_PRIMED] = 0

    @micropython.native
    def process(self, src, n, dst, dst_off=0):
        """Turn the first `n` slots of `src` into int16 samples from sample `dst_off` of `dst`.

        `dst` may be `src`, with a `dst_off` of 0.
        """
        if n < 0 or 4 * n > len(src):
            raise ValueError("slots outside the buffer")
        if dst_off < 0 or 2 * (dst_off + n) > len(dst):
            raise ValueError("samples outside the buffer")
        _capture(dst, 0, src, self._state, n, dst_off)


@micropython.viper
def _scale(samples: ptr16, volume: int, off: int, n: int):
    # The first two parameters live in registers.
    samples = ptr16(uint(samples) + (off << 1))
    if uint(samples) & 1:
        raise ValueError("samples at an odd address")
    end = uint(samples) + (n << 1)
    half = 16384 - (volume << 15)  # takes the bias off, too
    while uint(samples) < end:
        samples[0] = (samples[0] ^ 0x8000) * volume + half >> 15
        samples = ptr16(uint(samples) + 2)


@micropython.native
def scale(samples, off, n, volume):
    """Multiply `n` samples from `off` by `volume` (Q15, 0 to UNITY) in place, rounding."""
    if off < 0 or n < 0 or 2 * (off + n) > len(samples):
        raise ValueError("samples outside the buffer")
    if volume < 0 or volume > UNITY:
        raise ValueError("volume out of range")
    _scale(samples, volume, off, n)


@micropython.viper
def _tone(dst: ptr16, phase: int, off: int, n: int, step: int, level: int, rise: int) -> int:
    dst = ptr16(uint(dst) + (off << 1))
    if uint(dst) & 1:
        raise ValueError("samples at an odd address")
    phase &= 0xFFFF
    end = uint(dst) + (n << 1)
    while uint(dst) < end:
        # Of a quarter turn z, in Q14, sin(pi/2 z) is z (a - z^2 (b - z^2 c)); with these a, b, c
        # to 1.6e-4, and exactly 1 at z = 1.
        z = (phase ^ 0x8000) - 0x8000
        if z > 16384:
            z = 32768 - z
        elif z < -16384:
            z = -32768 - z
        square = (z * z) >> 14
        sine = 10510 - ((square * 1168) >> 14)
        sine = 25726 - ((square * sine + 8192) >> 14)
        sine = (z * sine + 8192) >> 14
        dst[0] = (sine * (level >> 12)) >> 14
        level += rise
        phase = (phase + step) & 0xFFFF
        dst = ptr16(uint(dst) + 2)
    return phase


def tone(dst, off, n, phase, step, amplitude, end=None):
    """Write `n` samples of a sine from sample `off` of `dst`; return the phase after them.

    `step` is the phase of one sample: hertz * TURN / rate. The amplitude (Q15, 0 to UNITY) goes in
    a line to `end`, if given: a beep that does not click is a tone from 0 up, one that stays and
    one down to 0, each with the phase that the one before returned.
    """
    if end is None:
        end = amplitude
    if off < 0 or n < 0 or 2 * (off + n) > len(dst):
        raise ValueError("samples outside the buffer")
    if amplitude < 0 or amplitude > UNITY or end < 0 or end > UNITY:
        raise ValueError("amplitude out of range")
    level = min(amplitude, 32767) << 12
    rise = ((min(end, 32767) << 12) - level) // n if n else 0
    return _tone(dst, phase, off, n, step, level, rise)
