"""The effects of a session that are calls to the store, and the store's answers. Decides nothing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable

from lchook.core import events
from lchook.core.delivery import Claim, Effect, Fetch, Message, Release
from lchook.core.messages import MessageToCustomer
from lchook.core.session import FETCH_LIMIT, Session
from lchook.logs import Log
from lchook.store import Store, StoreError

log = Log("lchook.flows.to_customer")


Step = Callable[[Session], list[Effect]]


class MailboxCalls:
    """Each method performs the effect of its name, and returns what the session is to be told of it."""

    def __init__(self, store: Store, counts: Counter[str], clock: Callable[[], float]) -> None:
        self._store = store
        self._counts = counts
        self._clock = clock

    def fetch(self, customer_id: str, effect: Fetch) -> Step:
        try:
            fetched = self._store.fetch(customer_id, effect.after, FETCH_LIMIT)
        except StoreError as error:
            log.error(events.FETCH_FAILED, customer=customer_id, reason=error)
            return Session.fetch_failed
        messages = [Message(stored.number, stored.text) for stored in fetched.messages]
        return lambda session: session.fetched(messages, fetched.state, is_weak=fetched.weakly)

    def claim(self, customer_id: str, effect: Claim) -> Step:
        seconds_ago = max(0.0, self._clock() - effect.attached_at)
        try:
            self._store.claim(customer_id, seconds_ago=seconds_ago, weakly=effect.is_weak)
        except StoreError as error:
            log.error(events.CLAIM_FAILED, customer=customer_id, reason=error)
            return Session.claim_failed
        return Session.claimed

    def release(self, customer_id: str, effect: Release) -> Step:
        try:
            self._store.release(customer_id, waiting=effect.waiting)
        except StoreError as error:
            log.error(events.RELEASE_FAILED, customer=customer_id, reason=error)
            return lambda session: session.release_failed(effect)
        return lambda session: session.released(effect)

    # Not of one session

    def clear(self, customer_id: str, *, seconds_ago: float) -> None:
        """Drop what waited for the customer so long ago."""
        try:
            count = self._store.clear(customer_id, seconds_ago=seconds_ago)
        except StoreError as error:
            log.error(events.CLEAR_FAILED, customer=customer_id, reason=error)
            return
        if count:
            self._counts["dropped_session_ended"] += count
            log.info(events.SESSION_ENDED, customer=customer_id, messages=count)

    def pass_on(self, message: MessageToCustomer, *, to_followers: bool) -> None:
        """Tell other instances a message that is not kept."""
        try:
            self._store.pass_on(message.customer_id, json.dumps(message.payload), to_followers=to_followers)
        except StoreError as error:
            log.warning(events.TRANSIENT_LOST, customer=message.customer_id, type=message.type, reason=error)

    def expire(self) -> None:
        """Drop what nobody has fetched in time."""
        try:
            expired = self._store.expire()
        except StoreError as error:
            log.error(events.EXPIRE_FAILED, reason=error)
            return
        if expired:
            self._counts["dropped_expired"] += expired
            log.warning(events.MESSAGES_EXPIRED, messages=expired)
