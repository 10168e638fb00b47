"""The conversation of a customer as a list of entries: what both sides said, in one order. Shapes and wire forms; no I/O.

An entry's number grows within the customer's conversation; as text it is the cursor that clients see. Changes of an entry's
status are numbered in the same row of numbers, so that one can ask for what came after a number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

# Of all cursors equally many characters: compared as texts they are in the order of the conversation.
_CURSOR_DIGITS = 16
_CURSOR = re.compile(r"[0-9]{1,18}", re.ASCII)


@dataclass(slots=True, eq=False)
class Entry:
    """What one side said. `at` is ISO 8601, in UTC; `text` is the payload, JSON in ASCII.

    `outcome` (the customer's only): JSON with the `status` and what `messageStatus` says beside it; empty while there is
    none. `changed` is the number of the change that brought it. `queued` is the number that it has in the mailbox, 0 where
    it does not wait there.
    """

    number: int
    at: str
    origin: Literal["customer", "dms"]
    text: str
    outcome: str = ""
    changed: int = 0
    queued: int = 0


class Entries(NamedTuple):
    """What the store has of a conversation after a number: some entries, oldest first, and whether there are more.

    `changes`: older entries whose status has changed after another number. `latest`: no entry has a larger number by now.
    """

    entries: Sequence[Entry]
    changes: Sequence[Entry]
    more: bool
    latest: int


def cursor_of(number: int) -> str:
    """An entry's number as clients see it."""
    return f"{number:0{_CURSOR_DIGITS}d}"


def number_of(cursor: object) -> int | None:
    """The number that a client's cursor stands for; None where it is none."""
    return int(cursor) if isinstance(cursor, str) and _CURSOR.fullmatch(cursor) else None


def after_of(opt_in: object) -> int | None:
    """The number after which a client that opts in with this (`auth.conversation`) has not seen the conversation.

    0: it has seen nothing. None where it says something else than `{}` or `{"after": "<cursor>"}`.
    """
    if not isinstance(opt_in, dict):
        return None
    after = opt_in.get("after")
    return 0 if after is None else number_of(after)


def entry_json(entry: Entry) -> str:
    """The argument of `conversationMessage`, and an item of a `conversation`'s messages."""
    status = f',"status":{json.dumps(status_of(entry))}' if entry.origin == "customer" else ""
    return (
        f'{{"cursor":"{cursor_of(entry.number)}","at":"{entry.at}","from":"{entry.origin}","payload":{entry.text}{status}}}'
    )


def page_json(entries: Sequence[Entry], *, complete: bool) -> str:
    """The argument of `conversation`."""
    return f'{{"messages":[{",".join(map(entry_json, entries))}],"complete":{"true" if complete else "false"}}}'


def status_json(entry: Entry) -> str:
    """The argument of the `messageStatus` that tells of an entry's outcome."""
    return f'{{"cursor":"{cursor_of(entry.number)}",{entry.outcome[1:]}'


def status_of(entry: Entry) -> str:
    """How a customer's entry stands."""
    return str(json.loads(entry.outcome)["status"]) if entry.outcome else "pending"
