"""Messages on their way to browsers: the sending, the acknowledgements, and what time says of those that are missing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from lchook.core import events
from lchook.core.ack_timers import AckTimers
from lchook.core.delivery import Delivery, Message
from lchook.locks import DecisionLock
from lchook.logs import Log

log = Log("lchook.flows.to_customer")


class Connections(Protocol):
    """What the flow needs of clients' connections."""

    def emit(self, connection: str, payload: str, acknowledged: Callable[..., None]) -> None:
        """Send a payload (JSON) as `serverMessage`; calls back when the client acknowledges it. Does not wait."""

    def send_event(self, connection: str, event: str, *args: Any) -> None:
        """Send an event that nobody acknowledges."""

    def answered_ping_age(self, connection: str) -> float | None:
        """How many seconds ago the latest ping was sent that the connection has answered; None where it is gone."""

    def is_older(self, connection: str, other: str) -> bool:
        """Has this one opened before that one?"""

    def ask(self, connection: str, answered: Callable[[], object]) -> None:
        """Ping it. Calls back when it answers; where it does not within seconds, it is closed."""


class DeliveryOwner(Protocol):
    """Who is told what became of a delivery."""

    def done(self, delivery: Delivery, *, by_heartbeat: bool = False) -> None:
        """A stored message is acknowledged, or its connection has answered a ping that was sent after it."""

    def is_in_flight(self, delivery: Delivery) -> bool:
        """Is nothing known of it yet?"""

    def disconnected(self, connection: str) -> None:
        """A connection is found closed."""


class Deliveries:
    """Sends messages and hears of their acknowledgements. Call from anywhere."""

    def __init__(
        self,
        connections: Connections,
        owner: DeliveryOwner,
        counts: Counter[str],
        *,
        ack_timeout_seconds: float,
        heartbeat_seconds: float,
        on_acknowledgement: Callable[[float], None],
        clock: Callable[[], float],
    ) -> None:
        self._connections = connections
        self._owner = owner
        self._counts = counts
        self._ack_timeout_seconds = ack_timeout_seconds
        self._on_acknowledgement = on_acknowledgement
        self._clock = clock
        self._lock = DecisionLock()
        self._timers = AckTimers(ack_timeout_seconds=ack_timeout_seconds, heartbeat_seconds=heartbeat_seconds)

    def __len__(self) -> int:
        """How many are looked after."""
        return len(self._timers)

    def send(self, delivery: Delivery, message: Message) -> None:
        payload = message.payload if message.payload is not None else json.loads(message.text)
        delivery.message_id = payload.get("message_id")
        delivery.sent_at = delivery.checked_at = self._clock()
        with self._lock:
            self._timers.sent(delivery)
        log.info(
            events.SENT_TO_CUSTOMER,
            customer=delivery.customer_id,
            message=delivery.message_id,
            type=payload.get("type"),
            socket=delivery.connection,
        )
        self._connections.emit(delivery.connection, message.text, lambda *_: self._acknowledged(delivery))
        # A ping that is sent from now on comes after it.
        delivery.sent_at = self._clock()

    def tick(self) -> None:
        """Tell of overdue acknowledgements, and look whether answered pings prove that messages have arrived."""
        now = self._clock()
        with self._lock:
            overdue, to_be_proved = self._timers.overdue(now), self._timers.to_be_proved(now)
        for delivery in overdue:
            delivery.overdue = True
            self._counts["acknowledgement_timeout"] += 1
            log.error(
                events.NOT_ACKNOWLEDGED,
                seconds=self._ack_timeout_seconds,
                customer=delivery.customer_id,
                message=delivery.message_id,
                socket=delivery.connection,
            )
        for delivery in to_be_proved:
            if self._owner.is_in_flight(delivery):
                self._prove(delivery, now)

    def _acknowledged(self, delivery: Delivery) -> None:
        with self._lock:
            self._timers.acknowledged(delivery)
        self._on_acknowledgement(self._clock() - delivery.sent_at)
        log.info(
            events.ACKNOWLEDGED_LATE if delivery.overdue else events.ACKNOWLEDGED,
            customer=delivery.customer_id,
            message=delivery.message_id,
            socket=delivery.connection,
        )
        if delivery.number:
            self._owner.done(delivery)

    def _prove(self, delivery: Delivery, now: float) -> None:
        """Has the connection answered a ping that was sent after the message? Then the message has arrived."""
        age = self._connections.answered_ping_age(delivery.connection)
        if age is None:
            self._owner.disconnected(delivery.connection)
        elif age < now - delivery.sent_at:
            self._counts["delivered_by_heartbeat"] += 1
            self._owner.done(delivery, by_heartbeat=True)
        else:
            # The latest answer is to a ping from before: the connection may have died since.
            with self._lock:
                self._timers.put_back(delivery, now)
