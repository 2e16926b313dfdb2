# Three seconds from the microphone, with the LED on, into memory; a bar for each quarter of a
# second, each # 6 dB more; then what was heard, from the speaker.

import asyncio
import struct
import time

import board
from hushbear import container, ima, leds
from hushbear.audio import POLL_MS, Buffers
from hushbear.audio.mic import Mic
from hushbear.audio.speaker import Speaker
from hushbear.ring import Ring

BLOCKS = const(95)  # of 31.6 ms


class Recording:
    def __init__(self):
        self.data = bytearray(BLOCKS * container.BLOCK_ALIGN)
        self._ring = Ring(self.data)

        self.room = BLOCKS
        self.chunk = bytearray(container.BLOCK_ALIGN)

    def take(self, ring):
        ring.get(self.chunk, 0, len(self.chunk))
        self._ring.put(self.chunk, 0, len(self.chunk))
        self.room -= 1

    def fill(self):
        return self._ring.get(self.chunk, 0, len(self.chunk))


def bars(data):
    pcm = bytearray(2 * container.BLOCK_SAMPLES)
    loudest = 0
    for block in range(BLOCKS):
        ima.decode(data, block * container.BLOCK_ALIGN, container.BLOCK_ALIGN, pcm, 0)
        for at in range(0, len(pcm), 8):
            loudest = max(loudest, abs(struct.unpack_from("<h", pcm, at)[0]))
        if block % 8 == 7:
            bar = 0
            while loudest >> bar:
                bar += 1
            print("level: %5d %s" % (loudest, "#" * bar))
            loudest = 0


recording = Recording()
buffers = Buffers()
mic = Mic(board, leds.Led(board.light()), buffers)
try:
    mic.start()
    mic.keep(BLOCKS)
    while not mic.full():
        mic.drain(recording)
        time.sleep_ms(POLL_MS)
    mic.stop()
    mic.drain(recording)
finally:
    mic.stop()
bars(recording.data)
asyncio.run(Speaker(board, buffers).play(recording, 60, lambda: False))
