"""Messages as files, for tests: speech-like sound, containers, and how much they are alike."""

from __future__ import annotations

import hashlib
import struct
import subprocess

import numpy as np
import numpy.typing as npt

from hushbear import container

Pcm = npt.NDArray[np.int16]


def speech(seconds: float, seed: int = 1, peak: int = 12000) -> Pcm:
    """Return something like a voice: a gliding pitch with harmonics, in syllables, and breath."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * container.RATE)) / container.RATE
    pitch = 180 + 40 * np.sin(2 * np.pi * 0.7 * t + seed) + 15 * np.sin(2 * np.pi * 2.3 * t)
    phase = 2 * np.pi * np.cumsum(pitch) / container.RATE
    voice = sum(np.sin(k * phase + rng.uniform(0, 6)) / k**1.3 for k in range(1, 12))
    syllables = 0.15 + 0.85 * np.sin(2 * np.pi * 1.7 * t + seed) ** 2
    sound = syllables * voice + 0.01 * rng.standard_normal(len(t))
    return (sound / np.abs(sound).max() * peak).astype(np.int16)


def make(pcm: Pcm, message_id: bytes, sender: bytes = b"grandma\0", time: int = 0) -> bytes:
    """Return the container of a message; ffmpeg is the encoder."""
    wav = subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "s16le", "-ar", "16000", "-ac", "1", "-i", "-",
         "-c:a", "adpcm_ima_wav", "-block_size", "256", "-bitexact", "-f", "wav", "-"],
        input=pcm.tobytes(), stdout=subprocess.PIPE, check=True,
    ).stdout  # fmt: skip
    at = wav.index(b"data") + 8
    body = wav[at:]
    body = body[: len(body) // container.BLOCK_ALIGN * container.BLOCK_ALIGN]
    return container.pack_header(message_id, sender, time) + body


def decode(message: bytes) -> Pcm:
    """Return the sound of a message; ffmpeg is the decoder."""
    container.check_size(len(message))
    container.parse_header(message)
    body = message[container.HEADER_SIZE :]
    samples = len(body) // container.BLOCK_ALIGN * container.BLOCK_SAMPLES
    fmt = struct.pack("<HHIIHHHH", 0x11, 1, container.RATE, 8110, 256, 4, 2, 505)
    chunks = b"fmt " + struct.pack("<I", 20) + fmt
    chunks += b"fact" + struct.pack("<II", 4, samples)
    chunks += b"data" + struct.pack("<I", len(body)) + body
    wav = b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks
    pcm = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", "-", "-f", "s16le", "-"],
        input=wav, stdout=subprocess.PIPE, check=True,
    ).stdout  # fmt: skip
    return np.frombuffer(pcm, np.int16)


def find(part: Pcm, whole: Pcm) -> int:
    """Return at which sample of `whole` `part` fits best; it may begin before `whole` does."""
    size = 1 << (len(part) + len(whole)).bit_length()
    spectrum = np.fft.rfft(whole.astype(float), size)
    correlation = np.fft.irfft(spectrum * np.conj(np.fft.rfft(part.astype(float), size)), size)
    at = int(np.argmax(correlation))
    return at if at <= len(whole) else at - size


def snr(heard: Pcm, spoken: Pcm) -> float:
    """Return the SNR in dB of `heard` against where it lies in `spoken`, at the best gain."""
    at = find(heard, spoken)
    first, last = max(0, -at), min(len(heard), len(spoken) - at)
    a = heard[first:last].astype(float)
    b = spoken[at + first : at + last].astype(float)
    gain = np.dot(a, b) / np.dot(b, b)
    noise = a - gain * b
    return float(10 * np.log10(np.dot(gain * b, gain * b) / np.dot(noise, noise)))


def digest(message: bytes) -> bytes:
    return hashlib.sha256(message).digest()
