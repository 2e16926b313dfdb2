"""Records: the only code that starts the microphone, and what keeps the LED on while it runs.

`start` lights the LED before it opens I2S and `stop` darkens it after I2S is closed; nothing else
opens the microphone. Nothing but the app's paws calls `start`, and no part of the link has a
reference to a Mic.
"""

import micropython
import time

from hushbear import dsp
from hushbear.audio import STALLED_MS
from hushbear.container import BLOCK_ALIGN, BLOCK_SAMPLES
from hushbear.ima_encoder import Encoder

_IBUF = const(20480)  # 10 descriptors of 256 frames of 8 bytes: 160 ms
_WARM_UP = const(4)  # blocks: a MEMS microphone clicks in its first 100 ms
_GAIN = const(4)  # speech at arm's length: 12 dB


class Mic:
    def __init__(self, board, led, buffers):
        self.lost = 0  # blocks of the last recording that the flash did not take in time
        self._open_i2s = board.microphone
        self._led = led
        self._ring = buffers.ring
        self._coded = buffers.coded
        self._pcm = buffers.pcm
        self._slots_view = memoryview(buffers.pcm)
        self._capture = dsp.Capture(_GAIN)
        self._encoder = Encoder(1, buffers.pcm)
        self._callback = self._take  # a bound method is made here, not in the callback
        self._i2s = None
        self._warm_up = 0
        self._left = 0  # blocks still to be kept
        self._taken_at = 0
        self._error = None

    def start(self):
        """Light the LED and start the microphone; nothing is kept yet."""
        self.lost = 0
        self._left = 0
        self._warm_up = _WARM_UP
        self._error = None
        self._capture.reset()
        self._encoder.reset()
        self._taken_at = time.ticks_ms()
        self._led.microphone(True)
        try:
            self._i2s = self._open_i2s(_IBUF)
            self._i2s.irq(self._callback)
            self._i2s.readinto(self._slots_view)
        except BaseException:
            self.stop()
            raise

    def keep(self, blocks):
        """From now on, once it is warm, keep what it hears, up to `blocks` blocks."""
        self._ring.clear()
        self._left = blocks

    def full(self):
        """Whether as many blocks were heard as were to be kept."""
        return self._left == 0

    def stop(self):
        """Stop the microphone, then darken the LED. Harmless when it is off."""
        i2s = self._i2s
        self._i2s = None  # a callback that is on its way finds it gone
        if i2s:
            i2s.deinit()
        self._led.microphone(False)

    def drain(self, sealer):
        """Have `sealer` take the blocks that have gathered, as far as it has room."""
        if self._error:
            raise self._error
        if self._i2s and time.ticks_diff(time.ticks_ms(), self._taken_at) > STALLED_MS:
            raise OSError("microphone: I2S has stopped calling")
        micropython.heap_lock()
        try:
            while sealer.room and self._ring.used() >= BLOCK_ALIGN:
                sealer.take(self._ring)
        finally:
            micropython.heap_unlock()

    def _take(self, i2s):
        """I2S has filled the slots: keep them, and have them filled again."""
        if self._i2s is None:
            return
        micropython.heap_lock()
        try:
            self._taken_at = time.ticks_ms()
            self._capture.process(self._pcm, BLOCK_SAMPLES, self._pcm)
            self._take_block()
            i2s.readinto(self._slots_view)  # the DMA ring held what came meanwhile
        except Exception as error:
            self._error = error
        finally:
            micropython.heap_unlock()

    def _take_block(self):
        if self._warm_up:
            self._warm_up -= 1
        elif self._left:
            self._encoder.encode(self._pcm, 0, BLOCK_SAMPLES, self._coded, 0)
            self._left -= 1
            if self._ring.free() >= BLOCK_ALIGN:
                self._ring.put(self._coded, 0, BLOCK_ALIGN)
            else:
                self.lost += 1
