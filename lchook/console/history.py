"""The latest log entries, kept small: for an operator who comes to see what has just happened.

Holds what `lchook.logs` hands it, without what would keep messages or whole call stacks in memory. No I/O.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

from lchook.logs import LogEntry

# Ids of customers have up to 256 characters, and are told apart by all of them.
MAX_CHARACTERS = 300


class History(deque[LogEntry]):
    """A bounded deque of entries that counts all it ever got. What may not be shown is redacted when it comes in."""

    def __init__(self, length: int) -> None:
        super().__init__(maxlen=length)
        self._lock = threading.Lock()
        self._count = 0

    def append(self, entry: LogEntry, /) -> None:
        """Keep an entry. Its fields become texts, numbers or None: an exception, say, would keep its frames alive."""
        at, level, part, event, text, fields = entry
        small = LogEntry(
            at,
            level,
            part,
            event,
            text,
            # Most are short texts already: this is on the way of every message.
            {
                name: value if value.__class__ is str and len(value) <= MAX_CHARACTERS else _small(value)
                for name, value in fields.items()
            },
        )
        with self._lock:
            self._count += 1
            super().append(small)

    def all(self) -> tuple[int, list[LogEntry]]:
        """The number of the first entry that is still here (they are numbered from 1), and all entries, oldest first."""
        with self._lock:
            return self._count - len(self) + 1, list(self)

    @property
    def latest(self) -> int:
        """The number of the latest entry; how many there were."""
        return self._count


def _small(value: Any) -> str | int | float | None:
    if value is None or isinstance(value, (int, float)):
        return value
    text = str(value)
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + "…"
