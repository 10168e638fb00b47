"""A customer's messages under way in this process, and which of them is to be posted next.

The order is the store's line, which all instances share. A lane holds this instance's part of it, in the same order, and
besides messages that have no place in the line: repeats of what another instance has (they wait for its outcome and hold
nobody up), and arrivals that a failing store has not confirmed (they hold up those behind them).

Knows nothing of posting.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from lchook.core.messages import MessageToDms
from lchook.logs import Log
from lchook.store import Arrival, Store, StoreError

log = Log(__name__)

# How often a message that waits for other instances looks whether it is its turn, if nobody tells it.
_LOOK_SECONDS = 0.5

# Why a message waits no longer: it is to be posted; its outcome came from elsewhere; its instance died; the store failed for
# too long.
End = Literal["turn", "done", "lost", "gave up"]


@dataclass(slots=True, eq=False)
class Waiting:
    """A message that waits for its outcome, and everybody who wants to know it."""

    message: MessageToDms
    ticket: str
    key: str | None
    done: list[Any]
    # None: the store has not confirmed it yet.
    arrival: Arrival | None = None
    since: float = field(default_factory=time.monotonic)

    @property
    def is_in_line(self) -> bool:
        return self.arrival is not None and self.arrival.state == "first"


class Lane:
    """One customer's."""

    def __init__(self, store: Store, *, store_patience_seconds: float) -> None:
        """:param store_patience_seconds: for how long a message waits for a store that fails."""
        self._store = store
        self._store_patience_seconds = store_patience_seconds
        self._failing_since: float | None = None
        self.queue: list[Waiting] = []
        # Held while a message takes its place, so that places here and in the line are the same.
        self.lock = threading.Lock()
        # Set where it may be another message's turn.
        self.moved = threading.Event()
        # Who uses the lane; who made it forgets it after the last. And whether somebody empties it.
        self.users = 0
        self.running = False

    def enter(self, waiting: Waiting) -> None:
        """Ask the store, and take a place unless the outcome is known already. Call with the lock held."""
        if not self.queue or self.queue[-1].arrival is not None:
            # Where it fails, the message takes its place here, and will ask again; and so will those behind it, so that
            # they get their places in the line in this order.
            with contextlib.suppress(StoreError):
                waiting.arrival = self._store.arrive(waiting.message.customer_id, waiting.ticket, waiting.key)
        if waiting.arrival is None or waiting.arrival.state in ("first", "pending"):
            self.queue.append(waiting)
            self._settle(waiting)
            self.moved.set()

    def leave(self, waiting: Waiting) -> None:
        """The message has its outcome. Call with the lock held."""
        self.queue.remove(waiting)

    def next(self, is_stopping: Callable[[], bool]) -> tuple[Waiting, End]:
        """Wait until one of the messages waits no longer. Call in one task only, with a message in the lane."""
        while True:
            self.moved.clear()
            first_in_line: Waiting | None = None
            for waiting in list(self.queue):
                if waiting.is_in_line and first_in_line is not None:
                    # It is behind that one, here and in the line.
                    continue
                try:
                    end = self._look(waiting)
                    self._failing_since = None
                except StoreError as error:
                    if self._gives_up(waiting, error, is_stopping()):
                        return waiting, "gave up"
                    break
                if end is not None:
                    return waiting, end
                if waiting.is_in_line:
                    first_in_line = first_in_line or waiting
            self.moved.wait(_LOOK_SECONDS)

    def _look(self, waiting: Waiting) -> End | None:
        message, arrival = waiting.message, waiting.arrival
        if arrival is not None and arrival.state == "first":
            turn = arrival.turn or self._store.turn(message.customer_id, waiting.ticket, waiting.key)
            if turn is not None:
                return "turn" if turn else None
            # This instance was taken for dead, and another has the message.
        seconds_ago = time.monotonic() - waiting.since
        with self.lock:
            behind = self.queue[self.queue.index(waiting) + 1 :]
            before = next((other.ticket for other in behind if other.is_in_line), None)
            arrival = waiting.arrival = self._store.arrive(
                message.customer_id, waiting.ticket, waiting.key, seconds_ago=seconds_ago, before=before
            )
            self._settle(waiting)
            if waiting.is_in_line:
                # Maybe before the one that was the first: look again.
                self.moved.set()
        if arrival.state == "done" or arrival.state == "lost":
            return arrival.state
        return "turn" if arrival.turn else None

    def _settle(self, waiting: Waiting) -> None:
        """Give a message that has just got into the line the same place among those that wait here."""
        if waiting.arrival is None or waiting.arrival.state != "first":
            return
        at = self.queue.index(waiting)
        del self.queue[at]
        places = [place for place, other in enumerate(self.queue) if other.is_in_line]
        behind = [place for place in places if self.queue[place].ticket == waiting.arrival.before]
        self.queue.insert(behind[0] if behind else max([at, *(place + 1 for place in places)]), waiting)

    def _gives_up(self, waiting: Waiting, error: StoreError, stopping: bool) -> bool:
        names = {"customer": waiting.message.customer_id, "message": waiting.message.message_id}
        if self._failing_since is None:
            self._failing_since = time.monotonic()
            log.warning("a message waits for the store", **names, reason=error)
        failing_seconds = time.monotonic() - max(self._failing_since, waiting.since)
        if not stopping and failing_seconds < self._store_patience_seconds:
            return False
        log.error("not forwarded: storage failed", **names, reason=error)
        return True
