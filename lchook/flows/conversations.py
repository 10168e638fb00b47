"""Conversations on their way to the connections that follow them, of the customers whose conversations are followed here.

What is to be done is decided by `core/feed.py`, one for each customer. This performs it: readings of the store's log, sends.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from lchook.core import events
from lchook.core.ack_timers import AckTimers
from lchook.core.conversation import Entry, entry_json, page_json, status_json
from lchook.core.feed import (
    MAX_FOLLOWERS,
    Effect,
    Feed,
    Read,
    RemoveQueued,
    RetryLater,
    SendEntry,
    SendPage,
    SendStatus,
    SentEntries,
    Unfollow,
)
from lchook.flows.machines import Machines
from lchook.flows.removals import Removals
from lchook.logs import Log
from lchook.store import FOLLOW_SECONDS, Store, StoreError

log = Log("lchook.flows.to_customer")

Step = Callable[[Feed], list[Effect]]

# A look without news, in case that news was lost; and the store forgets who follows after `FOLLOW_SECONDS`.
_LOOK_SECONDS = FOLLOW_SECONDS / 3
_MAX_TICK_SECONDS = 1.0
# What is counted; docs/operations.md says what each means.
EVENTS = ("opted_in", "pages", "entries", "acknowledged", "acknowledged_by_heartbeat", "read_failed")


class Connections(Protocol):
    """What the flow needs of clients' connections."""

    def emit(
        self, connection: str, payload: str, acknowledged: Callable[..., None], *, event: str = "serverMessage"
    ) -> None:
        """Send an event with a payload (JSON); calls back when the client acknowledges it. Does not wait."""

    def send_event(self, connection: str, event: str, *args: Any) -> None:
        """Send an event that nobody acknowledges."""

    def answered_ping_age(self, connection: str) -> float | None:
        """How many seconds ago the latest ping was sent that the connection has answered; None where it is gone."""


