"""Customers' mailboxes in Redis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lchook.core.delivery import Removal
from lchook.store import REMEMBER_SECONDS, CustomerBacklog, FetchResult, MailboxBacklog, PutResult, StoredMessage
from lchook.store.redis_conversation import RedisConversation

_EXPIRE_AT_ONCE = 100
# Mailboxes whose messages are counted for the metrics. Redis does nothing else meanwhile.
_MAX_COUNTED = 10_000


class RedisMailbox(RedisConversation):
    """Keeps messages for customers until they have them, and knows which instance has whom."""

    def __init__(self, *args: Any, ttl_seconds: float, size: int, **options: Any) -> None:
        """:param size: messages a mailbox holds at most. The rest is `RedisConversation`'s."""
        super().__init__(*args, **options)
        self._ttl_milliseconds = int(ttl_seconds * 1000)
        self._size = size

    def mailbox_backlog(self) -> MailboxBacklog:
        messages, customers, oldest_milliseconds = self._run("mailbox_backlog", _MAX_COUNTED)
        return MailboxBacklog(int(messages), int(customers), max(0.0, int(oldest_milliseconds) / 1000))

    def customer_backlogs(self, limit: int) -> list[CustomerBacklog]:
        rows = self._run("customer_backlogs", limit)
        triples = zip(rows[::3], rows[1::3], rows[2::3], strict=True)
        return [CustomerBacklog(customer, int(count), max(0.0, int(age) / 1000)) for customer, count, age in triples]

    def put(self, customer_id: str, text: str, fingerprint: str | None) -> PutResult:
        words = (text, fingerprint or "", REMEMBER_SECONDS, self._size, *self._conversation_bounds)
        kept, here, dropped = self._run_and_tell(customer_id, "put", *words)
        return PutResult(kept=bool(kept), here=bool(here), dropped=dropped)

    def claim(self, customer_id: str, *, seconds_ago: float, weakly: bool = False) -> None:
        self._run("claim", customer_id, int(seconds_ago * 1000), int(weakly))

    def fetch(self, customer_id: str, after: int, limit: int) -> FetchResult:
        state, *rest = self._run("fetch", customer_id, after, limit, self._ttl_milliseconds)
        if state == "elsewhere":
            return FetchResult(state=state, weakly=bool(rest[0]))
        messages = [StoredMessage(int(number), text) for number, text in zip(rest[::2], rest[1::2], strict=True)]
        return FetchResult(messages, state)

    def remove(self, removals: Sequence[Removal]) -> None:
        self._run_all(*(("remove", removal.customer_id, int(removal.last), *removal.numbers) for removal in removals))

    def release(self, customer_id: str, *, waiting: bool) -> None:
        self._run("release", customer_id, int(waiting))

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
