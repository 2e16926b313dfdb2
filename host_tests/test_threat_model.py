"""docs/threat-model.md names tests that there are."""

from __future__ import annotations

import re

import pytest

from host_tests.targets import ROOT

TEXT = (ROOT / "docs/threat-model.md").read_text()
TESTS = "\n".join(path.read_text() for path in (ROOT / "host_tests").rglob("test_*.py"))


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(test_\w+)`", TEXT))))
def test_what_shows_a_defence_exists(name: str) -> None:
    assert re.search(rf"def {name}\(", TESTS)


def test_every_defence_is_shown_by_something() -> None:
    rows = [row for row in TEXT.split("## Not defended")[0].splitlines() if row.startswith("| ")]
    defences = [row for row in rows if "shown by" not in row and "---" not in row]
    assert len(defences) > 25
    assert [row for row in defences if "`test_" not in row] == []
