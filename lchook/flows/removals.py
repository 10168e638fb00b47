"""What customers have is removed from the store: of all of them together, as acknowledgements come in at once."""

from __future__ import annotations

import threading
from collections.abc import Callable

from lchook.flows.mailbox_calls import MailboxCalls
from lchook.flows.sessions import Sessions


class Removals:
    def __init__(self, sessions: Sessions, calls: MailboxCalls, soon: Callable[[Callable[[], None]], object]) -> None:
        """:param soon: does something in a task of its own when what has come in by now is handled."""
        self._sessions = sessions
        self._calls = calls
        self._soon = soon
        self._lock = threading.Lock()
        self._customers: dict[str, None] = {}

    def soon(self, customer_id: str) -> None:
        """The store is to be told of what the customer has."""
        with self._lock:
            is_first = not self._customers
            self._customers[customer_id] = None
        if is_first:
            self._soon(self._remove)

    def _remove(self) -> None:
        with self._lock:
            customers, self._customers = self._customers, {}
        removals = self._sessions.removals(customers)
        if not removals:
            return
        told = self._calls.remove(removals)
        for removal in removals:
            self._sessions.input(removal.customer_id, told(removal))
