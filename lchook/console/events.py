"""What events mean to an operator: which flow they belong to, how things stand after them, and what of them is shown.

Knows the texts that the flows log. Pure: no I/O, no clock.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lchook.logs import Event

Flow = Literal["to_dms", "to_customer", "connections", "other"]
# `under_way`: a message has come in, or has been sent. `done`: its peer has it. `held`: it waits. `lost`: it failed, was
# refused or dropped.
Outcome = Literal["under_way", "done", "held", "lost", "none"]

FLOWS: tuple[Flow, ...] = ("to_dms", "to_customer", "connections", "other")
OUTCOMES: tuple[Outcome, ...] = ("under_way", "done", "held", "lost", "none")
LEVELS = ("info", "warning", "error")

# (part, beginning of the text) → flow and outcome.
MEANINGS: dict[tuple[str, str], tuple[Flow, Outcome]] = {
    ("chat", "received from the customer"): ("to_dms", "under_way"),
    ("chat", "clientMessage rejected"): ("to_dms", "lost"),
    ("to_dms", "to DMS: sent"): ("to_dms", "done"),
    ("to_dms", "to DMS: failed"): ("to_dms", "lost"),
    ("to_dms", "to DMS: refused"): ("to_dms", "lost"),
    ("to_dms", "to DMS: not taken yet"): ("to_dms", "held"),
    ("to_dms", "a message to DMS is delayed"): ("to_dms", "held"),
    ("to_dms", "not forwarded: storage failed"): ("to_dms", "lost"),
    ("to_dms", "forwarding failed"): ("to_dms", "lost"),
    ("to_dms", "a message waits for the store"): ("to_dms", "held"),
    ("webhook", "received from DMS"): ("to_customer", "under_way"),
    ("webhook", "a webhook was refused"): ("to_customer", "lost"),
    ("webhook", "the message cannot be kept"): ("to_customer", "lost"),
    ("to_customer", "kept until the customer comes"): ("to_customer", "held"),
    ("to_customer", "kept; another instance"): ("to_customer", "held"),
    ("to_customer", "letters wait for the next socket"): ("to_customer", "held"),
    ("to_customer", "letters cannot be fetched now"): ("to_customer", "held"),
    ("to_customer", "sent to the customer"): ("to_customer", "under_way"),
    ("to_customer", "acknowledged"): ("to_customer", "done"),
    # It is kept all the same, and may yet arrive.
    ("to_customer", "not acknowledged within"): ("to_customer", "held"),
    ("to_customer", "mailbox full"): ("to_customer", "lost"),
    ("to_customer", "letters are dropped"): ("to_customer", "lost"),
    ("to_customer", "the customer ended the session"): ("to_customer", "none"),
    ("to_customer", "a message that is not kept is lost"): ("to_customer", "lost"),
    ("chat", "connection refused"): ("connections", "lost"),
    ("to_customer", "mapping removed"): ("connections", "none"),
    ("to_customer", "now on another instance"): ("connections", "none"),
}
_FLOWS_OF_PARTS: dict[str, Flow] = {
    "to_dms": "to_dms",
    "webhook": "to_customer",
    "to_customer": "to_customer",
    "chat": "connections",
    "engine.guard": "connections",
    "engine.websocket": "connections",
    "serving.websocket": "connections",
    "serving.served_websocket": "connections",
    "engine.ordered_events": "connections",
}
_BY_PART: dict[str, list[tuple[str, tuple[Flow, Outcome]]]] = {}
for (_part, _text), _meaning in MEANINGS.items():
    _BY_PART.setdefault(_part, []).append((_text, _meaning))

# What looks like a JWT is one.
_JWT = re.compile(r"eyJ[\w-]{5,}(?:\.[\w-]*){1,2}")
# Beyond this a browser would round.
_MOST_EXACT = 2**53


def meaning_of(event: Event) -> tuple[Flow, Outcome]:
    """The event's flow, and how the message stands after it."""
    for text, meaning in _BY_PART.get(event.part, ()):
        if event.text.startswith(text):
            return meaning
    return _FLOWS_OF_PARTS.get(event.part, "other"), "lost" if event.level == "error" else "none"


class Masks:
    """Hides secrets, and whatever looks like a token, in any text. Nothing should hold them; this makes sure."""

    def __init__(self, secrets: Iterable[str]) -> None:
        # A short secret, as some have while they try things out, would turn up inside of ordinary words.
        self._secrets = [secret for secret in secrets if len(secret) >= 8]

    def hide(self, value: Any) -> Any:
        """The value as a browser may have it."""
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, (int, float)):
            return value if abs(value) <= _MOST_EXACT else str(value)
        text = str(value)
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, "(secret)")
        return _JWT.sub("(token)", text) if "eyJ" in text else text


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events an operator wants to see. Empty for all."""

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

    def wants(self, event: Event, masks: Masks) -> bool:
        """Is this event one of them?"""
        if self.level != "info" and LEVELS.index(event.level) < LEVELS.index(self.level):
            return False
        if self.exact or self.customer:
            customer = event.fields.get("customer")
            if not isinstance(customer, str):
                return False
            customer = masks.hide(customer)
            if self.exact and customer != self.customer:
                return False
            if not self.exact and self.customer.casefold() not in customer.casefold():
                return False
        if self.flow or self.outcome:
            flow, outcome = meaning_of(event)
            return self.flow in ("", flow) and self.outcome in ("", outcome)
        return True


def shown(number: int, event: Event, masks: Masks) -> dict[str, Any]:
    """An event as the console's page gets it: `customer`, `message` and `type` by name, all else in `fields`."""
    flow, outcome = meaning_of(event)
    fields = {name: masks.hide(value) for name, value in event.fields.items()}
    return {
        "n": number,
        "at": round(event.at * 1000, 1),
        "level": event.level,
        "part": event.part,
        "text": masks.hide(event.text),
        "flow": flow,
        "outcome": outcome,
        "customer": fields.pop("customer", None),
        "message": fields.pop("message", None),
        "type": fields.pop("type", None),
        "fields": fields,
    }


def latest(
    first: int, events: Sequence[Event], wanted: Filter, masks: Masks, most: int
) -> tuple[list[dict[str, Any]], bool]:
    """The latest events that are wanted, oldest first, and whether those are all there are.

    :param first: the number of the first of `events`.
    """
    found = _found(first, events, wanted, masks)
    newest = [shown(number, event, masks) for number, event in _take(most, found)]
    return newest[::-1], next(found, None) is None


def _found(first: int, events: Sequence[Event], wanted: Filter, masks: Masks) -> Iterator[tuple[int, Event]]:
    """Newest first."""
    for index in range(len(events) - 1, -1, -1):
        if wanted.wants(events[index], masks):
            yield first + index, events[index]


def _take(most: int, found: Iterator[tuple[int, Event]]) -> Iterator[tuple[int, Event]]:
    for _, item in zip(range(most), found, strict=False):
        yield item
