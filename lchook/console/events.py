"""What a console shows of log entries: which of them, and what stays hidden.

Flow and outcome are the event's own (`lchook.core.events`). Pure: no I/O, no clock.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from lchook.core.events import EventOutcome, Flow
from lchook.logs import LogEntry

FLOWS: tuple[str, ...] = get_args(Flow)
OUTCOMES: tuple[str, ...] = get_args(EventOutcome)
LEVELS = ("info", "warning", "error")

# What looks like a JWT is one.
_JWT = re.compile(r"eyJ[\w-]{5,}(?:\.[\w-]*){1,2}")
# Beyond this a browser would round.
_MAX_EXACT = 2**53


class Redactor:
    """Hides secrets, and whatever looks like a token, in any text. Nothing should hold them; this makes sure."""

    def __init__(self, secrets: Iterable[str]) -> None:
        # A short secret, as some have while they try things out, would turn up inside of ordinary words.
        self._secrets = [secret for secret in secrets if len(secret) >= 8]

    def hide(self, value: Any) -> Any:
        """The value as a browser may have it."""
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, (int, float)):
            return value if abs(value) <= _MAX_EXACT else str(value)
        text = str(value)
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, "(secret)")
        return _JWT.sub("(token)", text) if "eyJ" in text else text


@dataclass(frozen=True, slots=True)
class Filter:
    """Which entries an operator wants to see. Empty for all."""

    customer: str = ""
    # The whole id, or a part of it in any case.
    exact: bool = False
    flow: str = ""
    outcome: str = ""
    # This level and worse.
    level: str = "info"

    @staticmethod
    def from_client(wanted: object) -> Filter:
        """What a console asked for; anything unknown is left out."""
        fields: dict[Any, Any] = wanted if isinstance(wanted, dict) else {}
        customer, flow, outcome, level = (fields.get(name) for name in ("customer", "flow", "outcome", "level"))
        return Filter(
            customer=customer if isinstance(customer, str) else "",
            exact=fields.get("exact") is True,
            flow=flow if flow in FLOWS else "",
            outcome=outcome if outcome in OUTCOMES else "",
            level=level if level in LEVELS else "info",
        )

    def wants(self, entry: LogEntry, redactor: Redactor) -> bool:
        """Is this entry one of them?"""
        if self.level != "info" and LEVELS.index(entry.level) < LEVELS.index(self.level):
            return False
        if self.exact or self.customer:
            customer = _customer(entry)
            if not isinstance(customer, str):
                return False
            customer = redactor.hide(customer)
            if self.exact and customer != self.customer:
                return False
            if not self.exact and self.customer.casefold() not in customer.casefold():
                return False
        if self.flow or self.outcome:
            return self.flow in ("", entry.event.flow) and self.outcome in ("", entry.event.outcome)
        return True


def shown(number: int, entry: LogEntry, redactor: Redactor) -> dict[str, Any]:
    """An entry as the console's page gets it: `customer`, `message` and `type` by name, all else in `fields`."""
    fields = {name: redactor.hide(value) for name, value in entry.fields.items()}
    if "customer" in fields:
        fields["customer"] = redactor.hide(_customer(entry))
    return {
        "n": number,
        "at": round(entry.at * 1000, 1),
        "level": entry.level,
        "part": entry.part,
        "id": entry.event.id,
        "text": redactor.hide(entry.text),
        "flow": entry.event.flow,
        "outcome": entry.event.outcome,
        "customer": fields.pop("customer", None),
        "message": fields.pop("message", None),
        "type": fields.pop("type", None),
        "fields": fields,
    }


def _customer(entry: LogEntry) -> Any:
    """Where there are several connections to Pega, `connection/customer`: ids may be equal."""
    customer, connection = entry.fields.get("customer"), entry.fields.get("connection")
    return customer if connection is None or customer is None else f"{connection}/{customer}"


def latest(
    first: int, entries: Sequence[LogEntry], wanted: Filter, redactor: Redactor, limit: int
) -> tuple[list[dict[str, Any]], bool]:
    """The latest entries that are wanted, oldest first, and whether those are all there are.

    :param first: the number of the first of `entries`.
    """
    found = _found(first, entries, wanted, redactor)
    newest = [shown(number, entry, redactor) for number, entry in _take(limit, found)]
    return newest[::-1], next(found, None) is None


def _found(first: int, entries: Sequence[LogEntry], wanted: Filter, redactor: Redactor) -> Iterator[tuple[int, LogEntry]]:
    """Newest first."""
    for index in range(len(entries) - 1, -1, -1):
        if wanted.wants(entries[index], redactor):
            yield first + index, entries[index]


def _take(limit: int, found: Iterator[tuple[int, LogEntry]]) -> Iterator[tuple[int, LogEntry]]:
    for _, item in zip(range(limit), found, strict=False):
        yield item
