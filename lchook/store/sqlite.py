"""The store for one instance: a SQLite file, or SQLite in memory. Its parts: `sqlite_file.py`, `sqlite_mailbox.py` and
`sqlite_outbox.py`, both on `sqlite_conversation.py`; its tables: `sqlite_schema.py`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from lchook.store import Forgotten, StoreListener
from lchook.store.sqlite_mailbox import SqliteMailbox
from lchook.store.sqlite_outbox import SqliteOutbox


class SqliteStore(SqliteMailbox, SqliteOutbox):
    """See `lchook.store.Store`."""

    def open(self, listener: StoreListener, start_task: Callable[..., object]) -> None:
        self._listener = listener
        self._open()

    def close(self) -> None:
        self._close()

    def check(self) -> None:
        now = self._clock()
        self._run(
            lambda db: db.execute(
                "INSERT INTO seen VALUES ('check', ?) ON CONFLICT (fingerprint) DO UPDATE SET at = excluded.at", (now,)
            )
        )

    def expire(self) -> int:
        self._forget_outcomes()
        self._expire_entries()
        return self._expire_messages()

    def forget(self, customer_id: str) -> Forgotten:
        def work(db: sqlite3.Connection) -> Forgotten:
            # Nothing of it is left in the file's free pages.
            db.execute("PRAGMA secure_delete = ON")
            tables = {"letters": "customer", "outbox": "customer", "to_dms": "process", "statuses": "customer"}
            columns = {**tables, "conversation": "customer"}
            counts = [
                db.execute(f"DELETE FROM {table} WHERE {column} = ?", (customer_id,)).rowcount  # noqa: S608
                for table, column in columns.items()
            ]
            db.execute("PRAGMA secure_delete = OFF")
            self._count(db)
            return Forgotten(*counts)

        forgotten: Forgotten = self._run(work)
        if self._path is not None:
            # The write-ahead log has it still. Where another process reads that now, it goes with the next checkpoint.
            self._run(lambda db: db.execute("PRAGMA wal_checkpoint(TRUNCATE)"), writes=False)
        return forgotten
