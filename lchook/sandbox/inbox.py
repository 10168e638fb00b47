"""What the sandbox DMS received, and waiting for it. No HTTP."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from requests.structures import CaseInsensitiveDict

Predicate = Callable[[dict[str, Any]], bool]


class NotReceivedError(AssertionError, TimeoutError):
    """What a test waited for did not come. The text says what did."""


@dataclass(slots=True)
class Received:
    """One post, whatever became of it."""

    # Epoch seconds: when it had been read, and when its answer began to go out (None as long as that is open).
    at: float
    method: str
    path: str
    headers: CaseInsensitiveDict[str]
    # Empty where the body is no JSON object.
    body: dict[str, Any]
    raw: bytes
    # None as long as there is no answer, and for ever where a fault took the place of one.
    status: int | None = None
    answered_at: float | None = None


class Inbox:
    """Posts in the order in which they came in. Safe to use from several threads."""

    def __init__(self, *, keep: int) -> None:
        """:param keep: how many are remembered; the oldest go first."""
        self._received: deque[Received] = deque(maxlen=keep)
        self._posts_count = 0
        self._accepted_count = 0
        self._changed = threading.Condition()

    def add(self, received: Received) -> None:
        with self._changed:
            self._received.append(received)
            self._posts_count += 1
            self._changed.notify_all()

    def answered(self, received: Received, status: int | None) -> None:
        """:param status: None where a fault takes the place of an answer."""
        with self._changed:
            received.answered_at = time.time()
            received.status = status
            self._accepted_count += status == 200
            self._changed.notify_all()

    def clear(self) -> None:
        with self._changed:
            self._received.clear()
            self._posts_count = self._accepted_count = 0

    @property
    def received(self) -> list[Received]:
        with self._changed:
            return list(self._received)

    @property
    def accepted(self) -> list[dict[str, Any]]:
        return [each.body for each in self.received if each.status == 200]

    def wait_for(self, wanted: int | Predicate, timeout_seconds: float) -> list[dict[str, Any]]:
        """See `SandboxDms.wait_for`."""
        if callable(wanted):
            self._wait(lambda: any(map(wanted, self.accepted)), "an accepted message that fits", timeout_seconds)
            return list(filter(wanted, self.accepted))
        self._wait(lambda: self._accepted_count >= wanted, f"{wanted} accepted", timeout_seconds)
        return self.accepted

    def wait_for_posts(self, count: int, timeout_seconds: float) -> list[Received]:
        """See `SandboxDms.wait_for_posts`."""
        self._wait(lambda: self._posts_count >= count, f"{count} posts", timeout_seconds)
        return self.received

    def _wait(self, is_there: Callable[[], bool], what: str, timeout_seconds: float) -> None:
        with self._changed:
            if self._changed.wait_for(is_there, timeout_seconds):
                return
            came = "".join(f"\n  {each.status}  {each.raw[:200]!r}" for each in list(self._received)[-10:])
            raise NotReceivedError(
                f"waited {timeout_seconds} s for {what}, but of {self._posts_count} posts {self._accepted_count} were"
                f" accepted.{' The last ones, status and body:' if came else ''}{came}"
            )
