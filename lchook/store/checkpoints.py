"""SQLite's checkpoints, beside the writer: what is in the write-ahead log goes into the file, which syncs both.

SQLite does it in the commit that makes the log long enough, and whoever has written waits for the disk, for tens of
milliseconds. Another connection does the same while the writer goes on. Where that does not get to the end, because there is
always more, SQLite does it after all, at a length that it reaches seldom and with little left to do.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from lchook.store.group_commit import Aside

# A write is about four pages: as often as SQLite would by default.
_WRITES = 250
# 32 MB, of which most is in the file by then.
MAX_LOG_PAGES = 8000


class Checkpoints:
    """Of one file. Call from where the writers' calls come from."""

    def __init__(self, path: Path, aside: Aside) -> None:
        """:param aside: calls where it may block, and not where the writer's calls are made."""
        self._path = path
        self._aside = aside
        self._writes = 0
        self._is_running = False

    def written(self) -> None:
        """Something was written."""
        self._writes += 1
        if self._writes >= _WRITES and not self._is_running:
            self._is_running, self._writes = True, 0
            self._aside(self._run, self._done)

    def _run(self) -> None:
        # What goes wrong, the writer meets, too. A connection each time: the file may be another one by now.
        address = f"{self._path.absolute().as_uri()}?mode=rw"
        with (
            contextlib.suppress(sqlite3.Error, OSError),
            contextlib.closing(sqlite3.connect(address, timeout=0, uri=True)) as db,
        ):
            # Opens the log.
            db.execute("SELECT count(*) FROM sqlite_master").fetchone()
            db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def _done(self) -> None:
        self._is_running = False
