"""Typing indicators on their way to DMS: tried once, briefly, and never before a message.

They have no place in a customer's queue, and none in the store. One waits while a message of its customer is under way;
where another message comes, or it has waited for seconds, it is worth nothing any more. Knows nothing of HTTP.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lchook.core.messages import MessageToDms
from lchook.locks import DecisionLock

TYPING = "typing_indicator"
# How long it is worth something while it waits: clients show an indicator for about as long.
_WAIT_SECONDS = 3.0

Done = Callable[[Any], bool]


@dataclass(slots=True, eq=False)
class _Typing:
    """One customer's: the newest that waits, who wants to know what becomes of it, and whether one is being posted."""

    message: MessageToDms | None = None
    done: list[Done] = field(default_factory=list)
    since: float = 0.0
    posting: bool = False


class TypingToDms:
    """Takes typing indicators and tells what became of them. Call from anywhere."""

    def __init__(
        self,
        post: Callable[[MessageToDms, list[Done]], None],
        drop: Callable[[MessageToDms, list[Done]], None],
        is_busy: Callable[[str], bool],
        start_task: Callable[..., object],
    ) -> None:
        """:param post: posts it now, and tells the outcome. :param drop: tells that it is not posted.
        :param is_busy: whether a message of this customer is under way or waits.
        """
        self._post = post
        self._drop = drop
        self._is_busy = is_busy
        self._start_task = start_task
        self._lock = DecisionLock()
        self._customers: dict[str, _Typing] = {}

    def submit(self, message: MessageToDms, done: Done) -> None:
        """Take one. An older one that waits is replaced by it, and has its outcome."""
        with self._lock:
            typing = self._customers.setdefault(message.customer_id, _Typing())
            if typing.message is None:
                typing.since = time.monotonic()
            typing.message = message
            typing.done.append(done)
        self.may_go(message.customer_id)

    def may_go(self, customer_id: str) -> None:
        """No message of the customer may be under way any more."""
        if customer_id not in self._customers:
            return
        with self._lock:
            typing = self._customers.get(customer_id)
            if typing is None or typing.posting or typing.message is None or self._is_busy(customer_id):
                return
            typing.posting = True
        self._start_task(self._run, customer_id, typing)

    def message_comes(self, customer_id: str) -> None:
        """What was being typed is here: an indicator that waits comes too late."""
        if customer_id in self._customers:
            self._give_up(customer_id)

    def tick(self) -> None:
        """Give up what has waited too long."""
        now = time.monotonic()
        for customer_id, typing in list(self._customers.items()):
            if typing.message is not None and not typing.posting and now - typing.since > _WAIT_SECONDS:
                self._give_up(customer_id)

    def under_way(self) -> int:
        """How many have no outcome yet."""
        return sum(typing.posting + (typing.message is not None) for typing in list(self._customers.values()))

    def _run(self, customer_id: str, typing: _Typing) -> None:
        while True:
            with self._lock:
                message, done = typing.message, typing.done
                if message is None or self._is_busy(customer_id):
                    typing.posting = False
                    if message is None:
                        del self._customers[customer_id]
                    return
                typing.message, typing.done = None, []
            self._post(message, done)

    def _give_up(self, customer_id: str) -> None:
        with self._lock:
            typing = self._customers.get(customer_id)
            if typing is None or typing.message is None:
                return
            message, done = typing.message, typing.done
            typing.message, typing.done = None, []
            if not typing.posting:
                del self._customers[customer_id]
        self._drop(message, done)
