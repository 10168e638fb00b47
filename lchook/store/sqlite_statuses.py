"""What became of messages, kept in SQLite for customers who could not be told. Runs in `SqliteFile`'s transactions."""

from __future__ import annotations

import sqlite3
from typing import Any

from lchook.store import KEEP_STATUS_SECONDS
from lchook.store.sqlite_conversation import SqliteConversation


class SqliteStatuses(SqliteConversation):
    """Texts for customers' next connections."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """All is `SqliteConversation`'s."""
        super().__init__(*args, **options)
        # How many there are, nearly: to count them takes long.
        self._kept_statuses = 0

    def add_status(self, customer_id: str, text: str) -> None:
        now = self._clock()
        self._run(lambda db: self._add_status(db, customer_id, text, now))

    def take_statuses(self, customer_id: str) -> list[str]:
        now = self._clock()
        if not self._run(
            lambda db: db.execute("SELECT 1 FROM statuses WHERE customer = ?", (customer_id,)).fetchone(), writes=False
        ):
            return []
        statuses: list[str] = self._run(lambda db: self._statuses(db, customer_id, now))
        return statuses

    # Within a transaction

    def _add_status(self, db: sqlite3.Connection, customer_id: str, text: str, now: float) -> None:
        self._kept_statuses += 1
        db.execute("INSERT INTO statuses (customer, at, text) VALUES (?, ?, ?)", (customer_id, now, text))

    def _statuses(self, db: sqlite3.Connection, customer_id: str, now: float) -> list[str]:
        rows = db.execute("SELECT at, text FROM statuses WHERE customer = ? ORDER BY number", (customer_id,)).fetchall()
        if not rows:
            return []
        db.execute("DELETE FROM statuses WHERE customer = ?", (customer_id,))
        return [text for at, text in rows if at > now - KEEP_STATUS_SECONDS]
