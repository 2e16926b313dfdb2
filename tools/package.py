"""Write package.json, from which `mip install` takes the device library:

.venv/bin/python -m tools.package
"""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIB = ROOT / "lib"
PACKAGE = ROOT / "package.json"


def version() -> str:
    """Return the version that the device library says it has."""
    source = (LIB / "hushbear/__init__.py").read_text()
    match = re.search(r'^VERSION = "(.+)"$', source, re.MULTILINE)
    assert match
    return match[1]


def package() -> str:
    """Return what belongs in package.json: each file of lib/, by its path there and from here."""
    files = sorted(path.relative_to(LIB).as_posix() for path in LIB.rglob("*.py"))
    content = {
        "urls": [[file, f"lib/{file}"] for file in files],
        "deps": [],
        "version": version(),
    }
    return json.dumps(content, indent=2) + "\n"


if __name__ == "__main__":
    PACKAGE.write_text(package())
