"""Conversations in SQLite: what both sides said, for those who follow it. Runs in `SqliteFile`'s transactions."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from lchook.core.conversation import Entries, Entry
from lchook.store import PAGE_CHARACTERS, PAGE_ENTRIES, StoreListener, iso_utc
from lchook.store.sqlite_file import SqliteFile

_DROP_AT_ONCE = 1000
_TRIM_AT_ONCE = 10
_COLUMNS = (
    "number, at, CASE WHEN queued IS NULL THEN 'customer' ELSE 'dms' END, payload, outcome, coalesce(changed, 0),"
    " coalesce((SELECT letters.number FROM letters WHERE letters.number = queued), 0)"
)


class SqliteConversation(SqliteFile):
    """Keeps what was said for some time, and so many entries of a customer."""

    def __init__(
        self, *args: Any, conversation_ttl_seconds: float = 0.0, conversation_size: int = 500, **options: Any
    ) -> None:
        """:param conversation_ttl_seconds: 0: nothing is kept. The rest is `SqliteFile`'s."""
        super().__init__(*args, **options)
        self._conversation_ttl_seconds = conversation_ttl_seconds
        self._conversation_size = conversation_size
        self._keeps_conversation = conversation_ttl_seconds > 0
        self._listener = StoreListener.null()

    def read_conversation(self, customer_id: str, after: int, changed_after: int, *, joins: bool) -> Entries:
        now = self._clock()
        since = self._oldest(now)

        def work(db: sqlite3.Connection) -> Entries:
            if joins:
                self._join(db, customer_id, after, now)
            changes = db.execute(
                f"SELECT {_COLUMNS} FROM conversation WHERE customer = ? AND changed > ? AND number <= ?",  # noqa: S608
                (customer_id, changed_after, after),
            )
            rows = db.execute(
                f"SELECT {_COLUMNS} FROM conversation WHERE customer = ? AND number > ? ORDER BY number LIMIT ?",  # noqa: S608
                (customer_id, max(after, since), PAGE_ENTRIES + 1),
            )
            entries: list[Entry] = []
            characters, more = 0, False
            for row in rows:
                more = len(entries) >= PAGE_ENTRIES or characters >= PAGE_CHARACTERS
                if more:
                    break
                entries.append(_entry(row))
                characters += len(entries[-1].text)
            rows.close()
            return Entries(entries, [_entry(row) for row in changes], more, self._next_number(db, customer_id, now)[0])

        # Most have joined long ago, and only read.
        found: Entries = self._run(work, writes=joins)
        return found

    def unfollow(self, customer_id: str) -> None:
        """There is only this instance."""

    def _run_and_tell(self, customer_id: str, work: Callable[[sqlite3.Connection], Any]) -> Any:
        """Run what may add to the conversation."""
        try:
            return self._run(work)
        finally:
            # Where it failed it may have been done all the same.
            if self._keeps_conversation:
                self._listener.news(customer_id)

    # Within a transaction

    def _append(
        self,
        db: sqlite3.Connection,
        customer_id: str,
        text: str,
        now: float,
        *,
        at: float,
        queued: int | None = None,
        outbox: int | None = None,
    ) -> None:
        number, ordinal = self._next_number(db, customer_id, now)
        db.execute(
            "INSERT INTO conversation VALUES (?, ?, ?, ?, ?, ?, NULL, '', ?)",
            (customer_id, number, ordinal, at, queued, outbox, text),
        )
        if ordinal > self._conversation_size:
            db.execute(
                "DELETE FROM conversation WHERE customer = ? AND ordinal <= ? AND number IN"
                " (SELECT number FROM conversation WHERE customer = ? ORDER BY number LIMIT ?)",
                (customer_id, ordinal - self._conversation_size, customer_id, _TRIM_AT_ONCE),
            )

    def _next_number(self, db: sqlite3.Connection, customer_id: str, now: float) -> tuple[int, int]:
        """The number and the ordinal of the customer's next entry."""
        last = db.execute(
            "SELECT number, ordinal FROM conversation WHERE customer = ? ORDER BY number DESC LIMIT 1", (customer_id,)
        ).fetchone()
        if last is None:
            return int(now * 1e6), 1
        (changed,) = db.execute(
            "SELECT max(changed) FROM conversation WHERE customer = ? AND changed IS NOT NULL", (customer_id,)
        ).fetchone()
        return max(int(now * 1e6), last[0] + 1, (changed or 0) + 1), last[1] + 1

    def _has_outcome(self, db: sqlite3.Connection, customer_id: str, outbox: int, outcome: str, now: float) -> None:
        """A message has left the outbox."""
        db.execute(
            "UPDATE conversation SET changed = ?, outcome = ?, outbox = NULL WHERE outbox = ? AND customer = ?",
            (self._next_number(db, customer_id, now)[0], outcome, outbox, customer_id),
        )

    def _join(self, db: sqlite3.Connection, customer_id: str, after: int, now: float) -> None:
        queued = "SELECT queued FROM conversation WHERE customer = ? AND queued IS NOT NULL"
        if 0 < after <= self._next_number(db, customer_id, now)[0]:
            db.execute(
                f"DELETE FROM letters WHERE customer = ? AND number IN ({queued} AND number <= ?)",  # noqa: S608
                (customer_id, customer_id, after),
            )
        # They were put where no conversation was kept, or have waited for longer than it is kept.
        for number, at, text in db.execute(
            f"SELECT number, at, text FROM letters WHERE customer = ? AND number NOT IN ({queued}) ORDER BY number",  # noqa: S608
            (customer_id, customer_id),
        ).fetchall():
            self._append(db, customer_id, text, now, at=at, queued=number)

    # What is forgotten

    def _oldest(self, now: float) -> int:
        """Entries up to this number are kept no longer."""
        return int((now - self._conversation_ttl_seconds) * 1e6)

    def _expire_entries(self) -> None:
        oldest = self._oldest(self._clock())

        def drop(db: sqlite3.Connection) -> int:
            # The oldest are first, and no index on the time is needed.
            return db.execute(
                "DELETE FROM conversation WHERE number <= ?"
                " AND rowid IN (SELECT rowid FROM conversation ORDER BY rowid LIMIT ?)",
                (oldest, _DROP_AT_ONCE),
            ).rowcount

        # Also where conversations were kept once.
        if self._run(lambda db: db.execute("SELECT 1 FROM conversation LIMIT 1").fetchone(), writes=False):
            while self._run(drop) == _DROP_AT_ONCE:
                pass


def _entry(row: Any) -> Entry:
    number, at, origin, text, outcome, changed, queued = row
    return Entry(number, iso_utc(at), origin, text, outcome, changed, queued)
