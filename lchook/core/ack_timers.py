"""Which messages in flight are overdue, and which connections may have proved by now that theirs arrived. Pure: no clock."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from lchook.core.delivery import Delivery


class AckTimers:
    """Messages in flight, in the order of the times at which they are looked at. Times are seconds of one clock."""

    def __init__(self, *, ack_timeout_seconds: float, heartbeat_seconds: float) -> None:
        """:param heartbeat_seconds: ping interval and ping timeout together: how long a dead connection may go unnoticed."""
        self._ack_timeout_seconds = ack_timeout_seconds
        self._heartbeat_seconds = heartbeat_seconds
        # Oldest first. What is given up with its connection stays until its time comes; then it is passed over.
        self._unacknowledged: OrderedDict[int, Delivery] = OrderedDict()
        self._unproven: OrderedDict[int, Delivery] = OrderedDict()

    def sent(self, delivery: Delivery) -> None:
        """A message was sent, at `delivery.sent_at`."""
        self._unacknowledged[id(delivery)] = delivery
        if delivery.number:
            self._unproven[id(delivery)] = delivery

    def acknowledged(self, delivery: Delivery) -> None:
        """The client has acknowledged it."""
        self._unacknowledged.pop(id(delivery), None)
        self._unproven.pop(id(delivery), None)

    def overdue(self, now: float) -> list[Delivery]:
        """Messages whose acknowledgement is overdue; each once."""
        before = now - self._ack_timeout_seconds
        return self._take(self._unacknowledged, lambda delivery: delivery.sent_at <= before)

    def to_be_proved(self, now: float) -> list[Delivery]:
        """Messages whose connection may have answered a later ping by now. Those not proved are to be put back."""
        before = now - self._heartbeat_seconds
        return self._take(self._unproven, lambda delivery: delivery.checked_at <= before)

    def put_back(self, delivery: Delivery, now: float) -> None:
        """The connection has not answered a later ping yet."""
        delivery.checked_at = now
        self._unproven[id(delivery)] = delivery

    def __len__(self) -> int:
        return len(self._unacknowledged) + len(self._unproven)

    def _take(self, waiting: OrderedDict[int, Delivery], is_due: Callable[[Delivery], bool]) -> list[Delivery]:
        due = []
        while waiting:
            key, delivery = next(iter(waiting.items()))
            if not is_due(delivery):
                break
            del waiting[key]
            due.append(delivery)
        return due
