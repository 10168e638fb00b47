"""Conversations in Redis: what both sides said, for those who follow it on any instance."""

from __future__ import annotations

import json
from typing import Any

import redis

from lchook.core.conversation import Entries, Entry
from lchook.store import FOLLOW_SECONDS, PAGE_CHARACTERS, PAGE_ENTRIES, Forgotten, StoreError, StoreListener, iso_utc
from lchook.store.redis_connection import RedisConnection

_EXPIRE_AT_ONCE = 100
_SCAN_AT_ONCE = 1000


class RedisConversation(RedisConnection):
    """Keeps what was said for some time, and so many entries of a customer."""

    def __init__(
        self, *args: Any, conversation_ttl_seconds: float = 0.0, conversation_size: int = 500, **options: Any
    ) -> None:
        """:param conversation_ttl_seconds: 0: nothing is kept. The rest is `RedisConnection`'s."""
        super().__init__(*args, **options)
        # What scripts that write the conversation want to know.
        self._conversation_bounds = (int(conversation_ttl_seconds * 1000), conversation_size)
        self._keeps_conversation = conversation_ttl_seconds > 0
        self._listener = StoreListener.null()

    def read_conversation(self, customer_id: str, after: int, changed_after: int, *, joins: bool) -> Entries:
        ttl_milliseconds, size = self._conversation_bounds
        bounds = (PAGE_ENTRIES, PAGE_CHARACTERS, ttl_milliseconds, int(joins), size, FOLLOW_SECONDS)
        latest, more, entries, changes = self._run("read_log", customer_id, after, changed_after, *bounds)
        return Entries([*map(_entry, entries)], [*map(_entry, changes)], bool(more), int(latest))

    def unfollow(self, customer_id: str) -> None:
        self._run("unfollow", customer_id)

    def forget(self, customer_id: str) -> Forgotten:
        mailbox, outbox, statuses, entries = self._run("forget", customer_id)
        try:
            outcomes = self._forget_outcomes(customer_id)
        except (redis.RedisError, OSError) as error:
            raise StoreError(f"Redis: {error}") from error
        return Forgotten(mailbox, outbox, outcomes, statuses, entries)

    def _run_and_tell(self, customer_id: str, script: str, *args: Any) -> Any:
        """Run what may add to the conversation."""
        try:
            return self._run(script, customer_id, *args)
        finally:
            # Where it failed it may have been done all the same.
            if self._keeps_conversation:
                self._listener.news(customer_id)

    def _expire_entries(self) -> None:
        ttl_milliseconds, _ = self._conversation_bounds
        if self._keeps_conversation:
            while int(self._run("expire_log", ttl_milliseconds, _EXPIRE_AT_ONCE)) == _EXPIRE_AT_ONCE:
                pass

    def _forget_outcomes(self, customer_id: str) -> int:
        """They are kept by message. To look at each takes some seconds where there are a million, and holds up nobody."""
        forgotten, place = 0, 0
        while True:
            place, keys = self._redis.scan(place, match=f"{self._prefix}to_dms:*", count=_SCAN_AT_ONCE)
            values = self._redis.mget(keys) if keys else []
            theirs = [key for key, value in zip(keys, values, strict=True) if _customer_of(value) == customer_id]
            forgotten += self._redis.delete(*theirs) if theirs else 0
            if not place:
                return forgotten


def _customer_of(value: Any) -> Any:
    """Whose message this is of which the outcome is remembered; None where it says nothing."""
    return json.loads(value[2:]).get("customer") if value and value.startswith("d {") else None


def _entry(parts: Any) -> Entry:
    number, at_milliseconds, origin, queued, text, outcome, changed = parts
    at = iso_utc(int(at_milliseconds) / 1000)
    return Entry(int(number), at, "customer" if origin == "c" else "dms", text, outcome, int(float(changed)), int(queued))
