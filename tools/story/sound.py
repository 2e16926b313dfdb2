"""Voices, and sound files."""

from __future__ import annotations

import subprocess
import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from tools.picture import Samples

RATE = 16000  # the toy's


def speak(text: str, voice: str, path: Path) -> None:
    """Let espeak-ng say `text` into a WAV."""
    subprocess.run(["espeak-ng", "-v", voice, "-s", "150", "-w", path, text], check=True)


def load(path: Path) -> Samples:
    """Return a sound file as mono at the toy's rate, full scale 1."""
    samples, rate = soundfile.read(path)
    return np.asarray(soxr.resample(samples, rate, RATE), np.float64)


def save(path: Path, pcm: npt.NDArray[np.int16]) -> None:
    """Write samples at the toy's rate as a WAV."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(pcm.astype("<i2").tobytes())
