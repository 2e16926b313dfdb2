"""docs/voices.md says what is so: the prompts, their words, the languages and what they take."""

from __future__ import annotations

import re
import shutil

import pytest

from host_tests.targets import ROOT
from hushbear_companion import voice_table
from hushbear_companion.voice_table import PROMPTS
from tools import flash, voice

DOCUMENT = (ROOT / "docs/voices.md").read_text()


def test_every_prompt_stands_there_with_its_words() -> None:
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| [^|]+ \| ([^|]+) \|$", DOCUMENT, re.MULTILINE))
    assert rows == {
        name: words
        for name, words in voice_table.table("en").prompts.items()
        if not name.isdigit()
    }
    assert list(rows) == [name for name in PROMPTS if not name.isdigit()]


@pytest.mark.skipif(not shutil.which("espeak-ng"), reason="needs espeak-ng")
def test_what_each_language_takes_stands_there() -> None:
    """Versions of espeak-ng differ by a few percent."""
    said = dict(re.findall(r"^\| `([a-z]{2})` \w+ \| ([\d,]+) \|", DOCUMENT, re.MULTILINE))
    sizes = {language: int(size.replace(",", "")) for language, size in said.items()}
    assert list(sizes) == voice_table.languages()
    for language, size in sizes.items():
        made = voice.kept(language, flash.cache() / "voices").stat().st_size
        assert size == pytest.approx(made, rel=0.1)
    (total,) = re.findall(r"^\| all four \| ([\d,]+) \|", DOCUMENT, re.MULTILINE)
    assert int(total.replace(",", "")) == sum(sizes.values())
