"""The latest events, kept small: for an operator who comes to see what has just happened.

Holds what `lchook.logs` hands it, without what would keep messages or whole call stacks in memory. No I/O.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

from lchook.logs import Event

# Ids of customers have up to 256 characters, and are told apart by all of them.
MOST_CHARACTERS = 300


class History(deque[Event]):
    """A bounded deque of events that counts all it ever got. What may not be shown is masked when it comes in."""

    def __init__(self, length: int) -> None:
        super().__init__(maxlen=length)
        self._lock = threading.Lock()
        self._count = 0

    def append(self, event: Event, /) -> None:
        """Keep an event. Its fields become texts, numbers or None: an exception, say, would keep its frames alive."""
        at, level, part, text, fields = event
        small = Event(
            at,
            level,
            part,
            text,
            # Most are short texts already: this is on the way of every message.
            {
                name: value if value.__class__ is str and len(value) <= MOST_CHARACTERS else _small(value)
                for name, value in fields.items()
            },
        )
        with self._lock:
            self._count += 1
            super().append(small)

    def all(self) -> tuple[int, list[Event]]:
        """The number of the first event that is still here (they are numbered from 1), and all events, oldest first."""
        with self._lock:
            return self._count - len(self) + 1, list(self)

    @property
    def latest(self) -> int:
        """The number of the latest event; how many there were."""
        return self._count


def _small(value: Any) -> str | int | float | None:
    if value is None or isinstance(value, (int, float)):
        return value
    text = str(value)
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…"
