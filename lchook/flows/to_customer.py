"""The flow to customers: a webhook's message is kept in the customer's mailbox until their browser has it.

What is to be done is decided by `core/session.py`, one for each customer who is here. This performs it: calls to the store,
sends, questions to connections. Knows nothing of HTTP, and of Socket.IO only its port, `Connections`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from lchook.core import events
from lchook.core.canonical import compact_json
from lchook.core.delivery import (
    Ask,
    Claim,
    Delivery,
    Effect,
    Fetch,
    Left,
    Message,
    Release,
    Remove,
    Retry,
    Send,
    StandsBy,
    TakenBack,
)
from lchook.core.messages import MessageToCustomer
from lchook.core.session import Session
from lchook.flows.conversations import Conversations
from lchook.flows.deliveries import Connections, Deliveries
from lchook.flows.machines import Machines
from lchook.flows.mailbox_calls import MailboxCalls, Step
from lchook.flows.removals import Removals
from lchook.locks import DecisionLock
from lchook.logs import Log
from lchook.store import Store

log = Log(__name__)

# Worth nothing later: sent if the customer is there, and not stored.
_TRANSIENT = frozenset({"typing_indicator", "wait_time"})
_EXPIRE_EVERY_SECONDS = 30.0
_MAX_TICK_SECONDS = 1.0
# What a client says is that much older when LCH hears it, at most; and it counts from when the client said it.
_ON_THE_WAY_SECONDS = 1.0


class ToCustomer:
    """Stores and delivers messages to customers. Call from anywhere."""

    def __init__(
        self,
        store: Store,
        connections: Connections,
        *,
        ack_timeout_seconds: float,
        heartbeat_seconds: float,
        on_acknowledgement: Callable[[float], None] = lambda _: None,
        conversations: Conversations | None = None,
        soon: Callable[[Callable[[], None]], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """:param heartbeat_seconds: ping interval and ping timeout together: how long a dead connection may go unnoticed.
        :param on_acknowledgement: told the seconds that an acknowledgement took.
        :param soon: does something in a task of its own when what has come in by now is handled; if not given, at once.
        """
        self._store = store
        self._connections = connections
        self._conversations = conversations
        self._clock = clock
        self.counts: Counter[str] = Counter()
        self._calls = MailboxCalls(store, self.counts, clock)
        self._deliveries = Deliveries(
            connections,
            self,
            self.counts,
            ack_timeout_seconds=ack_timeout_seconds,
            heartbeat_seconds=heartbeat_seconds,
            on_acknowledgement=on_acknowledgement,
            clock=clock,
        )
        self._sessions = Machines(Session, self._perform, self._failed)
        self._removals = Removals(self._sessions, store, soon or (lambda task: task()))
        self._lock = DecisionLock()
        self._customers_of: dict[str, set[str]] = {}
        self._retries: set[str] = set()
        self._next_expiry = 0.0

    # Connections

    def spoke(self, customer_id: str, connection: str, *, claim: bool = False) -> None:
        """The customer speaks on this connection: they are reached on it from now on. `heard` sends what waits.

        :param claim: the store does not hear of it with what they say, as of a typing indicator.
        """

        def step(session: Session) -> list[Effect]:
            return session.spoke(connection, self._clock(), is_older=self._is_older(session, connection), claim=claim)

        if (session := self._sessions.get(customer_id)) is None or session.connection != connection:
            self._attach(customer_id, connection, step)
        else:
            # Where they spoke before, unless it is closed meanwhile.
            self._sessions.input(customer_id, lambda session: step(session) if session.connection == connection else [])

    def resume(self, customer_id: str, connection: str, *, spoke_seconds_ago: float | None = None) -> None:
        """A connection says at connect whose it is. It receives, unless the customer is on another one that is alive.

        :param spoke_seconds_ago: when its client spoke last, over a connection before this one; None where it does not say.
        """
        now = self._clock()
        spoke_at = None if spoke_seconds_ago is None else now - max(0.0, spoke_seconds_ago - _ON_THE_WAY_SECONDS)

        def step(session: Session) -> list[Effect]:
            return session.resumed(connection, now, spoke_at=spoke_at, is_older=self._is_older(session, connection))

        self._attach(customer_id, connection, step)

    def heard(self, customer_id: str) -> None:
        """The store has heard that the customer speaks: send what waits for them, if they came from elsewhere."""
        session, is_shared = self._sessions.get(customer_id), self._store.is_shared
        if session is not None and (is_shared or session.calls.waits_to_be_heard):
            self._sessions.input(customer_id, lambda session: session.calls.heard(may_have_been_elsewhere=is_shared))

    def deliver_pending(self, customer_id: str) -> None:
        """Send what waits for the customer, if they are here."""
        self._sessions.input(customer_id, Session.deliver_pending)

    def due(self, customer_id: str) -> None:
        """Another instance has stored something for the customer, or has let go of them."""
        self._sessions.input(customer_id, Session.due)

    def disconnected(self, connection: str, *, was_dead: bool = False) -> None:
        """A connection is closed: what was not acknowledged on it goes to the customer's next one.

        :param was_dead: it was dead for some time.
        """
        with self._lock:
            customers = self._customers_of.pop(connection, ())
        for customer_id in customers:
            self._sessions.input(customer_id, lambda session: session.detached(connection, was_dead=was_dead))

    def reconnected(self) -> None:
        """The store was away: look anew for every customer who is here."""
        self._retries.update(session.customer_id for session in self._sessions.all())

    # Messages

    def deliver(self, message: MessageToCustomer, *, fingerprint: str | None) -> bool:
        """Store a message for its customer and send it if they are here. Returns when it is stored; False for a repeat.

        :param fingerprint: what is equal for repeats of the same webhook, if repeats can be recognised.
        :raises StoreError: where it could not be stored.
        """
        customer_id = message.customer_id
        if message.type in _TRANSIENT:
            is_here = self.send_transient(customer_id, message.payload)
            if not is_here or self._conversations is not None:
                self._calls.pass_on(message, to_followers=is_here)
            return True
        name = message.payload.get("message_id")
        text = compact_json(message.payload)
        kept = self._store.put(customer_id, text, fingerprint)
        if not kept.kept:
            self.counts["repeated_webhook"] += 1
            log.info(events.WEBHOOK_REPEATED, customer=customer_id, message=name)
            if kept.here:
                # Where the store kept the first one and its answer was lost, nobody has sent it yet.
                self.deliver_pending(customer_id)
            return False
        if kept.dropped:
            self.counts["dropped_mailbox_full"] += kept.dropped
            log.warning(events.MAILBOX_FULL, customer=customer_id, messages=kept.dropped)
        session = self._sessions.get(customer_id)
        if session is None or (session.connection is None and not kept.here):
            if self._conversations is None or customer_id not in self._conversations:
                log.info(
                    events.WAITS_FOR_CUSTOMER if kept.here else events.WAITS_ELSEWHERE, customer=customer_id, message=name
                )
            return True
        stored = Message(kept.number, text, message.payload)
        self._sessions.input(customer_id, lambda session: session.stored(stored, kept.before))
        return True

    def send_transient(self, customer_id: str, payload: dict[str, Any]) -> bool:
        """Send a payload that is not stored, if the customer is here; tells whether they are, followers aside."""
        text = compact_json(payload)
        if self._conversations is not None:
            self._conversations.send_transient(customer_id, text)
        if (session := self._sessions.get(customer_id)) is None or (connection := session.connection) is None:
            return False
        self._deliveries.send(Delivery(customer_id, 0, connection), Message(0, text, payload))
        return True

    def send_status(self, customer_id: str, payload: dict[str, Any]) -> bool:
        """Send a `messageStatus`, if the customer is here; tells whether they are. Nobody acknowledges it."""
        if self._conversations is not None and payload["status"] == "delayed":
            self._conversations.send_status(customer_id, payload)
        if (session := self._sessions.get(customer_id)) is None or (connection := session.connection) is None:
            return False
        self._connections.send_event(connection, "messageStatus", payload)
        return True

    def clear(self, customer_id: str, *, seconds_ago: float = 0.0) -> None:
        """The customer ended the session so long ago: what waited for them then is worth nothing any more."""
        self._calls.clear(customer_id, seconds_ago=seconds_ago)

    # What is here

    def customers(self) -> int:
        """How many customers are here, or were until acknowledgements still come."""
        return len(self._sessions)

    def unacknowledged(self) -> int:
        """How many messages are in flight, or acknowledged without the store knowing."""
        return sum(len(session.inflight.deliveries) + len(session.inflight.acked) for session in self._sessions.all())

    def whereabouts(self, customer_id: str) -> tuple[bool, int]:
        """Is the customer here, and how many messages are in flight to them?"""
        session = self._sessions.get(customer_id)
        return (False, 0) if session is None else (session.connection is not None, len(session.inflight.deliveries))

    def done(self, delivery: Delivery, *, by_heartbeat: bool = False) -> None:
        """A stored message has arrived."""
        self.counts["delivered"] += 1
        # A customer who was forgotten meanwhile is remembered until the store knows.
        self._sessions.input(
            delivery.customer_id, lambda session: session.acknowledged(delivery, by_heartbeat=by_heartbeat), create=True
        )

    def is_in_flight(self, delivery: Delivery) -> bool:
        """Is nothing known of the delivery yet?"""
        session = self._sessions.get(delivery.customer_id)
        return session is not None and session.inflight.deliveries.get(delivery.number) is delivery

    def tick(self) -> None:
        """Look after what time brings: overdue acknowledgements, answered pings, second tries, expiry."""
        now = self._clock()
        self._deliveries.tick()
        for _ in range(len(self._retries)):
            self._sessions.input(self._retries.pop(), Session.retry)
            if self._clock() - now > _MAX_TICK_SECONDS:
                # The store stalls, and would do so for each of them.
                break
        if now >= self._next_expiry:
            self._next_expiry = now + _EXPIRE_EVERY_SECONDS
            self._calls.expire()

    # Inputs and effects

    def _attach(self, customer_id: str, connection: str, step: Step) -> None:
        with self._lock:
            self._customers_of.setdefault(connection, set()).add(customer_id)
        self._sessions.input(customer_id, step, create=True)
        if self._connections.answered_ping_age(connection) is None:
            # It closed meanwhile, and under threads `disconnected` may have come first.
            self.disconnected(connection)

    def _is_older(self, session: Session, connection: str) -> bool:
        current = session.connection
        return current is not None and current != connection and self._connections.is_older(connection, current)

    def _failed(self, session: Session, _: Effect) -> None:
        log.exception(events.SENDING_FAILED, customer=session.customer_id)
        self._retries.add(session.customer_id)

    def _perform(self, session: Session, effect: Effect) -> Step | None:
        """Do it. Returns what the session is to be told of it."""
        customer_id = session.customer_id
        match effect:
            case Send(delivery, message):
                self._deliveries.send(delivery, message)
            case Remove():
                self._removals.soon(customer_id)
            case Fetch():
                return self._calls.fetch(customer_id, effect)
            case Claim():
                return self._calls.claim(customer_id, effect)
            case Release():
                return self._calls.release(customer_id, effect)
            case Retry():
                self._retries.add(customer_id)
            case Ask(connection):
                self._connections.ask(
                    connection, lambda: self._sessions.input(customer_id, lambda session: session.alive(connection))
                )
            case StandsBy(connection):
                log.info(events.STANDS_BY, customer=customer_id, socket=connection)
            case TakenBack(messages):
                self.counts["unacknowledged_at_disconnect"] += messages
                log.info(events.WAITS_FOR_SOCKET, customer=customer_id, messages=messages)
            case Left(connection, elsewhere):
                log.info(
                    events.ON_ANOTHER_INSTANCE if elsewhere else events.DETACHED, customer=customer_id, socket=connection
                )
        return None
