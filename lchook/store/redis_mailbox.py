"""Customers' mailboxes in Redis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lchook.core.delivery import Removal
from lchook.store import REMEMBER_SECONDS, Fetched, Kept, Letter, Waiting, WaitingCustomer
from lchook.store.redis_conversation import RedisConversation

_EXPIRE_AT_ONCE = 100
# Mailboxes whose letters are counted for the metrics. Redis does nothing else meanwhile.
_MOST_COUNTED = 10_000


class RedisMailbox(RedisConversation):
    """Keeps messages for customers until they have them, and knows which instance has whom."""

    def __init__(self, *args: Any, ttl_seconds: float, size: int, **options: Any) -> None:
        """:param size: letters a mailbox holds at most. The rest is `RedisConversation`'s."""
        super().__init__(*args, **options)
        self._ttl_milliseconds = int(ttl_seconds * 1000)
        self._size = size

    def waiting(self) -> Waiting:
        letters, customers, oldest_milliseconds = self._run("waiting", _MOST_COUNTED)
        return Waiting(int(letters), int(customers), max(0.0, int(oldest_milliseconds) / 1000))

    def waiting_customers(self, limit: int) -> list[WaitingCustomer]:
        rows = self._run("waiting_customers", limit)
        triples = zip(rows[::3], rows[1::3], rows[2::3], strict=True)
        return [WaitingCustomer(customer, int(count), max(0.0, int(age) / 1000)) for customer, count, age in triples]

    def put(self, customer_id: str, text: str, fingerprint: str | None) -> Kept:
        words = (text, fingerprint or "", REMEMBER_SECONDS, self._size, *self._conversation_bounds)
        kept, here, dropped = self._run_and_tell(customer_id, "put", *words)
        return Kept(kept=bool(kept), here=bool(here), dropped=dropped)

    def claim(self, customer_id: str, *, seconds_ago: float, weakly: bool = False) -> None:
        self._run("claim", customer_id, int(seconds_ago * 1000), int(weakly))

    def fetch(self, customer_id: str, after: int, limit: int) -> Fetched:
        state, *rest = self._run("fetch", customer_id, after, limit, self._ttl_milliseconds)
        if state == "elsewhere":
            return Fetched(state=state, weakly=bool(rest[0]))
        letters = [Letter(int(number), text) for number, text in zip(rest[::2], rest[1::2], strict=True)]
        return Fetched(letters, state)

    def remove(self, removals: Sequence[Removal]) -> None:
        for removal in removals:
            self._run("remove", removal.customer_id, int(removal.last), *removal.numbers)

    def leave(self, customer_id: str, *, waiting: bool) -> None:
        self._run("leave", customer_id, int(waiting))

    def clear(self, customer_id: str, *, seconds_ago: float = 0.0) -> int:
        return int(self._run("clear", customer_id, int(seconds_ago * 1000)))

    def pass_on(self, customer_id: str, text: str, *, to_followers: bool = False) -> None:
        self._run("pass_on", customer_id, text, int(to_followers))

    def expire(self) -> int:
        self._expire_entries()
        expired = 0
        while True:
            dropped, customers = self._run("expire", self._ttl_milliseconds, _EXPIRE_AT_ONCE)
            expired += int(dropped)
            if customers < _EXPIRE_AT_ONCE:
                return expired
