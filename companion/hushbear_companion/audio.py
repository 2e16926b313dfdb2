"""From any sound file to a message's blocks: 16 kHz mono, an even loudness, IMA ADPCM blocks."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyloudnorm
import soundfile
import soxr

from . import adpcm, message
from .errors import BadAudio

Signal = npt.NDArray[np.float64]

TARGET_LUFS = -18.0  # loudness by ITU-R BS.1770, gated
CEILING_DBTP = -1.0  # the true peak, measured at four times the rate, stays below this
GAIN_MAX_DB = 30.0  # a whisper is raised by no more, so that its noise is not
SILENCE_DB = -60.0  # a file whose peak is below this has nothing to hear
SECONDS_MAX = message.SAMPLES_MAX // message.RATE  # whole seconds that a message can hold

_RATE_LIMITS = (1000, 384_000)
_CHANNELS_MAX = 32
_SHORTEST_FOR_GATING = 0.4  # seconds; BS.1770 measures blocks of this length
_OGG_PAGE_MAX = 65307  # bytes
_READ_FRAMES = 65536
_KINDS = "WAV, FLAC or OGG"


def blocks_from_file(path: Path) -> bytes:
    """Return the sound in `path` as a message's blocks, or raise BadAudio."""
    return adpcm.encode(load(path))


def load(path: Path) -> adpcm.Samples:
    """Return a sound file's samples as the toy wants them: int16, 16 kHz, mono, loudness even."""
    return quantise(normalise(read(path)))


def read(path: Path) -> Signal:
    """Return a sound file at 16 kHz, mono, full scale 1, at most as long as a message."""
    rate, signal = _read(path)
    if rate != message.RATE:
        signal = soxr.resample(signal, rate, message.RATE, quality="HQ")
    if not len(signal):
        raise BadAudio(f"{path.name} is too short to be heard.", "Choose a longer recording.")
    return signal[: message.SAMPLES_MAX]


def quantise(signal: Signal) -> adpcm.Samples:
    """Return `signal` as int16; what is beyond full scale is clipped."""
    return np.clip(np.rint(signal * 32767), -32768, 32767).astype(np.int16)


def normalise(signal: Signal) -> Signal:
    """Return 16 kHz mono `signal` at TARGET_LUFS, quieter where its peaks would pass the ceiling.

    What is silent all through comes back as it is.
    """
    peak = _true_peak(signal)
    if peak < 10 ** (SILENCE_DB / 20):
        return signal
    gain = min(TARGET_LUFS - _loudness(signal), GAIN_MAX_DB)
    gain = min(gain, CEILING_DBTP - 20 * math.log10(peak))
    scaled: Signal = signal * 10 ** (gain / 20)
    return scaled


def _loudness(signal: Signal) -> float:
    shortest = math.ceil(_SHORTEST_FOR_GATING * message.RATE) + 1
    if len(signal) < shortest:  # one gating block: the sound said again until it is full
        signal = np.resize(signal, shortest)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loudness = float(pyloudnorm.Meter(message.RATE).integrated_loudness(signal))
    if not math.isfinite(loudness):  # a click among silence: every block is below the gate
        loudness = 10 * math.log10(float(np.mean(signal * signal)) + 1e-12)
    return loudness


def _true_peak(signal: Signal) -> float:
    raised = soxr.resample(np.pad(signal, 64), message.RATE, 4 * message.RATE, quality="HQ")
    return float(max(np.max(np.abs(raised)), np.max(np.abs(signal))))


def _read(path: Path) -> tuple[int, Signal]:
    """Return (rate, mono signal in -1..1) of a file that was checked."""
    try:
        size = path.stat().st_size
        with path.open("rb") as start:
            head = start.read(12)
    except IsADirectoryError:
        raise BadAudio(f"{path} is a directory.", f"Name a {_KINDS} file.") from None
    except OSError as error:
        reason = error.strerror or "it cannot be read"
        raise BadAudio(f"{path} cannot be opened: {reason}.", "Check the name.") from None
    if not size:
        raise BadAudio(f"{path.name} is empty (0 bytes).", "Record or export it again.")
    try:
        with soundfile.SoundFile(str(path)) as sound:
            return sound.samplerate, _read_sound(path, sound, head, size)
    except soundfile.LibsndfileError:
        if head[:4] in (b"RIFF", b"fLaC", b"OggS"):
            raise _cut_short(path) from None
        raise BadAudio(
            f"{path.name} is not a sound file that can be read.",
            f"Convert it to {_KINDS}, for example with `ffmpeg -i FILE message.wav`.",
        ) from None
    except MemoryError:
        raise BadAudio(f"{path.name} is too large.", f"Cut it to {SECONDS_MAX} s.") from None


def _read_sound(path: Path, sound: Any, head: bytes, size: int) -> Signal:
    rate, channels = sound.samplerate, sound.channels
    low, high = _RATE_LIMITS
    if not low <= rate <= high or not 1 <= channels <= _CHANNELS_MAX:
        raise BadAudio(
            f"{path.name} says {rate} samples per second and {channels} channels.",
            f"Convert it to {_KINDS}, 16 kHz, mono.",
        )
    limit = message.SAMPLES_MAX * rate // message.RATE
    promised = int(sound.frames)
    if limit < promised < 1 << 48:
        _refuse_long(path, promised / rate, limit / rate)
    pieces = []
    count = 0
    while True:
        piece = sound.read(_READ_FRAMES, dtype="float64", always_2d=True)
        if not len(piece):
            break
        count += len(piece)
        if count > 60 * limit:  # the length in the header was no use: stop somewhere
            break
        if count <= limit:
            pieces.append(piece.mean(axis=1))
    if count > limit:
        _refuse_long(path, count / rate, limit / rate)
    if _missing(head, path, size) or count < promised < 1 << 48:
        raise _cut_short(path)
    if not count:
        raise BadAudio(f"{path.name} holds no sound (0 samples).", "Record or export it again.")
    signal: Signal = np.concatenate(pieces)
    if not np.all(np.isfinite(signal)):
        raise BadAudio(f"{path.name} holds samples that are no numbers.", "Export it again.")
    return np.clip(signal, -8.0, 8.0)


def _missing(head: bytes, path: Path, size: int) -> bool:
    """Whether a WAV's data chunk, or the last page of an Ogg, promises more than the file has.

    libsndfile corrects such a length in silence. Recorders that write a WAV to a pipe leave the
    longest length there is: those are whole.
    """
    if head[:4] == b"OggS":
        return _last_page_missing(path, size)
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return False
    at = 12
    with path.open("rb") as file:
        for _ in range(64):
            file.seek(at)
            chunk = file.read(8)
            if len(chunk) < 8:
                return True
            length = int.from_bytes(chunk[4:], "little")
            if chunk[:4] == b"data":
                return length < 0x7FFF_0000 and at + 8 + length > size
            at += 8 + length + (length & 1)
    return False


def _last_page_missing(path: Path, size: int) -> bool:
    with path.open("rb") as file:
        file.seek(max(0, size - _OGG_PAGE_MAX))
        tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    segments = page[27 : 27 + page[26]] if len(page) > 26 else b""
    return len(page) < 27 or len(page) < 27 + page[26] + sum(segments)


def _cut_short(path: Path) -> BadAudio:
    return BadAudio(f"{path.name} is cut short or damaged.", "Copy, download or record it again.")


def _refuse_long(path: Path, seconds: float, limit: float) -> None:
    raise BadAudio(
        f"{path.name} is {seconds:.1f} s long, {seconds - limit:.1f} s more than the "
        f"{limit:.1f} s that a message can hold.",
        "Cut it, or send it in parts.",
    )
