"""Delivery to one customer: on which connection a message goes out, when it is done, and what the store is to be told.

A state machine without I/O, clock, threads or store. Every input returns the effects that are to be performed, in their
order; a call to the store is an effect, and its answer is another input, so that anything may happen in between. At most one
call that says who delivers (`Claim`, `Fetch`, `Release`, and the last `Remove`) is under way at a time: the store then
hears of them in their order.

A message goes to the customer's current connection, in the order of numbers, without waiting for the acknowledgement of the
one before. It is done when it is acknowledged, or its connection has answered a ping that was sent after it. Where the
connection closes first, the message goes to the next one. While messages are in flight on an older connection nothing goes
out on a newer one, unless the client was seen not to acknowledge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from lchook.core.delivery import (
    Ask,
    Claim,
    Delivery,
    Effect,
    Fetch,
    FetchState,
    Left,
    Message,
    Release,
    Removal,
    Remove,
    Retry,
    Send,
    StandsBy,
    TakenBack,
)
from lchook.core.receivers import Receivers

# Characters in flight to one customer. More wait in the store until some are acknowledged: memory is for everybody.
MAX_IN_FLIGHT_CHARACTERS = 4_000_000
FETCH_LIMIT = 100
# Connections with messages in flight that are asked whether they are alive, when the customer comes on another.
MAX_ASKED = 8

_REMOVE = Remove()
_RETRY = Retry()


class _Asked(NamedTuple):
    """How things stood when the store was asked for messages."""

    connection: str
    attachments: int
    after: int


@dataclass(slots=True, eq=False)
class Session:
    """One customer, on one instance."""

    customer_id: str
    receivers: Receivers = field(default_factory=Receivers)
    # How often the customer attached, and when last.
    attachments: int = 0
    attached_at: float = 0.0
    deliveries: dict[int, Delivery] = field(default_factory=dict)
    # Acknowledged; the store has not confirmed yet that it removed them.
    acked: set[int] = field(default_factory=set)
    # All messages up to this number were sent.
    cursor: int = 0
    never_acks: bool = False
    # The store believes that this instance waits for acknowledgements of the customer, or may believe it.
    leased: bool = False
    # The call to the store that is under way.
    _call: Literal["claim", "fetch", "release", "last removal"] | None = None
    _asked: _Asked | None = None
    _claim_wanted: bool = False
    _fetch_wanted: bool = False
    _release_wanted: bool = False
    # More is in flight than may be. The next acknowledgement makes room.
    _full: bool = False
    # The connection that lost the customer to one of another instance that only resumed. If it is alive, it has them again.
    _robbed: str | None = None

    @property
    def connection(self) -> str | None:
        """Where the customer is reached."""
        return self.receivers.current

    @property
    def is_idle(self) -> bool:
        """Is nothing known of the customer that is not in the store?"""
        receivers = self.receivers
        at_work = self._call or self._release_wanted or self._robbed
        return not (receivers.current or receivers.resumed or self.deliveries or self.acked or self.leased or at_work)

    # Connections

    def spoke(self, connection: str, now: float, *, is_older: bool = False, claim: bool = False) -> list[Effect]:
        """The customer speaks on this connection. The store hears of it with what they say; then `deliver_pending`.

        :param is_older: it opened before the current one.
        :param claim: the store does not hear of it with what they say, as of a typing indicator.
        """
        self.attachments += 1
        self.attached_at = now
        self._robbed = None
        self._claim_wanted = self._claim_wanted or (claim and self.connection != connection)
        if self.receivers.current == connection:
            self.receivers.speaks(connection, now, is_older=False)
            return []
        self.receivers.speaks(connection, now, is_older=is_older)
        return self._ask_others()

    def resumed(self, connection: str, now: float, *, spoke_at: float | None = None, is_older: bool = False) -> list[Effect]:
        """A connection says at connect whose it is. It receives, unless the customer is on another one that is alive.

        :param spoke_at: when they spoke last over a connection of the same client before, if it says so.
        """
        current = self.receivers.current
        if not self.receivers.resumes(connection, spoke_at, is_older=is_older):
            return [StandsBy(connection), *([Ask(current)] if current is not None else [])]
        self.attachments += 1
        self.attached_at = now if spoke_at is None else spoke_at
        self._robbed = None
        self._claim_wanted = self._fetch_wanted = True
        return [*self._ask_others(), *self._next()]

    def alive(self, connection: str) -> list[Effect]:
        """A connection has answered an `Ask`."""
        self.receivers.is_alive(connection)
        if self._robbed != connection:
            return []
        self._robbed = None
        if not self.receivers.is_back(connection):
            return []
        self.attachments += 1
        self._claim_wanted = self._fetch_wanted = True
        return self._next()

    def due(self) -> list[Effect]:
        """Another instance stored something for the customer, or has let go of them."""
        if self.receivers.falls_back():
            self._claim_wanted = True
            self.attachments += 1
        return self.deliver_pending()

    def deliver_pending(self) -> list[Effect]:
        """Messages may wait for the customer."""
        if self.connection is None:
            return []
        self._fetch_wanted = True
        return self._next()

    def detached(self, connection: str, *, was_dead: bool = False) -> list[Effect]:
        """A connection is closed.

        :param was_dead: it was dead for some time.
        """
        effects: list[Effect] = []
        lost = [number for number, delivery in self.deliveries.items() if delivery.connection == connection]
        if lost:
            for number in lost:
                del self.deliveries[number]
            self.cursor = min(self.cursor, min(lost) - 1)
            self._full = False
            effects.append(TakenBack(len(lost)))
        if self._robbed == connection:
            self._robbed = None
        was_current = self.connection == connection
        self.receivers.closed(connection, was_dead=was_dead)
        if self.connection is not None:
            if was_current:
                effects.append(Ask(self.connection))
            self._fetch_wanted = self._fetch_wanted or was_current or bool(lost)
        elif was_current:
            effects.append(Left(connection, elsewhere=False))
            self._release_wanted = True
        elif lost:
            # They are on another instance, which waits for these.
            effects += self._rest()
        return effects + self._next()

    # Messages

    def stored(self, message: Message, before: int) -> list[Effect]:
        """A message was put into the mailbox.

        :param before: the number of the message before it, 0 if it is alone. It is sent without being fetched where all
            before it were sent. Where its own number is 0, the store leaves it to `fetched` to say what may be sent.
        """
        if self.connection is None or (message.number and message.number <= self.cursor):
            return []
        size = len(message.text)
        if (
            message.number
            and before <= self.cursor
            and not (self._fetch_wanted or self._claim_wanted or self._call == "fetch" or self._call == "claim")
            and self._may_send()
            and self._has_room(size)
        ):
            return [self._send(message, size)]
        self._fetch_wanted = True
        return self._next()

    def acknowledged(self, delivery: Delivery, *, by_heartbeat: bool = False) -> list[Effect]:
        """The client has a message, and says so; or its connection has answered a ping that was sent after it.

        It counts, too, where its connection was given up already, and the message waits for the next one or is on its way.
        """
        self.never_acks = by_heartbeat
        self.deliveries.pop(delivery.number, None)
        self.acked.add(delivery.number)
        self._full = False
        return [_REMOVE, *self._next()] if self._fetch_wanted else [_REMOVE]

    # The store's answers

    def claimed(self) -> list[Effect]:
        """The store knows that the customer is here."""
        self._call = None
        return self._next()

    def claim_failed(self) -> list[Effect]:
        """It may not know."""
        self._call = None
        self._claim_wanted = self._fetch_wanted = True
        return [_RETRY]

    def fetched(self, messages: Sequence[Message], state: FetchState, *, is_weak: bool = False) -> list[Effect]:
        """What may be sent. `held`: another instance still waits for acknowledgements. `elsewhere`: it has the customer.

        :param is_weak: it has them only because a connection resumed there.
        """
        asked, self._asked, self._call = self._asked, None, None
        assert asked is not None  # noqa: S101  # for the type checker
        if state == "elsewhere":
            return self._elsewhere(asked, is_weak)
        if state == "held":
            self._fetch_wanted = True
            return [*self._rest(), _RETRY]
        effects: list[Effect] = []
        self.leased = self.leased or bool(messages)
        after = asked.after
        for message in messages:
            # Messages that were given up meanwhile come first.
            if self.connection != asked.connection or self.cursor != after:
                self._fetch_wanted = True
                break
            known = message.number in self.deliveries or message.number in self.acked
            if not known:
                size = len(message.text)
                if not self._has_room(size):
                    self._full = self._fetch_wanted = True
                    break
                effects.append(self._send(message, size))
            self.cursor = after = message.number
        else:
            self._fetch_wanted = self._fetch_wanted or len(messages) >= FETCH_LIMIT
        return [*effects, *self._rest(), *self._next()]

    def fetch_failed(self) -> list[Effect]:
        """The store did not answer. It may have leased messages all the same."""
        self._asked = self._call = None
        self.leased = True
        self._claim_wanted = self._fetch_wanted = self.connection is not None
        return [_RETRY]

    def removal(self) -> Removal | None:
        """What the store is to be told now, if anything. Answer: `removed` or `remove_failed`, with the same."""
        last = self._call is None and self._is_lease_over()
        if not last and not self.acked:
            return None
        if last:
            self._call = "last removal"
        return Removal(self.customer_id, list(self.acked), last)

    def removed(self, removal: Removal) -> list[Effect]:
        """The store has removed the messages."""
        if self._call == "fetch":
            # What was fetched before they were removed may still hold them. They are removed once more after that.
            return []
        self.acked.difference_update(removal.numbers)
        if not removal.last:
            # Whether it is the last may have changed meanwhile.
            return [_REMOVE] if not self.acked and self._is_lease_over() else []
        self._call = None
        # Where messages went out without being fetched, the store leases none.
        self.leased = bool(self.deliveries)
        return self._next()

    def remove_failed(self, removal: Removal) -> list[Effect]:
        """The store may have removed the messages."""
        if removal.last:
            self._call = None
        return [_RETRY]

    def released(self, release: Release) -> list[Effect]:
        """The store knows that the customer is not here."""
        self._call = None
        self.leased = self.leased and release.waiting
        if self.connection is not None:
            # They came back meanwhile: the store may have heard of both in the wrong order.
            self._claim_wanted = self._fetch_wanted = True
        return [*self._rest(), *self._next()]

    def release_failed(self, release: Release) -> list[Effect]:
        """It may not know."""
        self._call = None
        self._release_wanted = self.connection is None
        self._claim_wanted = self._fetch_wanted = self.connection is not None
        return [_RETRY]

    def retry(self) -> list[Effect]:
        """Some time has passed since a `Retry`, or the store was away: look at everything anew."""
        self._fetch_wanted = self.connection is not None
        return [*self._rest(), *self._next()]

    # Decisions

    def _rest(self) -> list[Effect]:
        """Is there something that the store is to be told, and may not have been?"""
        return [_REMOVE] if self.acked or (self.leased and not self.deliveries) else []

    def _next(self) -> list[Effect]:
        """The next call to the store, if none is under way."""
        if self._call is not None:
            return []
        if self.connection is None:
            self._claim_wanted = self._fetch_wanted = False
            if not self._release_wanted:
                return []
            self._call, self._release_wanted = "release", False
            # While the store has messages that are done, nobody else may send them.
            return [Release(waiting=bool(self.deliveries or self.acked))]
        self._release_wanted = False
        if self._claim_wanted:
            self._call, self._claim_wanted = "claim", False
            return [Claim(self.attached_at, self.receivers.is_weak)]
        if not self._fetch_wanted or self._full or not self._may_send():
            return []
        self._call, self._fetch_wanted = "fetch", False
        self._asked = _Asked(self.connection, self.attachments, self.cursor)
        return [Fetch(self.cursor)]

    def _elsewhere(self, asked: _Asked, is_weak: bool) -> list[Effect]:
        if self.attachments != asked.attachments:
            # They spoke here meanwhile, and the store will hear of it, or has.
            self._fetch_wanted = True
            return self._next()
        connection = self.connection
        if connection is None:
            return [*self._rest(), *self._next()]
        doubtful = {delivery.connection for delivery in self.deliveries.values()}
        if is_weak and not self.receivers.is_stopgap:
            self._robbed = connection
            doubtful.add(connection)
        self.receivers.moved_elsewhere()
        return [Left(connection, elsewhere=True), *map(Ask, sorted(doubtful)), *self._rest(), *self._next()]

    def _ask_others(self) -> list[Effect]:
        """Nothing more is sent before it is known what became of messages in flight on other connections."""
        others = {each.connection: None for each in self.deliveries.values() if each.connection != self.connection}
        return [Ask(connection) for connection in list(others)[-MAX_ASKED:]]

    def _send(self, message: Message, size: int) -> Send:
        assert self.connection is not None  # noqa: S101  # for the type checker
        delivery = Delivery(self.customer_id, message.number, self.connection, size)
        self.deliveries[message.number] = delivery
        self.cursor = message.number
        self.leased = True
        return Send(delivery, message)

    def _may_send(self) -> bool:
        """Is nothing in flight on an older connection? If that is dead, what is in flight there comes first."""
        if self.never_acks:
            return True
        connection = self.connection
        return all(delivery.connection == connection for delivery in self.deliveries.values())

    def _has_room(self, size: int) -> bool:
        in_flight = sum(delivery.size for delivery in self.deliveries.values())
        return not in_flight or in_flight + size <= MAX_IN_FLIGHT_CHARACTERS

    def _is_lease_over(self) -> bool:
        return self.leased and not self.deliveries
