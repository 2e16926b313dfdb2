"""Sound in and out of the toy, and the memory that both share.

    out: flash → task → ring → I2S callback: decode, volume → DMA → amplifier
    in:  microphone → DMA → I2S callback: DC, gain, encode → ring → task → flash

The ring holds coded blocks, so 2.5 kB of it carry the sound through 0.31 s in which the task does
not get its turn. On flash, blocks are sealed, four of them a chunk, which the task opens and seals
in place. The toy hears or speaks, never both, so one set of buffers serves both. They are
made once, before the heap is in pieces; the I2S callbacks and the task's steps run with the heap
locked.
"""

from hushbear.container import BLOCK_ALIGN, BLOCK_SAMPLES, CHUNK_SIZE
from hushbear.ring import Ring

RING_BLOCKS = const(10)
STALLED_MS = const(2000)  # I2S calls back every 16 to 32 ms; after this long it never will
POLL_MS = const(5)


class Buffers:
    def __init__(self):
        self.ring = Ring(bytearray(RING_BLOCKS * BLOCK_ALIGN))
        self.chunk = bytearray(CHUNK_SIZE)  # the task's, sealed or open
        self.coded = bytearray(BLOCK_ALIGN)  # the callback's block
        # A block's samples as int16; before that, where they lie, the microphone's as int32.
        self.pcm = bytearray(4 * BLOCK_SAMPLES)
