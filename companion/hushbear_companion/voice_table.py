"""What the toy says, a table for each language: voices/de.toml and its like."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import BadVoice

TABLES = Path(__file__).parent / "voices"
PROMPTS = (
    *("0", "1", "2", "3", "4", "5", "6", "7", "8", "9"),
    *("pairing", "paired", "wrong", "closed"),
    *("let-go", "cancelled", "erasing", "erased"),
    *("broken", "full", "no-family"),
)


@dataclass(frozen=True)
class Table:
    language: str  # two letters, ISO 639-1
    voice: str  # of espeak-ng, perhaps with a variant: "de+f3"
    speed: int  # words per minute
    name: str  # how the toy says its name, with {name} in it
    prompts: dict[str, str]  # sentence by name of the prompt, all of PROMPTS


def languages() -> list[str]:
    """Return the languages that there are tables for."""
    return sorted(path.stem for path in TABLES.glob("*.toml"))


def table(language: str) -> Table:
    """Return the table of a language, or raise BadVoice."""
    if language not in languages():
        raise BadVoice(
            f"There is no table for the language {language!r}, but for {', '.join(languages())}.",
            "docs/voices.md tells how to add one.",
        )
    return read_table(TABLES / f"{language}.toml")


def read_table(path: Path) -> Table:
    """Return the table in a TOML file that is named after its language; raise BadVoice."""
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise BadVoice(f"{path} cannot be read: {error.strerror}.", "Check the name.") from None
    except ValueError as error:  # of UTF-8, of TOML
        raise BadVoice(f"{path.name} is no table: {error}.", "Mend that line.") from None
    check_language(path.stem)
    espeak = content.get("espeak", {})
    prompts = content.get("prompts", {})
    if not isinstance(espeak, dict) or not isinstance(prompts, dict):
        raise BadVoice(f"{path.name}: espeak and prompts have to be [sections].", "See en.toml.")
    check_prompts(prompts, path.name)
    for name, sentence in prompts.items():
        _check(f"{path.name}: {name}", sentence, r"\S.*")
    return Table(
        path.stem,
        _check(f"{path.name}: voice", espeak.get("voice"), r"\w[\w+-]*"),
        int(_check(f"{path.name}: speed", str(espeak.get("speed")), r"[1-4]\d\d|[89]\d")),
        _check(f"{path.name}: name", content.get("name"), r"[^{}]*\{name\}[^{}]*"),
        prompts,
    )


def check_language(code: str) -> None:
    """Raise BadVoice unless a language has this code."""
    if not re.fullmatch("[a-z]{2}", code):
        raise BadVoice(
            f"{code!r} is not the code of a language.", "It has two letters: en, de, fr, es."
        )


def check_prompts(names: Iterable[str], where: str) -> None:
    """Raise BadVoice unless these are the toy's prompts, all of them and no others."""
    given = set(names)
    if unknown := sorted(given - set(PROMPTS)):
        raise BadVoice(
            f"{where} has {', '.join(unknown)}, which the toy never says.",
            f"The prompts are {', '.join(PROMPTS)}.",
        )
    if missing := [name for name in PROMPTS if name not in given]:
        raise BadVoice(f"{where} lacks {', '.join(missing)}.", "The toy needs every prompt.")


def _check(what: str, text: Any, pattern: str) -> str:
    if not isinstance(text, str) or not re.fullmatch(pattern, text):
        raise BadVoice(f"{what} cannot be {text!r}.", "See how en.toml has it.")
    return text
