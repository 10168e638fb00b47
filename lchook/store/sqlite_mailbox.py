"""Customers' mailboxes in SQLite. What is here runs in `SqliteFile`'s transactions."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from lchook.core.delivery import Removal
from lchook.store import REMEMBER_SECONDS, CustomerBacklog, FetchResult, MailboxBacklog, PutResult, StoredMessage
from lchook.store.sqlite_conversation import SqliteConversation

EXPIRE_AT_ONCE = 1000


class SqliteMailbox(SqliteConversation):
    """Keeps messages for customers until they have them. Several processes may use one file, but do not tell each other of
    new messages: that takes Redis."""

    def __init__(self, *args: Any, ttl_seconds: float, size: int, **options: Any) -> None:
        """:param size: messages a mailbox holds at most. The rest is `SqliteConversation`'s."""
        super().__init__(*args, **options)
        self._ttl_seconds = ttl_seconds
        self._size = size

    def mailbox_backlog(self) -> MailboxBacklog:
        def work(db: sqlite3.Connection) -> tuple[int, float | None, int]:
            messages, oldest = db.execute("SELECT count(*), min(at) FROM letters").fetchone()
            return messages, oldest, db.execute("SELECT count(DISTINCT customer) FROM letters").fetchone()[0]

        messages, oldest, customers = self._run(work, writes=False)
        return MailboxBacklog(messages, customers, max(0.0, self._clock() - oldest) if oldest is not None else 0.0)

    def customer_backlogs(self, limit: int) -> list[CustomerBacklog]:
        rows = self._run(
            lambda db: db.execute(
                "SELECT customer, count(*), min(at) FROM letters GROUP BY customer ORDER BY min(at) LIMIT ?", (limit,)
            ).fetchall(),
            writes=False,
        )
        now = self._clock()
        return [CustomerBacklog(customer, count, max(0.0, now - oldest)) for customer, count, oldest in rows]

    def put(self, customer_id: str, text: str, fingerprint: str | None) -> PutResult:
        now = self._clock()

        def work(db: sqlite3.Connection) -> PutResult:
            if fingerprint is not None:
                marked = db.execute(
                    "INSERT INTO seen VALUES (?, ?) ON CONFLICT (fingerprint) DO UPDATE SET at = excluded.at WHERE at < ?",
                    (fingerprint, now, now - REMEMBER_SECONDS),
                )
                if marked.rowcount == 0:
                    return PutResult(kept=False, here=True)
            count, before = db.execute(
                "SELECT count(*), max(number) FROM letters WHERE customer = ?", (customer_id,)
            ).fetchone()
            number = db.execute(
                "INSERT INTO letters (customer, at, text) VALUES (?, ?, ?)", (customer_id, now, text)
            ).lastrowid
            if self._keeps_conversation:
                self._append(db, customer_id, text, now, at=now, queued=number)
            dropped = max(0, count + 1 - self._size)
            if dropped:
                db.execute(
                    "DELETE FROM letters WHERE number IN"
                    " (SELECT number FROM letters WHERE customer = ? ORDER BY number LIMIT ?)",
                    (customer_id, dropped),
                )
            return PutResult(True, True, dropped, number or 0, before or 0)

        kept: PutResult = self._run_and_tell(customer_id, work)
        return kept

    def claim(self, customer_id: str, *, seconds_ago: float, weakly: bool = False) -> None:
        """There is only this instance."""

    def fetch(self, customer_id: str, after: int, limit: int) -> FetchResult:
        since = self._clock() - self._ttl_seconds
        rows = self._run(
            lambda db: db.execute(
                "SELECT number, text FROM letters WHERE customer = ? AND number > ? AND at > ? ORDER BY number LIMIT ?",
                (customer_id, after, since, limit),
            ).fetchall(),
            writes=False,
        )
        return FetchResult([StoredMessage(number, text) for number, text in rows])

    def remove(self, removals: Sequence[Removal]) -> None:
        rows = [(number,) for removal in removals for number in removal.numbers]
        if rows:
            self._run(lambda db: db.executemany("DELETE FROM letters WHERE number = ?", rows))

    def release(self, customer_id: str, *, waiting: bool) -> None:
        """There is only this instance."""

    def clear(self, customer_id: str, *, seconds_ago: float = 0.0) -> int:
        before = self._clock() - seconds_ago
        count: int = self._run(
            lambda db: db.execute("DELETE FROM letters WHERE customer = ? AND at <= ?", (customer_id, before)).rowcount
        )
        return count

    def pass_on(self, customer_id: str, text: str, *, to_followers: bool = False) -> None:
        """There is only this instance."""

    def _expire_messages(self) -> int:
        now = self._clock()

        def forget(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM seen WHERE at < ?", (now - REMEMBER_SECONDS,))
            self._look_at_the_wal()

        def drop(db: sqlite3.Connection) -> int:
            # Numbers grow with time, so the oldest are first, and no index on the time is needed.
            return db.execute(
                "DELETE FROM letters WHERE at <= ? AND number IN (SELECT number FROM letters ORDER BY number LIMIT ?)",
                (now - self._ttl_seconds, EXPIRE_AT_ONCE),
            ).rowcount

        self._run(forget)
        expired = 0
        while True:
            count: int = self._run(drop)
            expired += count
            if count < EXPIRE_AT_ONCE:
                return expired
