"""The flow to customers: a webhook's message goes to the customer's socket, which acknowledges it.

Knows nothing of HTTP, and of Socket.IO only a function that emits.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from lchook.customers import Customers
from lchook.messages import MessageToCustomer

log = logging.getLogger(__name__)

# Emits a payload to a socket as `serverMessage` and calls back when the client acknowledges it.
Emit = Callable[[str, dict[str, Any], Callable[..., None]], None]
StartTask = Callable[..., object]


class ToCustomer:
    """Delivers messages to customers, and knows on which socket each is."""

    def __init__(self, *, emit: Emit, start_task: StartTask, ack_timeout_seconds: float) -> None:
        self._customers = Customers()
        self._emit = emit
        self._start_task = start_task
        self._ack_timeout_seconds = ack_timeout_seconds
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        # Sent and not acknowledged, oldest first: number → (when it is overdue, what the log shall call it).
        self._unacknowledged: dict[int, tuple[float, str]] = {}
        self._watching = False

    def speaks_on(self, customer_id: str, sid: str) -> None:
        """The customer spoke on this socket: from now on they are reached there."""
        self._customers.speaks_on(customer_id, sid)

    def socket_gone(self, sid: str) -> None:
        """The socket is closed: nobody is reached on it any more."""
        for customer_id in self._customers.forget_socket(sid):
            log.info("customer %r: no longer on socket %s, which is closed", customer_id, sid)

    def deliver(self, message: MessageToCustomer) -> None:
        """Send a message to its customer, if they are there. Returns without waiting for the acknowledgement."""
        sid = self._customers.socket_of(message.customer_id)
        if sid is None:
            log.info("customer %r: %r has no socket to go to", message.customer_id, message.type)
            return
        number = next(self._numbers)
        name = f"customer {message.customer_id!r}: {message.type!r} on socket {sid}"
        with self._lock:
            self._unacknowledged[number] = (time.monotonic() + self._ack_timeout_seconds, name)
            watch, self._watching = not self._watching, True
        if watch:
            self._start_task(self._watch)
        self._emit(sid, message.payload, lambda *_: self._acknowledged(number))
        log.info("%s: sent", name)

    def _acknowledged(self, number: int) -> None:
        with self._lock:
            waited = self._unacknowledged.pop(number, None)
        if waited is not None:
            log.info("%s: acknowledged", waited[1])

    def _watch(self) -> None:
        """Log what is not acknowledged in time. Ends when nothing waits any more."""
        while True:
            with self._lock:
                if not self._unacknowledged:
                    self._watching = False
                    return
                number, (overdue_at, name) = next(iter(self._unacknowledged.items()))
                seconds_left = overdue_at - time.monotonic()
                if seconds_left <= 0:
                    del self._unacknowledged[number]
            if seconds_left <= 0:
                log.error("%s: not acknowledged within %g s", name, self._ack_timeout_seconds)
            else:
                time.sleep(seconds_left)
