"""The toy's own sounds: notes of (frequency in Hz, milliseconds), frequency 0 for a rest.

They are made while they play, a chunk at a time, with edges soft enough not to click.
"""

from hushbear import dsp
from hushbear.container import RATE

CHUNK = const(256)  # samples: one DMA descriptor, 16 ms
_STEP = const(64)  # samples, 4 ms: a note rises in its first step and falls in its last
_STEPS_A_SECOND = RATE // _STEP
_AMPLITUDE = const(12000)

START = ((880, 48),)  # the microphone is about to listen
STOP = ((880, 60), (587, 90))  # it has stopped; the message is kept
BLIP = ((220, 60),)  # too short, discarded
NOTHING = ((330, 60), (0, 60), (330, 60))  # no message to play
FULL = ((440, 120), (0, 60), (440, 120), (0, 60), (440, 240))  # no room for a recording
BROKEN = ((330, 150), (247, 150), (165, 300))  # this message cannot be played


class Tones:
    """Generates one sound, chunk by chunk."""

    def __init__(self):
        self._notes = ()
        self._note = 0
        self._at = 0  # step within the note
        self._phase = 0
        self._amplitude = 0

    def start(self, notes, volume_q15):
        self._notes = notes
        self._note = self._at = self._phase = 0
        self._amplitude = _AMPLITUDE * volume_q15 >> 15

    def fill(self, pcm):
        """Write the next CHUNK samples to int16 buffer `pcm`; return False after the last note."""
        if self._note == len(self._notes):
            return False
        for offset in range(0, CHUNK, _STEP):
            self._fill_step(pcm, offset)
        return True

    def _fill_step(self, pcm, offset):
        if self._note == len(self._notes):
            dsp.scale(pcm, offset, _STEP, 0)
            return
        frequency, ms = self._notes[self._note]
        steps = ms * _STEPS_A_SECOND // 1000
        if frequency:
            first = self._amplitude if self._at else 0
            last = self._amplitude if self._at < steps - 1 else 0
            turn = frequency * 4096 // 1000  # 65536 is a whole one
            self._phase = dsp.tone(pcm, offset, _STEP, self._phase, turn, first, last)
        else:
            dsp.scale(pcm, offset, _STEP, 0)
        self._at += 1
        if self._at == steps:
            self._note += 1
            self._at = 0
