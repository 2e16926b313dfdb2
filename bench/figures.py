"""Figures, and the rows that measuring them gives."""

from __future__ import annotations

import dataclasses
import operator
from typing import Any

_REACHED = {"≤": operator.le, "≥": operator.ge}


@dataclasses.dataclass(frozen=True)
class Figure:
    """Something to measure. `target` is what it has to reach, such as ("≤", 45); None where it is
    only to be told."""

    what: str
    unit: str
    how: str
    target: tuple[str, float] | None = None

    def on(self, where: str, value: float, beside: str = "") -> Row:
        """The value that was measured there; `beside` is what to see it against."""
        return Row(self, where, value, beside)

    def missing(self, where: str, why: str) -> Row:
        """It could not be measured there."""
        return Row(self, where, None, why)


@dataclasses.dataclass(frozen=True)
class Row:
    figure: Figure
    where: str
    value: float | None
    beside: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None without a target or a value."""
        if self.figure.target is None or self.value is None:
            return None
        relation, bound = self.figure.target
        return bool(_REACHED[relation](self.value, bound))

    @property
    def target(self) -> str:
        return "{} {:g}".format(*self.figure.target) if self.figure.target else ""

    def as_json(self) -> dict[str, Any]:
        return {
            "what": self.figure.what,
            "where": self.where,
            "value": None if self.value is None else round(self.value, 4),
            "unit": self.figure.unit,
            "target": self.target or None,
            "met": self.met,
            "beside": self.beside,
            "how": self.figure.how,
        }


def number(value: float | None) -> str:
    """Return a value as people read it."""
    if value is None:
        return "—"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"
