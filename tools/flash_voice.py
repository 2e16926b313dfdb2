"""The voices that tools/flash.py brings onto a board: one file for each language.

The first language is what the toy speaks unless it is set to another: it becomes /voice on the
board, a further one /voice-de or its like.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from hushbear_companion import voice_table
from hushbear_companion.errors import HushbearError

from . import voice
from .flash_commands import Problem

DEFAULT = "en"
FIRST = "voice"


def gather(wanted: str, stage: Path, cache: Path, dry_run: bool) -> list[Path]:
    """Put the files for `wanted` into the directory `stage`; return them.

    `wanted` are languages that espeak-ng speaks, and files that tools/voice made of recordings,
    divided by commas. Raises Problem.
    """
    files: list[Path] = []
    taken = set()
    for item in wanted.split(","):
        try:
            source, language = _source(item, cache, dry_run)
        except HushbearError as problem:
            raise Problem(str(problem)) from None
        if language in taken:
            raise Problem(f"--language {wanted} has {language} twice")
        taken.add(language)
        files.append(stage / (f"{FIRST}-{language}" if files else FIRST))
        if not dry_run:
            shutil.copy(source, files[-1])
    return files


def is_voice(path: str) -> bool:
    """Tell whether a file on the board is one of these."""
    return path == f"/{FIRST}" or path.startswith(f"/{FIRST}-")


def _source(item: str, cache: Path, dry_run: bool) -> tuple[Path, str]:
    """Return the file of prompts that one item of the list stands for, and its language."""
    if item in voice_table.languages():
        if dry_run:
            print(f"tools/voice build {item}")
            return Path(item), item
        return voice.kept(item, cache), item
    path = Path(item)
    if not path.is_file():
        voice_table.table(item)  # says which languages there are
    return path, voice.read(path)[0]
