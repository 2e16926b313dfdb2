"""Plays messages and sounds: fills the I2S transmitter, with silence too, from start to stop.

The DMA ring of 8 descriptors (128 ms) starts to turn, silent, when I2S is opened; what is written
at once is heard when it comes round. It is this ring that carries the sound through a flash write
of 100 ms, during which no callback runs. Sounds need no such patience and use half of it, so the
answer to a paw comes sooner. The amplifier is on only between open and close, while its clocks run
and it is fed, so it has nothing to click at.
"""

import asyncio
import micropython
import time

from hushbear import dsp, ima
from hushbear.audio import POLL_MS, STALLED_MS
from hushbear.audio.tones import CHUNK, Tones
from hushbear.container import BLOCK_ALIGN, BLOCK_SAMPLES

_MESSAGE_IBUF = const(4096)  # 8 descriptors of 256 frames of 2 bytes
_SOUND_IBUF = const(2048)
_FULL = const(32768)  # 1 in Q15


def loudness(percent):
    """Return the Q15 factor of a volume in percent; ears hear the square root."""
    return percent * percent * _FULL // 10000


class Unreadable(Exception):
    """The flash does not give this message back."""


class Speaker:
    def __init__(self, board, buffers):
        self.broken = 0  # blocks of the last message that could not be decoded
        self.starved = 0  # ... that the flash did not deliver in time
        self._open_i2s = board.speaker
        self._amplifier = board.amplifier()
        self._ring = buffers.ring
        self._at = 0  # where in the source's chunk the next block is
        self._size = 0
        self._coded = buffers.coded
        self._pcm = buffers.pcm
        self._block_view = memoryview(buffers.pcm)[: 2 * BLOCK_SAMPLES]
        self._chunk_view = self._block_view[: 2 * CHUNK]
        self._tones = Tones()
        self._callback = self._feed  # a bound method is made here, not in the callback
        self._i2s = None
        self._sounding = False
        self._ended = False
        self._volume = 0
        self._tail = 0  # samples of silence written after the end
        self._fed_at = 0
        self._error = None

    async def play(self, source, volume, interrupted):
        """Play a source at `volume` percent; return whether to the end.

        `source.fill()` puts the next 1 to 4 blocks into `source.chunk` and returns how many bytes
        they are, 0 at the end; it must not allocate.
        `interrupted()` is asked every few milliseconds and must not allocate; true stops at once.
        """
        self.broken = self.starved = 0
        self._ring.clear()
        self._at = self._size = 0
        self._ended = False
        self._sounding = False
        self._volume = loudness(volume)
        try:
            self._open(_MESSAGE_IBUF)
            self._refill(source, 2)
            self._feed(self._i2s)
            while self._tail <= _MESSAGE_IBUF // 2 + BLOCK_SAMPLES:
                if interrupted():
                    return False
                self._refill(source, 4)
                self._check()
                await asyncio.sleep_ms(POLL_MS)
            return True
        finally:
            self.close()

    async def sound(self, notes, volume):
        """Play a sound of `tones` at `volume` percent."""
        if not volume:
            return
        self._sounding = True
        self._tones.start(notes, loudness(volume))
        try:
            self._open(_SOUND_IBUF)
            self._feed(self._i2s)
            while self._tail <= _SOUND_IBUF // 2 + CHUNK:
                self._check()
                await asyncio.sleep_ms(POLL_MS)
        finally:
            self.close()

    def _open(self, ibuf):
        self._tail = 0
        self._error = None
        self._fed_at = time.ticks_ms()
        self._i2s = self._open_i2s(ibuf)
        self._i2s.irq(self._callback)
        if self._amplifier:
            self._amplifier.value(1)

    def close(self):
        """Stop at once. Harmless when it is silent."""
        i2s = self._i2s
        self._i2s = None  # a callback that is on its way finds it gone
        if self._amplifier:
            self._amplifier.value(0)
        if i2s:
            i2s.deinit()

    def _check(self):
        if self._error:
            raise self._error
        if time.ticks_diff(time.ticks_ms(), self._fed_at) > STALLED_MS:
            raise OSError("speaker: I2S has stopped calling")

    def _refill(self, source, blocks):
        """Move up to `blocks` blocks from the source to the ring."""
        failure = None
        micropython.heap_lock()
        try:
            while blocks and not self._ended and self._ring.free() >= BLOCK_ALIGN:
                blocks -= 1
                if self._at == self._size:
                    self._size = source.fill()
                    self._at = 0
                if self._size:
                    self._ring.put(source.chunk, self._at, BLOCK_ALIGN)
                    self._at += BLOCK_ALIGN
                else:
                    self._ended = True
        except Exception as error:
            failure = error
        finally:
            micropython.heap_unlock()
        if failure:
            raise Unreadable(repr(failure))

    def _feed(self, i2s):
        """I2S has taken what it was given: give it more."""
        if self._i2s is None:
            return
        micropython.heap_lock()
        try:
            self._fed_at = time.ticks_ms()
            if self._sounding:
                if not self._tones.fill(self._pcm):
                    self._silence(CHUNK)
                    self._tail += CHUNK
                i2s.write(self._chunk_view)
            else:
                self._next_block()
                i2s.write(self._block_view)
        except Exception as error:
            self._error = error
        finally:
            micropython.heap_unlock()

    def _next_block(self):
        if self._ring.used() >= BLOCK_ALIGN:
            self._ring.get(self._coded, 0, BLOCK_ALIGN)
            if ima.decode(self._coded, 0, BLOCK_ALIGN, self._pcm, 0) == BLOCK_SAMPLES:
                if self._volume < _FULL:
                    dsp.scale(self._pcm, 0, BLOCK_SAMPLES, self._volume)
                return
            self.broken += 1
        elif self._ended:
            self._tail += BLOCK_SAMPLES
        else:
            self.starved += 1
        self._silence(BLOCK_SAMPLES)

    def _silence(self, samples):
        dsp.scale(self._pcm, 0, samples, 0)
