"""The flow to DMS: a customer's messages, one at a time and in the order in which they came in, until DMS has them.

Customers do not wait for each other. Knows nothing of sockets; HTTP is `dms.py`'s.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from lchook.dms import DmsClient, DmsError
from lchook.messages import MessageToDms

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a message. `dms_status` is DMS's last HTTP status, `error` says in words why it failed."""

    status: Literal["sent", "failed", "rejected"]
    message_id: str | int | float | None = None
    dms_status: int | None = None
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The acknowledgement as clients get it."""
        if self.status == "sent":
            return {"status": "sent", "message_id": self.message_id, "dms_status": self.dms_status}
        if self.status == "rejected":
            return {"status": "rejected", "error": self.error}
        return {
            "status": "failed",
            "message_id": self.message_id,
            "dms_status": self.dms_status,
            "error": self.error,
        }


Done = Callable[[Outcome], None]
StartTask = Callable[..., object]


class ToDms:
    """Takes messages and tells their outcome. A customer with messages under way has a queue, and a task that empties it."""

    def __init__(self, dms: DmsClient, *, start_task: StartTask, max_queue_length: int) -> None:
        """:param start_task: starts a function with its arguments in a greenlet or thread of its own."""
        self._dms = dms
        self._start_task = start_task
        self._max_queue_length = max_queue_length
        self._lock = threading.Lock()
        # By customer; the first of a queue is the one that is being posted. A queue that runs empty is dropped.
        self._queues: dict[str, deque[tuple[MessageToDms, Done]]] = {}

    def submit(self, message: MessageToDms, done: Done) -> None:
        """Take a message; returns at once. `done` is called once with the outcome, from anywhere."""
        with self._lock:
            queue = self._queues.get(message.customer_id)
            if queue is None:
                queue = self._queues[message.customer_id] = deque()
                first = True
            else:
                first = False
            full = len(queue) >= self._max_queue_length
            if not full:
                queue.append((message, done))
        if full:
            done(Outcome("rejected", error=f"more than {self._max_queue_length} messages are waiting; slow down"))
        elif first:
            self._start_task(self._empty, message.customer_id, queue)

    def _empty(self, customer_id: str, queue: deque[tuple[MessageToDms, Done]]) -> None:
        more = True
        while more:
            message, done = queue[0]
            outcome = self._post(message)
            with self._lock:
                queue.popleft()
                more = bool(queue)
                if not more:
                    del self._queues[customer_id]
            try:
                done(outcome)
            except Exception:
                log.exception("telling the outcome of a message failed")

    def _post(self, message: MessageToDms) -> Outcome:
        try:
            answer = self._dms.post(message.body)
        except DmsError as error:
            log.error("customer %r: message %r to DMS failed: %s", message.customer_id, message.message_id, error)
            return Outcome("failed", message.message_id, None, str(error))
        except Exception:
            # Nothing is known to come here. If something does, the queue goes on and the sender knows.
            log.exception("customer %r: message %r to DMS failed", message.customer_id, message.message_id)
            return Outcome("failed", message.message_id, None, "internal error; DMS may have the message")
        if answer.taken:
            log.info("customer %r: message %r to DMS: %d", message.customer_id, message.message_id, answer.status)
            return Outcome("sent", message.message_id, answer.status)
        log.error("customer %r: message %r to DMS: %d", message.customer_id, message.message_id, answer.status)
        return Outcome("failed", message.message_id, answer.status, f"DMS answered {answer.status}")