class Conversations:
    """Call from anywhere."""

    def __init__(
        self,
        store: Store,
        connections: Connections,
        *,
        ack_timeout_seconds: float,
        heartbeat_seconds: float,
        soon: Callable[[Callable[[], None]], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """:param heartbeat_seconds: ping interval and ping timeout together: how long a dead connection may go unnoticed.
        :param soon: does something in a task of its own. If not given, it is done at once.
        """
        self._store = store
        self._connections = connections
        self._ack_timeout_seconds = ack_timeout_seconds
        self._soon = soon or (lambda task: task())
        self._clock = clock
        self._feeds = Machines(Feed, self._perform, self._failed)
        self._removals = Removals(self._feeds, store, self._soon)
        self._lock = threading.Lock()
        self._customer_of: dict[str, str] = {}
        self._timers = AckTimers(ack_timeout_seconds=ack_timeout_seconds, heartbeat_seconds=heartbeat_seconds)
        # Customers to look at again.
        self._retries: set[str] = set()
        self._next_look = self._clock() + _LOOK_SECONDS
        # What happened, for those who run it.
        self.counts: Counter[str] = Counter(dict.fromkeys(EVENTS, 0))

    def __contains__(self, customer_id: str) -> bool:
        """Does somebody follow this customer's conversation here?"""
        return bool(self._connections_of(customer_id))

    def followers(self) -> int:
        """How many connections follow a conversation."""
        return len(self._customer_of)

    def join(self, customer_id: str, connection: str, after: int) -> bool:
        """A connection follows from now on, and has seen the conversation up to this number. False where too many do."""
        with self._lock:
            feed = self._feeds.get(customer_id)
            if feed is not None and len(feed.followers) >= MAX_FOLLOWERS:
                return False
            self._customer_of[connection] = customer_id
        self.counts["opted_in"] += 1
        log.info(events.CONVERSATION_FOLLOWED, customer=customer_id, socket=connection)
        self._feeds.input(customer_id, lambda feed: feed.join(connection, after), create=True)
        if self._connections.answered_ping_age(connection) is None:
            # It closed meanwhile, and under threads `leave` may have come first.
            self.leave(connection)
        return True

    def leave(self, connection: str) -> None:
        """A connection is closed. It may be none that follows."""
        with self._lock:
            customer_id = self._customer_of.pop(connection, None)
        if customer_id is not None:
            self._feeds.input(customer_id, lambda feed: feed.leave(connection))

    def news(self, customer_id: str) -> None:
        """The customer's conversation may have grown. Does not wait for the store."""
        if customer_id in self._feeds:
            self._soon(lambda: self._feeds.input(customer_id, Feed.news))

    def reconnected(self) -> None:
        """The store was away: look anew."""
        for customer_id in [feed.customer_id for feed in self._feeds.all()]:
            self.news(customer_id)

    def send_transient(self, customer_id: str, text: str) -> None:
        """Send a payload (JSON) that is not kept."""
        for connection in self._connections_of(customer_id):
            self._connections.emit(connection, text, lambda *_: None)

    def send_status(self, customer_id: str, payload: dict[str, Any]) -> None:
        """Send a `messageStatus` that is not in the log: a message is delayed."""
        for connection in self._connections_of(customer_id):
            self._connections.send_event(connection, "messageStatus", payload)

    def tick(self) -> None:
        """Look after what time brings: overdue acknowledgements, answered pings, second tries."""
        now = self._clock()
        with self._lock:
            overdue, to_be_proved = self._timers.overdue(now), self._timers.to_be_proved(now)
        for delivery in overdue:
            log.error(
                events.NOT_ACKNOWLEDGED,
                seconds=self._ack_timeout_seconds,
                customer=delivery.customer_id,
                socket=delivery.connection,
            )
        for delivery in to_be_proved:
            assert isinstance(delivery, SentEntries)  # noqa: S101  # for the type checker
            self._prove(delivery, now)
        for _ in range(len(self._retries)):
            self._feeds.input(self._retries.pop(), Feed.retry)
            if self._clock() - now > _MAX_TICK_SECONDS:
                # The store stalls, and would do so for each of them.
                break
        if now >= self._next_look:
            self._next_look = now + _LOOK_SECONDS
            self.reconnected()

    # Inputs and effects

    def _connections_of(self, customer_id: str) -> list[str]:
        """Who follows the customer's conversation."""
        feed = self._feeds.get(customer_id)
        return [] if feed is None else list(feed.followers)

    def _failed(self, feed: Feed, effect: Effect) -> Step | None:
        log.exception(events.SENDING_FAILED, customer=feed.customer_id)
        return Feed.read_failed if isinstance(effect, Read) else None

    def _perform(self, feed: Feed, effect: Effect) -> Step | None:
        """Do it. Returns what the feed is to be told of it."""
        match effect:
            case Read():
                return self._read(feed.customer_id, effect)
            case SendEntry(sent):
                [entry] = sent.entries
                self._sending(sent, entry)
                self._send(sent, "conversationMessage", entry_json(entry))
            case SendPage(sent, complete):
                self.counts["pages"] += 1
                self._send(sent, "conversation", page_json(sent.entries, complete=complete))
            case SendStatus(connection, entry):
                self._connections.send_event(connection, "messageStatus", json.loads(status_json(entry)))
            case RemoveQueued():
                self._removals.soon(feed.customer_id)
            case RetryLater():
                self._retries.add(feed.customer_id)
            case Unfollow():
                self._unfollow(feed.customer_id)
        return None

    def _sending(self, sent: SentEntries, entry: Entry) -> None:
        if entry.origin == "dms":
            payload = json.loads(entry.text)
            sent.message_id = payload.get("message_id")
            names = {"customer": sent.customer_id, "message": sent.message_id, "type": payload.get("type")}
            log.info(events.SENT_TO_CUSTOMER, **names, socket=sent.connection)

    def _send(self, sent: SentEntries, event: str, text: str) -> None:
        self.counts["entries"] += len(sent.entries)
        sent.sent_at = sent.checked_at = self._clock()
        with self._lock:
            self._timers.sent(sent)
        self._connections.emit(sent.connection, text, lambda *_: self._acknowledged(sent), event=event)
        # A ping that is sent from now on comes after it.
        sent.sent_at = self._clock()

    def _acknowledged(self, sent: SentEntries) -> None:
        with self._lock:
            self._timers.acknowledged(sent)
        self.counts["acknowledged"] += 1
        if sent.message_id is not None:
            names = {"customer": sent.customer_id, "message": sent.message_id, "socket": sent.connection}
            log.info(events.ACKNOWLEDGED_LATE if sent.overdue else events.ACKNOWLEDGED, **names)
        self._feeds.input(sent.customer_id, lambda feed: feed.acknowledged(sent), create=True)

    def _prove(self, sent: SentEntries, now: float) -> None:
        """Has the connection answered a ping that was sent after the entries? Then they have arrived."""
        feed = self._feeds.get(sent.customer_id)
        follower = feed.followers.get(sent.connection) if feed is not None else None
        if follower is None or sent.number not in follower.in_flight:
            return
        age = self._connections.answered_ping_age(sent.connection)
        if age is None:
            self.leave(sent.connection)
        elif age < now - sent.sent_at:
            self.counts["acknowledged_by_heartbeat"] += 1
            self._feeds.input(sent.customer_id, lambda feed: feed.acknowledged(sent), create=True)
        else:
            with self._lock:
                self._timers.put_back(sent, now)

    # The store

    def _read(self, customer_id: str, read: Read) -> Step:
        try:
            answer = self._store.read_conversation(customer_id, read.after, read.changed_after, joins=read.joins)
        except StoreError as error:
            self.counts["read_failed"] += 1
            log.error(events.CONVERSATION_NOT_READ, customer=customer_id, reason=error)
            return Feed.read_failed
        return lambda feed: feed.read(answer)

    def _unfollow(self, customer_id: str) -> None:
        # Where it fails it tells news in vain, for an hour.
        with contextlib.suppress(StoreError):
            self._store.unfollow(customer_id)
