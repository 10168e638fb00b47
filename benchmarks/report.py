"""Rows of figures, what they should be, and the table of them. No I/O."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median


@dataclass
class Row:
    """One thing measured in several rounds, beside something else measured in the same rounds.

    :ivar beside: figures of what it is compared with: a Node hook, or LCH itself under lighter conditions.
    """

    what: str
    unit: str
    figures: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)
    beside_name: str = "Node"
    target: Target | None = None

    @property
    def ratios(self) -> list[float]:
        """Round by round: what disturbs the machine in a round disturbs both."""
        return [figure / other for figure, other in zip(self.figures, self.beside, strict=False) if other]

    def verdict(self) -> str:
        if self.target is None:
            return ""
        reached = self.target.reached(self) if self.figures else None
        if reached is None:
            return "not measured"
        return "reached" if reached else "NOT REACHED"


@dataclass(frozen=True)
class Target:
    """What is to be reached. `reached` is `None` where it cannot be told, as there is nothing to compare with."""

    words: str
    reached: Callable[[Row], bool | None]


def ratio_at_least(least: float) -> Target:
    return Target(f"≥ {least:g} x", lambda row: median(row.ratios) >= least if row.ratios else None)


def ratio_at_most(most: float) -> Target:
    return Target(f"≤ {most:g} x", lambda row: median(row.ratios) <= most if row.ratios else None)


def ratio_or_figure_at_most(ratio: float, figure: float, unit: str) -> Target:
    """Whichever is larger; without anything to compare with, the figure decides as long as it is kept."""

    def reached(row: Row) -> bool | None:
        if median(row.figures) <= figure:
            return True
        return median(row.ratios) <= ratio if row.ratios else None

    return Target(f"≤ {ratio:g} x or {figure:g} {unit}", reached)


def figure_at_most(most: float, unit: str) -> Target:
    return Target(f"≤ {most:g} {unit}", lambda row: median(row.figures) <= most)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def spread(values: Sequence[float]) -> str:
    """min-median-max, or what there is."""
    if not values:
        return ""
    if len(values) == 1:
        return in_digits(values[0])
    return " - ".join(in_digits(value) for value in (min(values), median(values), max(values)))


def in_digits(value: float) -> str:
    """Three digits that count."""
    if value == 0:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(rows: Sequence[Row]) -> str:
    """Markdown that can also be read as it is."""
    head = ["measured", "unit", "LCH", "beside it", "ratio, min - median - max", "to reach", ""]
    lines = [
        [
            row.what,
            row.unit,
            in_digits(median(row.figures)) if row.figures else "failed",
            f"{row.beside_name} {in_digits(median(row.beside))}" if row.beside else "",
            spread(row.ratios) if row.ratios else "",
            row.target.words if row.target else "",
            row.verdict(),
        ]
        for row in rows
    ]
    widths = [max(len(cell) for cell in column) for column in zip(head, *lines, strict=True)]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    return "\n".join([line(head), "|" + "|".join("-" * (width + 2) for width in widths) + "|", *map(line, lines)])
