"""The sounds that the codec's figures are of, and how well it codes them."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from host_tests.targets import Target
from host_tests.targets.unix import Unix
from host_tests.test_ima import BLOCK_SAMPLES, RATE, Pcm, decode, encode, encode_by, snr, speak

from .figures import Figure, Row

SPEECH_SNR = Figure(
    "encode, lookahead 1: speech", "dB SNR over sox", "9.8 s of espeak-ng, 16 kHz", ("≥", 0.8)
)
CLIP_SNR = Figure(
    "encode, lookahead 1: mixed sounds",
    "dB SNR over sox",
    "6 s, bench/sounds.py: guitar, claps, bells, drum, squeak, electronic melody",
    ("≥", 2.0),
)
FIGURES = [SPEECH_SNR, CLIP_SNR]
TEXT = (
    "Hello my dear. Did you see the big red fire engine today? It had a ladder, and a bell, and"
    " your grandfather waved at it from the kitchen. When will you come and visit us?"
)


@functools.cache
def speech() -> Pcm:
    """Return whole blocks of a voice."""
    return speak("en-gb+f4", TEXT)


def _pluck(hertz: float, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """A plucked string of half a second (Karplus and Strong, 1983)."""
    string = rng.uniform(-1, 1, round(RATE / hertz))
    sound = np.empty(RATE // 2)
    for i in range(len(sound)):
        at = i % len(string)
        sound[i] = string[at]
        string[at] = 0.498 * (string[at] + string[(at + 1) % len(string)])
    return sound


@functools.cache
def clip() -> Pcm:
    """Return what else a toy plays and hears, a second each and equally loud: a guitar, clapping,
    jingle bells, a drum, a squeak, an electronic melody. Always the same."""
    rng = np.random.default_rng(3)
    t = np.arange(RATE) / RATE
    beat = t % 0.25
    guitar = [_pluck(a, rng) + _pluck(b, rng) for a, b in ((196, 247), (220, 330))]
    bells = [np.sin(2 * np.pi * f * t) for f in (2640, 3370, 4110, 5230, 6480)]
    pitch = np.array([523, 659, 784, 1047])[(t * 4).astype(int)]
    turns = 2 * np.pi * np.cumsum(pitch) / RATE
    melody = [np.sin(k * turns) / k * (k * pitch < RATE / 2) for k in range(1, 16, 2)]
    parts = [
        np.concatenate(guitar),
        np.exp(-40 * beat) * rng.standard_normal(RATE),
        np.exp(-15 * beat) * sum(bells),
        np.exp(-12 * beat) * np.sin(2 * np.pi * (160 - 120 * beat) * beat)
        + 0.3 * np.exp(-50 * beat) * rng.standard_normal(RATE),
        np.sin(2 * np.pi * (900 * t + 900 * t**2)) * (0.6 + 0.4 * np.sin(2 * np.pi * 11 * t)),
        np.exp(-4 * beat) * sum(melody),
    ]
    pcm = np.concatenate([part / np.abs(part).max() for part in parts]) * 23000
    whole = len(pcm) // BLOCK_SAMPLES * BLOCK_SAMPLES
    return np.asarray(pcm[:whole], np.int16)


def quality(target: Target, pcm: Pcm, lookahead: int) -> float:
    """Return the SNR in dB of what the toy's encoder makes of `pcm`."""
    size = 100 * BLOCK_SAMPLES  # what fits into a small heap; each piece begins anew
    pieces = [pcm[at : at + size] for at in range(0, len(pcm), size)]
    return snr(pcm, decode(b"".join(encode(target, piece, lookahead) for piece in pieces)))


def quality_of_sox(pcm: Pcm) -> float:
    """Return the SNR in dB of what sox's encoder makes of `pcm`."""
    return snr(pcm, decode(encode_by("sox", pcm)))


def measure() -> Iterator[Row]:
    for figure, pcm in ((SPEECH_SNR, speech()), (CLIP_SNR, clip())):
        if reason := Unix.missing():
            yield figure.missing(Unix.name, reason)
            continue
        sox = quality_of_sox(pcm)
        greedy, ahead = (quality(Unix(), pcm, lookahead) for lookahead in (0, 1))
        beside = f"{ahead:.1f} dB; lookahead 0 {greedy:.1f}, sox {sox:.1f}"
        yield figure.on(Unix.name, ahead - sox, beside)
