"""The command: `tools/bench [subject …] [--doc]`."""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import sys
from collections.abc import Iterator

from rich.console import Console

from host_tests.targets import ROOT

from . import render
from .figures import Figure, Row
from .versions import versions

SUBJECTS = ("kernels", "sounds", "crypto", "messages", "heap", "link", "toy", "size")
# Only when named: it is of another machine than the toy, and takes both cores for minutes
APART = ("relay",)
WIDTH = 120  # columns that the table needs
OUT = ROOT / "bench-out/bench.json"
DOCUMENT = ROOT / "docs/bench.md"


def figures(subjects: tuple[str, ...] = SUBJECTS) -> list[Figure]:
    """Return all that these subjects measure."""
    modules = [importlib.import_module(f"bench.{subject}") for subject in subjects]
    return [figure for module in modules for figure in module.FIGURES]


def measure(subjects: list[str]) -> Iterator[Row]:
    for subject in subjects:
        yield from importlib.import_module(f"bench.{subject}").measure()


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="tools/bench",
        description="Measure what the toy costs; print it, and write " + OUT.name,
    )
    parser.add_argument(
        "subject",
        nargs="*",
        choices=[[], *SUBJECTS, *APART],
        metavar="subject",
        help=f"{', '.join(SUBJECTS)}; default: every one of these; or {', '.join(APART)}",
    )
    parser.add_argument(
        "--doc", action="store_true", help="write the table into docs/bench.md, too"
    )
    options = parser.parse_args()
    if options.doc and options.subject:
        parser.error("the document has every subject")
    logging.getLogger("bumble").setLevel(logging.ERROR)
    console = Console(highlight=False)
    console.width = max(console.width, WIDTH)
    rows = []
    with console.status("measuring") as status:
        for row in measure(options.subject or list(SUBJECTS)):
            rows.append(row)
            status.update(f"measured: {row.figure.what}, {row.where}")
    found = versions()
    order = figures((*SUBJECTS, *APART))
    rows.sort(key=lambda row: order.index(row.figure))
    console.print(render.table(rows))
    for line in render.absent(rows):
        console.print(line)
    OUT.parent.mkdir(exist_ok=True)
    report = render.as_json(rows, found)
    OUT.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    console.print(f"written: {OUT}")
    if options.doc:
        text = DOCUMENT.read_text()
        DOCUMENT.write_text(render.document(text, rows, figures(), found))
        console.print(f"written: {DOCUMENT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
