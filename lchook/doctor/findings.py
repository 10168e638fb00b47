"""What a check found, and how it is shown. No I/O.

Texts from outside (a certificate, an answer) come in through `quoted`: they must not forge a line, and never show a token.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeVar

import click

T = TypeVar("T")

Status = Literal["ok", "problem", "warning", "skipped"]
_MARKS = {"ok": "✓", "problem": "✗", "warning": "!", "skipped": "–"}  # noqa: RUF001 - a dash is meant
_ASCII_MARKS = {"ok": "+", "problem": "x", "warning": "!", "skipped": "-"}
_COLOURS = {"ok": "green", "problem": "red", "warning": "yellow", "skipped": "bright_black"}
_MAX_CHARACTERS = 200
_TOKEN = re.compile(r"eyJ[\w-]+(\.[\w-]*)*")


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check says. `advice`: what to do about it, empty where there is nothing to do."""

    check: str
    status: Status
    says: str
    advice: str = ""


def shown(finding: Finding, *, encoding: str = "utf-8") -> str:
    """A line, and a second one with the advice; in the colours of a terminal, which `click.echo` takes off elsewhere.

    :param encoding: what the output can show.
    """
    try:
        "".join((*_MARKS.values(), "→")).encode(encoding)
        marks, arrow = _MARKS, "→"
    except (UnicodeEncodeError, LookupError):
        marks, arrow = _ASCII_MARKS, "->"
    colour = _COLOURS[finding.status]
    line = f"{click.style(marks[finding.status], fg=colour, bold=True)} {finding.check}: {finding.says}"
    return f"{line}\n  {arrow} {finding.advice}" if finding.advice else line


def as_json(findings: Sequence[Finding]) -> str:
    """One object: `status` ("ok" or "problems") and the findings."""
    return json.dumps({"status": "problems" if has_problems(findings) else "ok", "findings": [*map(asdict, findings)]})


def has_problems(findings: Iterable[Finding]) -> bool:
    return any(finding.status == "problem" for finding in findings)


def quoted(text: object) -> str:
    """A text from outside, on one line, cut short, without anything that looks like a token."""
    plain = _TOKEN.sub("(a token)", str(text))
    cut = plain if len(plain) <= _MAX_CHARACTERS else plain[:_MAX_CHARACTERS] + "…"
    return repr(cut)


def in_words(seconds: float) -> str:
    """A span of time, without its sign."""
    span = abs(seconds)
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if span >= 2 * length:
            return f"{span / length:.1f} {unit}"
    return f"{span:.0f} s"


def within(seconds: float, function: Callable[[], T]) -> T:
    """What the function returns or raises, if it does so in time. The rest of a function that is late goes on unheard.

    :raises TimeoutError: where it does not.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)

    thread: Any = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError(f"nothing came within {seconds:g} s")
    return results[0]
