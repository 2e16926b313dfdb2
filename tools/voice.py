"""Make what the toy says: files of prompts, and its name. See tools/voice.

What espeak-ng made is kept in the cache, under a hash of all that it was made from.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import wave
from collections.abc import Callable
from pathlib import Path

from hushbear import prompts
from hushbear_companion import adpcm, audio, speech, voice_table
from hushbear_companion.errors import BadVoice, HushbearError
from hushbear_companion.message import RATE
from hushbear_companion.voice_table import PROMPTS

from . import voice_file
from .voice_file import PROMPT_BLOCKS_MAX

SOUNDS = (".wav", ".flac", ".ogg")
OUT = "voice-out"


def spoken(table: voice_table.Table) -> bytes:
    """Return the file of prompts that espeak-ng speaks. Raises BadVoice, NoSpeech."""
    return _packed(
        table.language,
        lambda prompt: speech.from_text(table.prompts[prompt], table, PROMPT_BLOCKS_MAX),
    )


def recorded(language: str, directory: Path) -> bytes:
    """Return the file of prompts that are recordings in a directory, each named by its prompt.

    Raises BadVoice, BadAudio.
    """
    voice_table.check_language(language)
    if not directory.is_dir():
        raise BadVoice(f"{directory} is not a directory.", "Name the one with the recordings.")
    files = sorted(path for path in directory.iterdir() if path.suffix.lower() in SOUNDS)
    voice_table.check_prompts((path.stem for path in files), str(directory))
    by_prompt = {path.stem: path for path in files}
    if twice := [path.name for path in files if by_prompt[path.stem] != path]:
        raise BadVoice(f"{directory} has {twice[0]} in two formats.", "Take one away.")
    return _packed(language, lambda prompt: speech.from_file(by_prompt[prompt], PROMPT_BLOCKS_MAX))


def _packed(language: str, blocks: Callable[[str], bytes]) -> bytes:
    return voice_file.pack(language, {prompt: blocks(prompt) for prompt in PROMPTS})


def kept(language: str, directory: Path) -> Path:
    """Return where the file that espeak-ng speaks is kept in `directory`; make it if need be.

    Raises BadVoice, NoSpeech.
    """
    table = voice_table.table(language)
    made_from = hashlib.sha256(repr((speech.espeak_version(), table)).encode())
    for module in (adpcm, audio, prompts, speech, voice_file, voice_table):
        made_from.update(Path(str(module.__file__)).read_bytes())
    made_from.update(Path(__file__).read_bytes())
    path = directory / f"voice-{language}-{made_from.hexdigest()[:16]}"
    if not path.exists():
        content = spoken(table)
        directory.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        part.write_bytes(content)
        part.replace(path)
    return path


def read(path: Path) -> tuple[str, dict[str, bytes]]:
    """Return (language, blocks by prompt) of a file of prompts, or raise BadVoice."""
    try:
        return voice_file.parse(path.read_bytes())
    except OSError as error:
        raise BadVoice(f"{path} cannot be read: {error.strerror}.", "Check the name.") from None
    except ValueError as error:
        raise BadVoice(
            f"{path.name} is not a whole file of prompts: {error}.",
            "Make it again with `tools/voice build`.",
        ) from None


def build(options: argparse.Namespace) -> None:
    if options.recordings and len(options.languages) != 1:
        raise BadVoice("Recordings are in one language.", "Say which: tools/voice build de …")
    chosen = options.languages or voice_table.languages()
    options.out.mkdir(parents=True, exist_ok=True)
    for language in chosen:
        if options.recordings:
            content = recorded(language, options.recordings)
        else:
            content = spoken(voice_table.table(language))
        path = options.out / f"voice-{language}"
        path.write_bytes(content)
        print(f"{path}: {len(PROMPTS)} prompts, {len(content):,} bytes")


def name(options: argparse.Namespace) -> None:
    if options.recording:
        blocks = speech.recorded_name(options.recording)
    else:
        blocks = speech.spoken_name(options.name, options.language)
    options.out.write_bytes(blocks)
    print(f"{options.out}: {len(blocks):,} bytes")


def wav(options: argparse.Namespace) -> None:
    _, said = read(options.file)
    options.directory.mkdir(parents=True, exist_ok=True)
    for prompt, blocks in said.items():
        path = options.directory / f"{prompt}.wav"
        pcm = adpcm.decode(blocks)
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, RATE, 0, "NONE", ""))
            file.writeframes(pcm.astype("<i2").tobytes())
        print(f"{path}: {len(pcm) / RATE:.1f} s")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="tools/voice", description="Make what the toy says.", allow_abbrev=False
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("build", help="make the file of prompts of each language")
    command.add_argument(
        "languages", nargs="*", metavar="LANGUAGE", help="en, de, …; default: all that are known"
    )
    command.add_argument(
        "--recordings", type=Path, metavar="DIRECTORY",
        help="take WAV, FLAC or OGG files named by their prompts: pairing.wav, 0.flac, …",
    )  # fmt: skip
    command.add_argument("--out", type=Path, default=Path(OUT), help="default: %(default)s")
    command.set_defaults(run=build)

    command = commands.add_parser("name", help="make the toy say its name")
    source = command.add_mutually_exclusive_group(required=True)
    source.add_argument("name", nargs="?", help="as espeak-ng is to say it")
    source.add_argument("--recording", type=Path, metavar="FILE", help="somebody who says it")
    command.add_argument("--language", default="en", help="default: %(default)s")
    command.add_argument("--out", type=Path, default=Path("name.ima"), help="default: %(default)s")
    command.set_defaults(run=name)

    command = commands.add_parser("wav", help="turn a file of prompts into WAVs to listen to")
    command.add_argument("file", type=Path)
    command.add_argument("directory", type=Path)
    command.set_defaults(run=wav)

    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except HushbearError as problem:
        print(f"voice: {problem}", file=sys.stderr)
        return 1
    except OSError as problem:
        print(f"voice: {problem.filename}: {problem.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
