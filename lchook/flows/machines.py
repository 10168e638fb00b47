"""State machines of customers who are here: each decides under the lock, and what it says is performed outside of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Generic, Protocol, TypeVar

from lchook.core.delivery import Removal
from lchook.locks import DecisionLock


class Machine(Protocol):
    """One customer's: a `Session`, or a `Feed`."""

    customer_id: str

    @property
    def is_idle(self) -> bool:
        """Is nothing known of the customer that is not in the store?"""

    def removal(self) -> Removal | None:
        """What the store is to be told now that the customer has. Answer: `removed` or `remove_failed`, with the same."""

    def removed(self, removal: Removal) -> list[Any]:
        """The store has removed the messages."""

    def remove_failed(self, removal: Removal) -> list[Any]:
        """The store may have removed them."""


M = TypeVar("M", bound=Machine)


class Machines(Generic[M]):
    """By customer. The effects of one customer are performed one after the other, by whoever brought the input."""

    def __init__(
        self,
        create: Callable[[str], M],
        perform: Callable[[M, Any], Callable[[M], list[Any]] | None],
        failed: Callable[[M, Any], Callable[[M], list[Any]] | None],
    ) -> None:
        """:param create: makes the one of a customer.
        :param perform: performs an effect; returns what the machine is to be told of it.
        :param failed: told of an exception while performing; likewise.
        """
        self._create = create
        self._perform = perform
        self._failed = failed
        # Held while a machine decides, and never while anything is performed.
        self._lock = DecisionLock()
        self._machines: dict[str, M] = {}
        # Effects that are still to be performed, for customers with whom somebody is at it.
        self._performing: dict[str, deque[Any]] = {}

    def __len__(self) -> int:
        return len(self._machines)

    def __contains__(self, customer_id: str) -> bool:
        return customer_id in self._machines

    def get(self, customer_id: str) -> M | None:
        return self._machines.get(customer_id)

    def all(self) -> list[M]:
        return list(self._machines.values())

    def removals(self, customers: Iterable[str]) -> list[Removal]:
        """What the store is to be told that these customers have."""
        with self._lock:
            machines = [self._machines[customer_id] for customer_id in customers if customer_id in self._machines]
            return [removal for machine in machines if (removal := machine.removal()) is not None]

    def input(self, customer_id: str, step: Callable[[M], list[Any]], *, create: bool = False) -> None:
        """Let the customer's machine decide, and perform what it says, unless somebody is at it."""
        with self._lock:
            machine = self._machines.get(customer_id)
            if machine is None:
                if not create:
                    return
                machine = self._machines[customer_id] = self._create(customer_id)
            effects = step(machine)
            performing = self._performing.get(customer_id)
            if performing is not None:
                performing.extend(effects)
                return
            if not effects:
                self._forget_if_idle(machine)
                return
            performing = self._performing[customer_id] = deque(effects)
        self._perform_all(machine, performing)

    def _perform_all(self, machine: M, performing: deque[Any]) -> None:
        while True:
            with self._lock:
                if not performing:
                    del self._performing[machine.customer_id]
                    self._forget_if_idle(machine)
                    return
                effect = performing.popleft()
            try:
                answer = self._perform(machine, effect)
            except Exception:
                answer = self._failed(machine, effect)
            if answer is not None:
                with self._lock:
                    performing.extend(answer(machine))

    def _forget_if_idle(self, machine: M) -> None:
        if machine.is_idle and self._machines.get(machine.customer_id) is machine:
            del self._machines[machine.customer_id]
