"""What customers have is removed from the store: of all of them together, as acknowledgements come in at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic

from lchook.core import events
from lchook.flows.machines import M, Machines
from lchook.locks import DecisionLock
from lchook.logs import Log
from lchook.store import Store, StoreError

log = Log("lchook.flows.to_customer")


class Removals(Generic[M]):
    def __init__(self, machines: Machines[M], store: Store, soon: Callable[[Callable[[], None]], object]) -> None:
        """:param soon: does something in a task of its own when what has come in by now is handled."""
        self._machines = machines
        self._store = store
        self._soon = soon
        self._lock = DecisionLock()
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
        removals = self._machines.removals(customers)
        if not removals:
            return
        try:
            self._store.remove(removals)
        except StoreError as error:
            log.error(events.REMOVE_FAILED, customers=len(removals), reason=error)
            for removal in removals:
                self._machines.input(removal.customer_id, lambda each, removal=removal: each.remove_failed(removal))  # type: ignore[misc]
            return
        for removal in removals:
            self._machines.input(removal.customer_id, lambda each, removal=removal: each.removed(removal))  # type: ignore[misc]
