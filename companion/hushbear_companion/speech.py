"""Speech for the toy, as blocks that its speaker plays: spoken by espeak-ng, or recorded.

Silence before and after is cut off, all is raised or lowered to the loudness of a message, and
nothing passes its ceiling, so that prompts, names and messages sound equally loud.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy as np

from . import adpcm, audio
from .errors import BadVoice, NoSpeech
from .message import BLOCK_ALIGN, BLOCK_SAMPLES, RATE
from .voice_table import Table, table

NAME_BLOCKS_MAX = 64  # 2.02 s
NAME_LETTERS_MAX = 60

_ESPEAK = "espeak-ng"
_TEXT_MAX = 300  # letters
_FRAME = RATE // 100
_QUIET_DB = -40  # a frame so far below the loudest one is silence
_BEFORE, _AFTER = RATE // 50, RATE // 16  # samples kept around what is heard: 20 ms, 62 ms
_EDGE = RATE // 200  # samples over which it fades in and out: 5 ms


def spoken_name(name: str, language: str) -> bytes:
    """Return the blocks, at most NAME_BLOCKS_MAX, of "I am NAME" in a language that is known.

    Raises BadVoice (name or language), NoSpeech (no espeak-ng).
    """
    name = " ".join(name.split())
    if not any(map(str.isalnum, name)):
        raise BadVoice("There is no letter in that name.", "Write it as it is to be said.")
    if len(name) > NAME_LETTERS_MAX:
        raise BadVoice(
            f"That name has {len(name)} letters, and may have {NAME_LETTERS_MAX}.", "Shorten it."
        )
    voice = table(language)
    return from_text(voice.name.format(name=name), voice, NAME_BLOCKS_MAX)


def recorded_name(path: Path) -> bytes:
    """Return the blocks, at most NAME_BLOCKS_MAX, of a recording in which the toy says its name.

    Raises BadAudio (not a sound file), BadVoice (silent, or too long).
    """
    return from_file(path, NAME_BLOCKS_MAX)


def from_text(text: str, voice: Table, blocks_max: int) -> bytes:
    """Return what espeak-ng makes of `text`, as 1 to `blocks_max` blocks.

    Raises BadVoice (too long, nothing to hear), NoSpeech (espeak-ng is missing, or failed).
    """
    if len(text) > _TEXT_MAX:
        raise BadVoice(f"{text[:20]!r}… is too long to be said.", "Say it in fewer words.")
    with tempfile.TemporaryDirectory(prefix="hushbear-") as directory:
        path = Path(directory) / "speech.wav"
        _speak(text, voice, path)
        return _blocks(audio.read(path), repr(text), blocks_max)


def from_file(path: Path, blocks_max: int) -> bytes:
    """Return a recording (WAV, FLAC or OGG) as 1 to `blocks_max` blocks.

    Raises BadAudio (not a sound file), BadVoice (silent, or too long).
    """
    return _blocks(audio.read(path), path.name, blocks_max)


def espeak_version() -> str:
    """Return what espeak-ng says of its version, or raise NoSpeech."""
    return _run("--version").split("Data at")[0].strip()


def trim(signal: audio.Signal) -> audio.Signal:
    """Return `signal` (16 kHz) without the silence around it, fading in and out; empty if silent.

    Silence is what is 40 dB below its loudest 10 ms.
    """
    padded = np.pad(signal, (0, -len(signal) % _FRAME))
    level = np.mean(padded.reshape(-1, _FRAME) ** 2, axis=1)
    if np.max(np.abs(signal), initial=0) < 10 ** (audio.SILENCE_DB / 20):
        return signal[:0]
    heard = np.flatnonzero(level > np.max(level) * 10 ** (_QUIET_DB / 10))
    first = max(0, int(heard[0]) * _FRAME - _BEFORE)
    kept = signal[first : (int(heard[-1]) + 1) * _FRAME + _AFTER].copy()
    edge = min(_EDGE, len(kept) // 2)
    rise = np.linspace(0, 1, edge, endpoint=False)
    kept[:edge] *= rise
    kept[len(kept) - edge :] *= rise[::-1]
    return kept


def _blocks(signal: audio.Signal, what: str, blocks_max: int) -> bytes:
    kept = trim(signal)
    if not len(kept):
        raise BadVoice(f"Nothing is to be heard in {what}.", "Record it again, louder.")
    blocks = -(-len(kept) // BLOCK_SAMPLES)
    if blocks > blocks_max:
        raise BadVoice(
            f"{what} takes {len(kept) / RATE:.1f} s to say, and has"
            f" {blocks_max * BLOCK_SAMPLES / RATE:.1f} s.",
            "Say it in fewer words, or faster.",
        )
    coded = adpcm.encode(audio.quantise(audio.normalise(kept)))
    assert len(coded) == blocks * BLOCK_ALIGN
    return coded


def _speak(text: str, voice: Table, path: Path) -> None:
    _run(
        "-v", voice.voice, "-s", str(voice.speed), "-b", "1", "-w", str(path), "--stdin", text=text
    )
    if not path.exists():
        raise NoSpeech(f"{_ESPEAK} made no sound of {text!r}.", "Choose other words.")


def _run(*arguments: str, text: str = "") -> str:
    try:
        done = subprocess.run(
            [_ESPEAK, *arguments],
            input=text.encode(),  # not an argument: it may begin with a dash
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
            check=False,
        )
    except FileNotFoundError:
        raise NoSpeech(
            f"{_ESPEAK} is not installed.",
            "Install it (Debian: apt-get install espeak-ng), or take recordings.",
        ) from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoSpeech(f"{_ESPEAK} did not run: {error}.", "Install it anew.") from None
    said = done.stdout.decode(errors="replace").strip()
    if done.returncode:
        last = said.splitlines()[-1:] or ["no word"]
        raise NoSpeech(f"{_ESPEAK} failed: {last[0]}", "Check the voice in the table.")
    return said
