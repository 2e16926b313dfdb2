"""Play a message on this computer, through whatever player the system has.

`HUSHBEAR_PLAYER` names another command; the file's name, a WAV with 16-bit samples, comes after
it. What is played is in a private temporary file meanwhile, and gone afterwards.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import wave
from pathlib import Path

from . import adpcm, message
from .errors import NoPlayer

# Those that play no sound where there is no sound server end at once, and the next one is tried.
_PLAYERS = (
    ("afplay",),
    ("pw-play",),
    ("paplay",),
    ("aplay", "-q"),
    ("ffplay", "-nodisp", "-autoexit", "-loglevel", "error"),
    ("mpv", "--no-video", "--really-quiet"),
    ("play", "-q"),
)


def play(blocks: bytes) -> None:
    """Play a message's blocks; returns when they have been heard. Raises NoPlayer."""
    with tempfile.TemporaryDirectory(prefix="hushbear-") as directory:
        path = Path(directory) / "message.wav"
        _write(path, blocks)
        _play(path)


def _write(path: Path, blocks: bytes) -> None:
    with wave.open(str(path), "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(message.RATE)
        wav.writeframes(adpcm.decode(blocks).astype("<i2").tobytes())


def _play(path: Path) -> None:
    chosen = os.environ.get("HUSHBEAR_PLAYER", "").strip()
    if sys.platform == "win32" and not chosen:
        import winsound

        winsound.PlaySound(str(path), winsound.SND_FILENAME)
        return
    try:
        players = [tuple(shlex.split(chosen))] if chosen else _PLAYERS
    except ValueError:
        raise NoPlayer(f"HUSHBEAR_PLAYER is no command: {chosen!r}.") from None
    failed = []
    for command in players:
        if shutil.which(command[0]) is None:
            continue
        try:
            done = subprocess.run(
                [*command, str(path)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
            )
        except OSError:
            failed.append(command[0])
            continue
        if done.returncode == 0:
            return
        failed.append(command[0])
    if failed:
        raise NoPlayer(f"The sound could not be played: {', '.join(failed)} failed.")
    raise NoPlayer(
        f"There is no {chosen!r} here." if chosen else "No player for sounds is installed here."
    )
