"""Ears for what a toy with the project's own voice says: which prompt a sound is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

from hushbear_companion import adpcm

_ALIKE = 0.9  # of the correlation that the very same sound has


class Heard(Protocol):
    """A sound that came out of a speaker."""

    start: float  # s

    @property
    def pcm(self) -> npt.NDArray[np.int16]:
        """Its samples, at the toy's rate."""


class Ears:
    """Knows the prompts of one language, as tools.voice.read returns them."""

    def __init__(self, prompts: Mapping[str, bytes]) -> None:
        self._known = {
            name: adpcm.decode(blocks).astype(float) for name, blocks in prompts.items()
        }
        self._heard: dict[float, tuple[int, str | None]] = {}  # by when it began; and its samples

    def words(self, sounds: Iterable[Heard]) -> list[str]:
        """Return which prompts these sounds are, in their order; what is none is left out. One
        that went on since, as it does on a busy computer, is listened to again."""
        for sound in sounds:
            pcm = sound.pcm
            if sound.start not in self._heard or self._heard[sound.start][0] != len(pcm):
                self._heard[sound.start] = len(pcm), self.word(pcm)
        return [word for _, (_, word) in sorted(self._heard.items()) if word]

    def word(self, pcm: npt.NDArray[np.int16]) -> str | None:
        """Return which prompt a sound is, at whatever volume, or None."""
        heard = pcm.astype(float)
        alike = {
            name: _correlation(made, heard)
            for name, made in self._known.items()
            if len(made) <= len(heard)
        }
        best = max(alike, key=lambda name: alike[name], default=None)
        return best if best is not None and alike[best] > _ALIKE else None

    def code(self, sounds: Iterable[Heard]) -> str | None:
        """Return the six digits that followed the word "pairing", if all were heard."""
        said = self.words(sounds)
        if "pairing" not in said:
            return None
        digits = [word for word in said[said.index("pairing") + 1 :] if word.isdigit()][:6]
        return "".join(digits) if len(digits) == 6 else None


def _correlation(part: npt.NDArray[np.float64], whole: npt.NDArray[np.float64]) -> float:
    """Return how much of `whole` is `part`, at the best place: 1 where all of it is."""
    size = 1 << (len(part) + len(whole)).bit_length()
    spectrum = np.fft.rfft(whole, size) * np.conj(np.fft.rfft(part, size))
    best = float(np.max(np.fft.irfft(spectrum, size)))
    energy = float(np.dot(part, part) * np.dot(whole, whole)) ** 0.5
    return best / energy if energy else 0.0
