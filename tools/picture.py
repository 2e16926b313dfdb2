"""What went in beside what came out: alignment, signal-to-noise ratio, and a picture of both."""

from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
from scipy.signal import correlate

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

Samples = npt.NDArray[np.float64]


@dataclass
class Comparison:
    """One way through the toy: `sent` as it went in, `received` cut and scaled to lie on it."""

    title: str
    sent: Samples
    received: Samples
    rate: int

    @property
    def snr(self) -> float:
        """10 log10 of the signal's energy over that of the difference, in dB."""
        noise = self.sent - self.received
        return float(10 * np.log10(np.sum(self.sent**2) / np.sum(noise**2)))


def compare(title: str, sent: Samples, heard: Samples, rate: int) -> Comparison:
    """Find `sent` within `heard` (mono, both at `rate`), and the gain that fits it best.

    Raises ValueError where either is silent or `heard` is too short to hold it.
    """
    if not np.any(sent) or not np.any(heard):
        raise ValueError(f"{title}: silence")
    lag = int(np.argmax(correlate(heard, sent, "full"))) - (len(sent) - 1)
    if lag < 0 or lag + len(sent) > len(heard) + rate // 10:
        raise ValueError(f"{title}: what came out does not hold the whole of what went in")
    cut = np.zeros_like(sent)
    part = heard[lag : lag + len(sent)]
    cut[: len(part)] = part
    gain = float(np.dot(cut, sent) / np.dot(cut, cut))
    return Comparison(title, sent, cut * gain, rate)


def draw(comparisons: list[Comparison], path: Path) -> None:
    """Draw waveforms and spectrograms, one column for each comparison, as a PNG."""
    figure, axes = plt.subplots(
        4, len(comparisons), figsize=(7 * len(comparisons), 9), squeeze=False, layout="constrained"
    )
    for column, comparison in zip(axes.T, comparisons, strict=True):
        column[0].set_title(f"{comparison.title}: SNR {comparison.snr:.1f} dB")
        _waveform(column[0], comparison.sent, comparison.rate, "went in")
        _spectrogram(column[1], comparison.sent, comparison.rate)
        _waveform(column[2], comparison.received, comparison.rate, "came out")
        _spectrogram(column[3], comparison.received, comparison.rate)
        column[3].set_xlabel("s")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _waveform(axes: Axes, samples: Samples, rate: int, label: str) -> None:
    axes.plot(np.arange(len(samples)) / rate, samples, linewidth=0.4)
    axes.set_xlim(0, len(samples) / rate)
    axes.set_ylabel(label)


def _spectrogram(axes: Axes, samples: Samples, rate: int) -> None:
    quiet = 1e-5 * float(np.max(np.abs(samples)))  # so that digital silence has a level to draw
    dither = np.random.default_rng(1).normal(0, quiet, len(samples))
    axes.specgram(samples + dither, NFFT=512, Fs=rate, noverlap=384, cmap="magma")
    axes.set_ylabel("Hz")
