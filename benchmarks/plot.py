"""Line charts as SVG, for figures that grow with something. No I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

_WIDTH, _HEIGHT = 640, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 40, 50
_COLOURS = ("#0b6e4f", "#c8553d", "#2d5d9f", "#8f6f00", "#6b4c9a")


def chart(title: str, x_name: str, y_name: str, lines: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """One line for each name; the x axis has equal steps for equal factors, the y axis begins at 0."""
    # 0 has no place on such an axis: it stands one factor of ten before the rest.
    xs = sorted({x for points in lines.values() for x, _ in points})
    lowest = min(x for x in xs if x > 0) / (10 if xs[0] == 0 else 1)
    highest = max(y for points in lines.values() for _, y in points) * 1.1

    def place(x: float, y: float) -> tuple[float, float]:
        steps = math.log10(max(x, lowest) / lowest) / (math.log10(xs[-1] / lowest) or 1)
        return (
            round(_LEFT + steps * (_WIDTH - _LEFT - _RIGHT), 1),
            round(_HEIGHT - _BOTTOM - y / highest * (_HEIGHT - _TOP - _BOTTOM), 1),
        )

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        _text(_LEFT, 20, title, size=15),
        _text(_WIDTH / 2, _HEIGHT - 12, x_name, anchor="middle"),
        _text(_LEFT, 36, y_name),
    ]
    for x in xs:
        left, bottom = place(x, 0)
        parts.append(_text(left, bottom + 16, f"{x:,.0f}", anchor="middle"))
    for step in range(5):
        y = highest * step / 4
        left, top = place(xs[0], y)
        parts.append(f'<path d="M{left} {top}H{_WIDTH - _RIGHT}" stroke="#ddd"/>')
        parts.append(_text(left - 8, top + 4, f"{y:,.0f}", anchor="end"))
    for (name, points), colour in zip(lines.items(), _COLOURS, strict=False):
        places = [place(x, y) for x, y in points]
        path = " ".join(f"{x},{y}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>' for x, y in places]
        parts.append(_text(places[-1][0], places[-1][1] - 8, name, anchor="end", colour=colour))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12, colour: str = "#222") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="{size}" fill="{colour}">{escape(text)}</text>'
