"""Which customer is on which socket. No I/O.

A customer is reached on the socket that sent their latest message, and on no other: clients in the field hold dozens of
sockets open at once. A socket may have spoken for several customers.
"""

from __future__ import annotations

import threading


class Customers:
    """The sockets of customers. All methods may be called from anywhere; each costs the same however many there are."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket_of: dict[str, str] = {}
        self._customers_on: dict[str, set[str]] = {}

    def speaks_on(self, customer_id: str, sid: str) -> None:
        """From now on the customer is reached on this socket."""
        with self._lock:
            before = self._socket_of.get(customer_id)
            if before == sid:
                return
            if before is not None:
                self._leave(customer_id, before)
            self._socket_of[customer_id] = sid
            self._customers_on.setdefault(sid, set()).add(customer_id)

    def socket_of(self, customer_id: str) -> str | None:
        """The socket to reach the customer on, if there is one."""
        return self._socket_of.get(customer_id)

    def forget_socket(self, sid: str) -> frozenset[str]:
        """The socket is gone; returns the customers who were to be reached on it."""
        with self._lock:
            customers = self._customers_on.pop(sid, set())
            for customer_id in customers:
                del self._socket_of[customer_id]
        return frozenset(customers)

    def __len__(self) -> int:
        return len(self._socket_of)

    def _leave(self, customer_id: str, sid: str) -> None:
        customers = self._customers_on[sid]
        customers.discard(customer_id)
        if not customers:
            del self._customers_on[sid]
