"""What is in flight to one customer, and what of it is acknowledged. Part of `session.py`; without I/O like it."""

from __future__ import annotations

from dataclasses import dataclass, field

from lchook.core.delivery import Delivery, Message, Send

# Characters in flight to one customer. More wait in the store until some are acknowledged: memory is for everybody.
MAX_IN_FLIGHT_CHARACTERS = 4_000_000


@dataclass(slots=True, eq=False)
class InFlight:
    """A customer's window: deliveries by number, what is acknowledged, and how far what was sent reaches."""

    customer_id: str
    deliveries: dict[int, Delivery] = field(default_factory=dict)
    # Acknowledged; the store has not confirmed yet that it removed them.
    acked: set[int] = field(default_factory=set)
    # All messages up to this number were sent.
    cursor: int = 0
    never_acks: bool = False
    # The store believes that this instance waits for acknowledgements of the customer, or may believe it.
    leased: bool = False
    # More is in flight than may be. The next acknowledgement makes room.
    is_full: bool = False

    @property
    def is_empty(self) -> bool:
        return not (self.deliveries or self.acked or self.leased)

    @property
    def is_lease_over(self) -> bool:
        return self.leased and not self.deliveries

    def is_known(self, number: int) -> bool:
        """Is the message in flight or acknowledged?"""
        return number in self.deliveries or number in self.acked

    def may_send(self, connection: str | None) -> bool:
        """Is nothing in flight on an older connection? If that is dead, what is in flight there comes first."""
        return self.never_acks or all(delivery.connection == connection for delivery in self.deliveries.values())

    def has_room(self, message: Message) -> bool:
        characters = sum(delivery.size for delivery in self.deliveries.values())
        return not characters or characters + len(message.text) <= MAX_IN_FLIGHT_CHARACTERS

    def others(self, connection: str | None) -> list[str]:
        """Connections but this one that have messages in flight, the oldest first."""
        return list(dict.fromkeys(each.connection for each in self.deliveries.values() if each.connection != connection))

    def send(self, message: Message, connection: str) -> Send:
        delivery = Delivery(self.customer_id, message.number, connection, len(message.text))
        self.deliveries[message.number] = delivery
        self.cursor = message.number
        self.leased = True
        return Send(delivery, message)

    def take_back(self, connection: str) -> int:
        """The connection is closed: what was in flight on it comes first again. Returns how many messages."""
        lost = [number for number, delivery in self.deliveries.items() if delivery.connection == connection]
        if lost:
            for number in lost:
                del self.deliveries[number]
            self.cursor = min(self.cursor, min(lost) - 1)
            self.is_full = False
        return len(lost)

    def acknowledged(self, delivery: Delivery, *, by_heartbeat: bool) -> None:
        self.never_acks = by_heartbeat
        self.deliveries.pop(delivery.number, None)
        self.acked.add(delivery.number)
        self.is_full = False
