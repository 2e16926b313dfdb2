"""Rows as a table on the terminal, as JSON, and as the table in docs/bench.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.table import Table

from .figures import Figure, Row, number

BEGIN, END = "<!-- begin: written by tools/bench --doc -->", "<!-- end -->"
_HEADS = ("what", "where", "value", "unit", "target", "met", "beside it")


def met(row: Row) -> str:
    return {None: "", True: "yes", False: "MISSED"}[row.met]


def cells(row: Row) -> tuple[str, ...]:
    """Return what a line of the table says."""
    figure = row.figure
    value = number(row.value)
    return (figure.what, row.where, value, figure.unit, row.target, met(row), row.beside)


def table(rows: Iterable[Row]) -> Table:
    """Return the table for a terminal."""
    shown = Table(title="What the toy costs", title_justify="left")
    for head in _HEADS:
        wraps = head in ("what", "unit", _HEADS[-1])
        shown.add_column(head, justify="right" if head == "value" else "left", no_wrap=not wraps)
    for row in rows:
        if row.value is not None:
            shown.add_row(*cells(row), style="bold red" if row.met is False else None)
    return shown


def absent(rows: Iterable[Row]) -> list[str]:
    """Return a line for each place where something could not be measured: what, and what to do."""
    whats: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.value is None:
            whats.setdefault((row.where, row.beside), []).append(row.figure.what)
    return [
        f"Not measured on {where}: {'; '.join(found)}. The reason: {why}."
        for (where, why), found in whats.items()
    ]


def as_json(rows: Iterable[Row], versions: Mapping[str, str]) -> dict[str, Any]:
    return {"versions": dict(versions), "rows": [row.as_json() for row in rows]}


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def document(
    text: str, rows: Sequence[Row], figures: Iterable[Figure], versions: Mapping[str, str]
) -> str:
    """Return the document `text` with these rows between its marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not rest or not after:
        raise ValueError("the document has lost its marks")
    targets = [row for row in rows if row.met is not None]
    missed = [row for row in targets if not row.met]
    lines = [
        BEGIN,
        f"{len(targets) - len(missed)} of {len(targets)} targets are met."
        + "".join(
            f"\n- **Missed:** {row.figure.what} on {row.where}, {number(row.value)}"
            f" {row.figure.unit}, target {row.target}."
            for row in missed
        ),
        "",
        _line(_HEADS),
        _line("---" for _ in _HEADS),
        *(_line(cells(row)) for row in rows if row.value is not None),
        "",
        *(f"{line}\n" for line in absent(rows)),
        "Measured with " + ", ".join(f"{name} {of}" for name, of in versions.items()) + ".",
        "",
        "| what | how it is measured |",
        "| --- | --- |",
        *(_line((figure.what, figure.how)) for figure in figures),
        END,
    ]
    return before + "\n".join(lines) + after
