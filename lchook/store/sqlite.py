"""The store for one instance: a SQLite file, or SQLite in memory. Its parts: `sqlite_file.py`, `sqlite_mailbox.py` and
`sqlite_outbox.py`; its tables: `sqlite_schema.py`.
"""

from __future__ import annotations

from collections.abc import Callable

from lchook.store import StoreListener
from lchook.store.sqlite_mailbox import SqliteMailbox
from lchook.store.sqlite_outbox import SqliteOutbox


class SqliteStore(SqliteMailbox, SqliteOutbox):
    """See `lchook.store.Store`."""

    def open(self, listener: StoreListener, start_task: Callable[..., object]) -> None:
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
        return self._expire_messages()
