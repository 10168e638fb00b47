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

from lchook.core.delivery import (
    Ask,
    Delivery,
    Effect,
    FetchState,
    Left,
    Message,
    Release,
    Removal,
    Remove,
    Retry,
    StandsBy,
    TakenBack,
)
from lchook.core.inflight import InFlight
from lchook.core.receivers import Receivers
from lchook.core.session_calls import Asked, SessionCalls

FETCH_LIMIT = 100
# Connections with messages in flight that are asked whether they are alive, when the customer comes on another.
MAX_ASKED = 8


@dataclass(slots=True, eq=False)
class Session:
    """One customer, on one instance."""

    customer_id: str
    receivers: Receivers = field(default_factory=Receivers)
    inflight: InFlight = field(init=False)
    calls: SessionCalls = field(init=False)
    # The connection that lost the customer to one of another instance that only resumed. If it is alive, it has them again.
    _robbed: str | None = None

    def __post_init__(self) -> None:
        self.inflight = InFlight(self.customer_id)
        self.calls = SessionCalls(self.receivers, self.inflight)

    @property
    def connection(self) -> str | None:
        """Where the customer is reached."""
        return self.receivers.current

    @property
    def is_idle(self) -> bool:
        """Is nothing known of the customer that is not in the store?"""
        is_away = not (self.receivers.current or self.receivers.resumed or self._robbed)
        return is_away and self.inflight.is_empty and not (self.calls.under_way or self.calls.release_wanted)

    # Connections

    def spoke(self, connection: str, now: float, *, is_older: bool = False, claim: bool = False) -> list[Effect]:
        """The customer speaks on this connection. The store hears of it with what they say; then `calls.heard`.

        :param is_older: it opened before the current one.
        :param claim: the store does not hear of it with what they say, as of a typing indicator.
        """
        self.calls.attached(now)
        self._robbed = None
        is_new = self.connection != connection
        self.receivers.speaks(connection, now, is_older=is_new and is_older)
        if not is_new:
            return []
        self.calls.moves(claim=claim)
        return self._ask_others()

    def resumed(self, connection: str, now: float, *, spoke_at: float | None = None, is_older: bool = False) -> list[Effect]:
        """A connection says at connect whose it is. It receives, unless the customer is on another one that is alive.

        :param spoke_at: when they spoke last over a connection of the same client before, if it says so.
        """
        current = self.receivers.current
        if not self.receivers.resumes(connection, spoke_at, is_older=is_older):
            return [StandsBy(connection), *([Ask(current)] if current is not None else [])]
        self.calls.attached(now if spoke_at is None else spoke_at)
        self._robbed = None
        self.calls.want_all()
        return [*self._ask_others(), *self.calls.next()]

    def alive(self, connection: str) -> list[Effect]:
        """A connection has answered an `Ask`."""
        self.receivers.is_alive(connection)
        if self._robbed != connection:
            return []
        self._robbed = None
        if not self.receivers.is_back(connection):
            return []
        self.calls.attachments += 1
        self.calls.want_all()
        return self.calls.next()

    def due(self) -> list[Effect]:
        """Another instance stored something for the customer, or has let go of them."""
        if self.receivers.falls_back():
            self.calls.claim_wanted = True
            self.calls.attachments += 1
        return self.deliver_pending()

    def deliver_pending(self) -> list[Effect]:
        """Messages may wait for the customer."""
        if self.connection is None:
            return []
        self.calls.fetch_wanted = True
        return self.calls.next()

    def detached(self, connection: str, *, was_dead: bool = False) -> list[Effect]:
        """A connection is closed.

        :param was_dead: it was dead for some time.
        """
        lost = self.inflight.take_back(connection)
        effects: list[Effect] = [TakenBack(lost)] if lost else []
        if self._robbed == connection:
            self._robbed = None
        was_current = self.connection == connection
        self.receivers.closed(connection, was_dead=was_dead)
        if self.connection is not None:
            if was_current:
                effects.append(Ask(self.connection))
            self.calls.fetch_wanted |= was_current or lost > 0
        elif was_current:
            effects.append(Left(connection, elsewhere=False))
            self.calls.release_wanted = True
        elif lost:
            # They are on another instance, which waits for these.
            effects += self._rest()
        return effects + self.calls.next()

    # Messages

    def stored(self, message: Message, before: int) -> list[Effect]:
        """A message was put into the mailbox.

        :param before: the number of the message before it, 0 if it is alone. It is sent without being fetched where all
            before it were sent. Where its own number is 0, the store leaves it to `fetched` to say what may be sent.
        """
        inflight, connection = self.inflight, self.connection
        if connection is None or (message.number and message.number <= inflight.cursor):
            return []
        if (
            message.number
            and before <= inflight.cursor
            and self.calls.may_skip_fetch
            and inflight.may_send(connection)
            and inflight.has_room(message)
        ):
            return [inflight.send(message, connection)]
        self.calls.fetch_wanted = True
        return self.calls.next()

    def acknowledged(self, delivery: Delivery, *, by_heartbeat: bool = False) -> list[Effect]:
        """The client has a message, and says so; or its connection has answered a ping that was sent after it.

        It counts, too, where its connection was given up already, and the message waits for the next one or is on its way.
        """
        self.inflight.acknowledged(delivery, by_heartbeat=by_heartbeat)
        return [Remove(), *self.calls.next()] if self.calls.fetch_wanted else [Remove()]

    # The store's answers

    def claimed(self) -> list[Effect]:
        """The store knows that the customer is here."""
        self.calls.under_way = None
        return self.calls.next()

    def claim_failed(self) -> list[Effect]:
        """It may not know."""
        self.calls.under_way = None
        self.calls.want_all()
        return [Retry()]

    def fetched(self, messages: Sequence[Message], state: FetchState, *, is_weak: bool = False) -> list[Effect]:
        """What may be sent. `held`: another instance still waits for acknowledgements. `elsewhere`: it has the customer.

        :param is_weak: it has them only because a connection resumed there.
        """
        asked, self.calls.asked, self.calls.under_way = self.calls.asked, None, None
        assert asked is not None  # noqa: S101  # for the type checker
        if state == "elsewhere":
            return self._elsewhere(asked, is_weak)
        if state == "held":
            self.calls.fetch_wanted = True
            return [*self._rest(), Retry()]
        effects: list[Effect] = []
        inflight, after = self.inflight, asked.after
        inflight.leased = inflight.leased or bool(messages)
        for message in messages:
            # Messages that were given up meanwhile come first.
            if self.connection != asked.connection or inflight.cursor != after:
                self.calls.fetch_wanted = True
                break
            if not inflight.is_known(message.number):
                if not inflight.has_room(message):
                    inflight.is_full = self.calls.fetch_wanted = True
                    break
                effects.append(inflight.send(message, asked.connection))
            inflight.cursor = after = message.number
        else:
            self.calls.fetch_wanted |= len(messages) >= FETCH_LIMIT
        return [*effects, *self._rest(), *self.calls.next()]

    def fetch_failed(self) -> list[Effect]:
        """The store did not answer. It may have leased messages all the same."""
        self.calls.asked = self.calls.under_way = None
        self.inflight.leased = True
        self.calls.want_all()
        return [Retry()]

    def removal(self) -> Removal | None:
        """What the store is to be told now, if anything. Answer: `removed` or `remove_failed`, with the same."""
        last = self.calls.under_way is None and self.inflight.is_lease_over
        if not last and not self.inflight.acked:
            return None
        if last:
            self.calls.under_way = "last removal"
        return Removal(self.customer_id, list(self.inflight.acked), last)

    def removed(self, removal: Removal) -> list[Effect]:
        """The store has removed the messages."""
        if self.calls.under_way == "fetch":
            # What was fetched before they were removed may still hold them. They are removed once more after that.
            return []
        self.inflight.acked.difference_update(removal.numbers)
        if not removal.last:
            # Whether it is the last may have changed meanwhile.
            return [Remove()] if not self.inflight.acked and self.inflight.is_lease_over else []
        self.calls.under_way = None
        # Where messages went out without being fetched, the store leases none.
        self.inflight.leased = bool(self.inflight.deliveries)
        return self.calls.next()

    def remove_failed(self, removal: Removal) -> list[Effect]:
        """The store may have removed the messages."""
        if removal.last:
            self.calls.under_way = None
        return [Retry()]

    def released(self, release: Release) -> list[Effect]:
        """The store knows that the customer is not here."""
        self.calls.under_way = None
        self.inflight.leased = self.inflight.leased and release.waiting
        if self.connection is not None:
            # They came back meanwhile: the store may have heard of both in the wrong order.
            self.calls.want_all()
        return [*self._rest(), *self.calls.next()]

    def release_failed(self, release: Release) -> list[Effect]:
        """It may not know."""
        self.calls.under_way = None
        self.calls.release_wanted = self.connection is None
        self.calls.want_all()
        return [Retry()]

    def retry(self) -> list[Effect]:
        """Some time has passed since a `Retry`, or the store was away: look at everything anew."""
        self.calls.fetch_wanted = self.connection is not None
        return [*self._rest(), *self.calls.next()]

    # Decisions

    def _rest(self) -> list[Effect]:
        """Is there something that the store is to be told, and may not have been?"""
        return [Remove()] if self.inflight.acked or self.inflight.is_lease_over else []

    def _elsewhere(self, asked: Asked, is_weak: bool) -> list[Effect]:
        if self.calls.attachments != asked.attachments:
            # They spoke here meanwhile, and the store will hear of it, or has.
            self.calls.fetch_wanted = True
            return self.calls.next()
        connection = self.connection
        if connection is None:
            return [*self._rest(), *self.calls.next()]
        doubtful = set(self.inflight.others(None))
        if is_weak and not self.receivers.is_stopgap:
            self._robbed = connection
            doubtful.add(connection)
        self.receivers.moved_elsewhere()
        return [Left(connection, elsewhere=True), *map(Ask, sorted(doubtful)), *self._rest(), *self.calls.next()]

    def _ask_others(self) -> list[Effect]:
        """Nothing more is sent before it is known what became of messages in flight on other connections."""
        return [Ask(connection) for connection in self.inflight.others(self.connection)[-MAX_ASKED:]]
