"""The flow to customers: a webhook's message is kept in the customer's mailbox until their browser has it.

What is to be done is decided by `core/session.py`, one for each customer who is here. This performs it: calls to the store,
sends, questions to connections. The effects of one customer are performed one after the other, by whoever brought the
input, and none of them under the lock. Knows nothing of HTTP, and of Socket.IO only its port, `Connections`.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Protocol

from lchook.core import events
from lchook.core.ack_timers import AckTimers
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
from lchook.core.session import FETCH_LIMIT, Session
from lchook.logs import Log
from lchook.store import Store, StoreError

log = Log(__name__)

# Worth nothing later: sent if the customer is there, and not stored.
_TRANSIENT = frozenset({"typing_indicator", "wait_time"})
_EXPIRE_EVERY_SECONDS = 30.0
_MAX_TICK_SECONDS = 1.0
# What a client says is that much older when LCH hears it, at most; and it counts from when the client said it.
_ON_THE_WAY_SECONDS = 1.0

Step = Callable[[Session], list[Effect]]


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
        soon: Callable[[Callable[[], None]], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """:param heartbeat_seconds: ping interval and ping timeout together: how long a dead connection may go unnoticed.
        :param on_acknowledgement: told the seconds that an acknowledgement took.
        :param soon: does something in a task of its own when what has come in by now is handled, so that the store is told
            of several acknowledgements at once. If not given, it is told of each by itself.
        """
        self._store = store
        self._connections = connections
        self._ack_timeout_seconds = ack_timeout_seconds
        self._on_acknowledgement = on_acknowledgement
        self._soon = soon or (lambda task: task())
        self._clock = clock
        # Held while a session decides, and never while anything is performed.
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}
        # Effects that are still to be performed, for customers with whom somebody is at it.
        self._performing: dict[str, deque[Effect]] = {}
        self._customers_of: dict[str, set[str]] = {}
        self._timers = AckTimers(ack_timeout_seconds=ack_timeout_seconds, heartbeat_seconds=heartbeat_seconds)
        # Customers of whom the store is to be told what is done; and those to look at again.
        self._to_remove: dict[str, None] = {}
        self._retries: set[str] = set()
        self._next_expiry = 0.0
        # What happened, for those who run it.
        self.counts: Counter[str] = Counter()

    # Connections

    def spoke(self, customer_id: str, connection: str, *, claim: bool = False) -> None:
        """The customer speaks on this connection: they are reached on it from now on. `deliver_pending` sends what waits.

        :param claim: the store does not hear of it with what they say, as of a typing indicator.
        """
        now = self._clock()

        def step(session: Session) -> list[Effect]:
            return session.spoke(connection, now, is_older=self._is_older(session, connection), claim=claim)

        self._attach(customer_id, connection, step)

    def resume(self, customer_id: str, connection: str, *, spoke_seconds_ago: float | None = None) -> None:
        """A connection says at connect whose it is. It receives, unless the customer is on another one that is alive.

        :param spoke_seconds_ago: when its client spoke last, over a connection before this one; None where it does not say.
        """
        now = self._clock()
        spoke_at = None if spoke_seconds_ago is None else now - max(0.0, spoke_seconds_ago - _ON_THE_WAY_SECONDS)

        def step(session: Session) -> list[Effect]:
            return session.resumed(connection, now, spoke_at=spoke_at, is_older=self._is_older(session, connection))

        self._attach(customer_id, connection, step)

    def deliver_pending(self, customer_id: str) -> None:
        """Send what waits for the customer, if they are here."""
        self._input(customer_id, Session.deliver_pending)

    def due(self, customer_id: str) -> None:
        """Another instance has stored something for the customer, or has let go of them."""
        self._input(customer_id, Session.due)

    def disconnected(self, connection: str, *, was_dead: bool = False) -> None:
        """A connection is closed: what was not acknowledged on it goes to the customer's next one.

        :param was_dead: it was dead for some time.
        """
        with self._lock:
            customers = self._customers_of.pop(connection, ())
        for customer_id in customers:
            self._input(customer_id, lambda session: session.detached(connection, was_dead=was_dead))

    def reconnected(self) -> None:
        """The store was away: look anew for every customer who is here."""
        self._retries.update(list(self._sessions))

    # Messages

    def deliver(self, message: MessageToCustomer, *, fingerprint: str | None) -> bool:
        """Store a message for its customer and send it if they are here. Returns when it is stored; False for a repeat.

        :param fingerprint: what is equal for repeats of the same webhook, if repeats can be recognised.
        :raises StoreError: where it could not be stored.
        """
        customer_id = message.customer_id
        if message.type in _TRANSIENT:
            self._deliver_transient(message)
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
            if kept.here:
                log.info(events.WAITS_FOR_CUSTOMER, customer=customer_id, message=name)
            else:
                log.info(events.WAITS_ELSEWHERE, customer=customer_id, message=name)
            return True
        stored = Message(kept.number, text, message.payload)
        self._input(customer_id, lambda session: session.stored(stored, kept.before))
        return True

    def send_transient(self, customer_id: str, payload: dict[str, Any]) -> bool:
        """Send a payload that is not stored, if the customer is here; tells whether they are."""
        session = self._sessions.get(customer_id)
        connection = session.connection if session is not None else None
        if connection is None:
            return False
        text = json.dumps(payload, separators=(",", ":"))
        self._send(Delivery(customer_id, 0, connection), Message(0, text, payload))
        return True

    def send_status(self, customer_id: str, payload: dict[str, Any]) -> bool:
        """Send a `messageStatus`, if the customer is here; tells whether they are. Nobody acknowledges it."""
        session = self._sessions.get(customer_id)
        connection = session.connection if session is not None else None
        if connection is None:
            return False
        self._connections.send_event(connection, "messageStatus", payload)
        return True

    def clear(self, customer_id: str, *, seconds_ago: float = 0.0) -> None:
        """The customer ended the session so long ago: what waited for them then is worth nothing any more."""
        try:
            count = self._store.clear(customer_id, seconds_ago=seconds_ago)
        except StoreError as error:
            log.error(events.CLEAR_FAILED, customer=customer_id, reason=error)
            return
        if count:
            self.counts["dropped_session_ended"] += count
            log.info(events.SESSION_ENDED, customer=customer_id, messages=count)

    # What is here

    def customers(self) -> int:
        """How many customers are here, or were until acknowledgements still come."""
        return len(self._sessions)

    def unacknowledged(self) -> int:
        """How many messages are in flight, or acknowledged without the store knowing."""
        return sum(len(session.deliveries) + len(session.acked) for session in list(self._sessions.values()))

    def whereabouts(self, customer_id: str) -> tuple[bool, int]:
        """Is the customer here, and how many messages are in flight to them?"""
        session = self._sessions.get(customer_id)
        return (False, 0) if session is None else (session.connection is not None, len(session.deliveries))

    # Time

    def tick(self) -> None:
        """Look after what time brings: overdue acknowledgements, answered pings, second tries, expiry."""
        now = self._clock()
        with self._lock:
            overdue, to_be_proved = self._timers.overdue(now), self._timers.to_be_proved(now)
        for delivery in overdue:
            self._overdue(delivery)
        for delivery in to_be_proved:
            self._prove(delivery, now)
        for _ in range(len(self._retries)):
            self._input(self._retries.pop(), Session.retry)
            if self._clock() - now > _MAX_TICK_SECONDS:
                # The store stalls, and would do so for each of them.
                break
        if now >= self._next_expiry:
            self._next_expiry = now + _EXPIRE_EVERY_SECONDS
            self._expire()

    def _overdue(self, delivery: Delivery) -> None:
        delivery.overdue = True
        self.counts["acknowledgement_timeout"] += 1
        log.error(
            events.NOT_ACKNOWLEDGED,
            seconds=self._ack_timeout_seconds,
            customer=delivery.customer_id,
            message=delivery.message_id,
            socket=delivery.connection,
        )

    def _prove(self, delivery: Delivery, now: float) -> None:
        """Has the connection answered a ping that was sent after the message? Then the message has arrived."""
        session = self._sessions.get(delivery.customer_id)
        if session is None or session.deliveries.get(delivery.number) is not delivery:
            return
        age = self._connections.answered_ping_age(delivery.connection)
        if age is None:
            self.disconnected(delivery.connection)
        elif age < now - delivery.sent_at:
            self.counts["delivered_by_heartbeat"] += 1
            self._done(delivery, by_heartbeat=True)
        else:
            # The latest answer is to a ping from before: the connection may have died since.
            with self._lock:
                self._timers.put_back(delivery, now)

    def _expire(self) -> None:
        try:
            expired = self._store.expire()
        except StoreError as error:
            log.error(events.EXPIRE_FAILED, reason=error)
            return
        if expired:
            self.counts["dropped_expired"] += expired
            log.warning(events.MESSAGES_EXPIRED, messages=expired)

    # Inputs and effects

    def _attach(self, customer_id: str, connection: str, step: Step) -> None:
        with self._lock:
            self._customers_of.setdefault(connection, set()).add(customer_id)
        self._input(customer_id, step, create=True)
        if self._connections.answered_ping_age(connection) is None:
            # It closed meanwhile, and under threads `disconnected` may have come first.
            self.disconnected(connection)

    def _is_older(self, session: Session, connection: str) -> bool:
        current = session.connection
        return current is not None and current != connection and self._connections.is_older(connection, current)

    def _input(self, customer_id: str, step: Step, *, create: bool = False) -> None:
        """Let the customer's session decide, and perform what it says, unless somebody is at it."""
        with self._lock:
            session = self._sessions.get(customer_id)
            if session is None:
                if not create:
                    return
                session = self._sessions[customer_id] = Session(customer_id)
            effects = step(session)
            performing = self._performing.get(customer_id)
            if performing is not None:
                performing.extend(effects)
                return
            if not effects:
                self._forget_if_idle(session)
                return
            performing = self._performing[customer_id] = deque(effects)
        while True:
            with self._lock:
                if not performing:
                    del self._performing[customer_id]
                    self._forget_if_idle(session)
                    return
                effect = performing.popleft()
            try:
                answer = self._perform(session, effect)
            except Exception:
                log.exception(events.SENDING_FAILED, customer=customer_id)
                self._retries.add(customer_id)
                continue
            if answer is not None:
                with self._lock:
                    performing.extend(answer(session))

    def _forget_if_idle(self, session: Session) -> None:
        if session.is_idle and self._sessions.get(session.customer_id) is session:
            del self._sessions[session.customer_id]

    def _perform(self, session: Session, effect: Effect) -> Step | None:
        """Do it. Returns what the session is to be told of it."""
        customer_id = session.customer_id
        match effect:
            case Send(delivery, message):
                self._send(delivery, message)
            case Remove():
                self._remove_soon(customer_id)
            case Fetch(after):
                return self._fetch(customer_id, after)
            case Claim():
                return self._claim(customer_id, effect)
            case Release():
                return self._release(customer_id, effect)
            case Retry():
                self._retries.add(customer_id)
            case Ask(connection):
                self._connections.ask(
                    connection, lambda: self._input(customer_id, lambda session: session.alive(connection))
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

    def _send(self, delivery: Delivery, message: Message) -> None:
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
            self._done(delivery)

    def _done(self, delivery: Delivery, *, by_heartbeat: bool = False) -> None:
        self.counts["delivered"] += 1
        # A customer who was forgotten meanwhile is remembered until the store knows.
        self._input(
            delivery.customer_id, lambda session: session.acknowledged(delivery, by_heartbeat=by_heartbeat), create=True
        )

    def _deliver_transient(self, message: MessageToCustomer) -> None:
        if not self.send_transient(message.customer_id, message.payload):
            try:
                self._store.pass_on(message.customer_id, json.dumps(message.payload))
            except StoreError as error:
                log.warning(events.TRANSIENT_LOST, customer=message.customer_id, type=message.type, reason=error)

    # The store

    def _fetch(self, customer_id: str, after: int) -> Step:
        try:
            fetched = self._store.fetch(customer_id, after, FETCH_LIMIT)
        except StoreError as error:
            log.error(events.FETCH_FAILED, customer=customer_id, reason=error)
            return Session.fetch_failed
        messages = [Message(stored.number, stored.text) for stored in fetched.letters]
        return lambda session: session.fetched(messages, fetched.state, is_weak=fetched.weakly)

    def _claim(self, customer_id: str, claim: Claim) -> Step:
        seconds_ago = max(0.0, self._clock() - claim.attached_at)
        try:
            self._store.claim(customer_id, seconds_ago=seconds_ago, weakly=claim.is_weak)
        except StoreError as error:
            log.error(events.CLAIM_FAILED, customer=customer_id, reason=error)
            return Session.claim_failed
        return Session.claimed

    def _release(self, customer_id: str, release: Release) -> Step:
        try:
            self._store.leave(customer_id, waiting=release.waiting)
        except StoreError as error:
            log.error(events.RELEASE_FAILED, customer=customer_id, reason=error)
            return lambda session: session.release_failed(release)
        return lambda session: session.released(release)

    def _remove_soon(self, customer_id: str) -> None:
        with self._lock:
            is_first = not self._to_remove
            self._to_remove[customer_id] = None
        if is_first:
            self._soon(self._remove)

    def _remove(self) -> None:
        """Tell the store what is done, of all customers together."""
        with self._lock:
            customers, self._to_remove = list(self._to_remove), {}
            sessions = [self._sessions[customer_id] for customer_id in customers if customer_id in self._sessions]
            removals = [removal for session in sessions if (removal := session.removal()) is not None]
        if not removals:
            return
        try:
            self._store.remove(removals)
        except StoreError as error:
            log.error(events.REMOVE_FAILED, customers=len(removals), reason=error)
            for removal in removals:
                self._input(removal.customer_id, lambda session, removal=removal: session.remove_failed(removal))  # type: ignore[misc]
            return
        for removal in removals:
            self._input(removal.customer_id, lambda session, removal=removal: session.removed(removal))  # type: ignore[misc]
