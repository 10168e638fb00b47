"""SQLite's file (or memory): connections, transactions, and what goes wrong with files. Knows no tables.

All that is done with the file is done aside, in groups (see `group_commit.py`): a disk that is slow or hangs, and another
process that holds a lock, hold up those who need the file, each for seconds at most, and nobody else.

What is committed survives the end of the process, however it ends (write-ahead log). It is synced to the disk at
checkpoints, so that the last messages before a power failure may be lost; `?synchronous=full` syncs each one.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lchook.core import events
from lchook.core.events import LogEvent
from lchook.logs import Log
from lchook.store import StoreError, UnknownFormatError
from lchook.store.checkpoints import MAX_LOG_PAGES, Checkpoints
from lchook.store.files import network_file_system, what_hinders
from lchook.store.group_commit import Aside, BusyError, GroupCommit, in_a_thread
from lchook.store.processes import Processes
from lchook.store.sqlite_schema import migrate

log = Log("lchook.store.sqlite")

# For how long a caller waits, whatever hinders. Another process holds the file for less, or something is wrong.
_PATIENCE_SECONDS = 2.0
# For how long SQLite waits for another process's lock, before others have their turn.
_BUSY_SECONDS = 0.1
# After checkpoints the write-ahead log is at most as large; larger, and somebody reads the file without an end.
_MAX_WAL_BYTES = 64 * 1024 * 1024
# With these the connection is as good as before.
_PASSING = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL})


def steady_time() -> Callable[[], float]:
    """Seconds since 1970, from a clock that nobody sets: messages must not expire because the machine's was wrong."""
    ahead = time.time() - time.monotonic()
    return lambda: time.monotonic() + ahead


class SqliteFile:
    """Runs works on the file, each in a transaction, alone or with others."""

    def __init__(
        self,
        path: Path | None,
        *,
        synchronous: str = "normal",
        clock: Callable[[], float] | None = None,
        aside: Aside = in_a_thread,
        checkpoint_aside: Aside = in_a_thread,
    ) -> None:
        """:param path: the file, or `None` for memory.
        :param aside: calls where it may block; one and the same thread, at least one at a time.
        :param checkpoint_aside: likewise, but neither waits for the other.
        """
        self._path = path
        self._synchronous = synchronous
        self._clock = clock or steady_time()
        self._processes = Processes(path)
        self._checkpoints = Checkpoints(path, checkpoint_aside) if path is not None else None
        # Of the memory's connection; the file's is used aside only, by one at a time.
        self._lock = threading.Lock()
        self._opened = False
        self._db: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None
        # The file, opened besides SQLite, to see cheaply whether it still has a name.
        self._file: int | None = None
        self._seen_place = False
        # What is to be logged, by those who may.
        self._remarks: deque[tuple[Callable[..., None], LogEvent, dict[str, Any]]] = deque()
        self._group: GroupCommit[sqlite3.Connection] = GroupCommit(
            read=self._with_db,
            transaction=self._in_transaction,
            patience_seconds=_PATIENCE_SECONDS,
            aside=aside,
        )

    def _open(self) -> None:
        try:
            self._run(lambda db: None)
            log.info(events.STORE_OPENED, place=self._path or "memory")
        except StoreError as error:
            log.error(events.STORE_UNUSABLE, reason=error)
        self._opened = True

    def _close(self) -> None:
        if self._path is not None and self._db is not None:
            try:
                self._group.run(lambda db: self._end(), writes=False)
            except (StoreError, UnknownFormatError) as error:
                # What was answered with 200 is in the write-ahead log.
                log.warning(events.STORE_NOT_CLOSED, reason=error)

    def _connected(self, db: sqlite3.Connection) -> None:
        """There is a new connection. Runs aside."""

    def _run(self, work: Callable[[sqlite3.Connection], Any], *, writes: bool = True) -> Any:
        """Do it in a transaction, alone or with others, and return what it returns once that is committed."""
        try:
            if self._checkpoints is not None:
                result = self._group.run(work, writes=writes)
                if writes:
                    self._checkpoints.written()
                return result
            results: list[Any] = []
            with self._lock:
                self._in_transaction(lambda db: results.append(work(db)))
            return results[0]
        except UnknownFormatError as error:
            if not self._opened:
                raise
            raise StoreError(str(error)) from error
        except (StoreError, sqlite3.Error) as error:
            raise StoreError(f"SQLite, {self._path or 'in memory'}: {error}") from error
        finally:
            while self._remarks:
                say, event, fields = self._remarks.popleft()
                say(event, file=self._path, **fields)

    # The file. What follows runs aside: no locks, no log.

    def _in_transaction(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """All of it is kept, or nothing."""

        def transaction(db: sqlite3.Connection) -> None:
            db.execute("BEGIN IMMEDIATE")
            try:
                work(db)
                db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    db.execute("ROLLBACK")
                raise

        self._with_db(transaction)

    def _with_db(self, work: Callable[[sqlite3.Connection], None]) -> None:
        try:
            work(self._usable())
        except (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError, sqlite3.InterfaceError):
            # The fault of what was asked.
            raise
        except (sqlite3.Error, OSError) as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code not in _PASSING:
                self._drop()
            hindrance = what_hinders(self._path, code) if self._path is not None else ""
            kind = BusyError if code == sqlite3.SQLITE_BUSY else StoreError
            raise kind(f"{error}{hindrance}") from error

    def _usable(self) -> sqlite3.Connection:
        if self._db is not None and not self._has_its_name():
            # It would go on taking messages that nobody finds again.
            self._remarks.append((log.error, events.STORE_FILE_REPLACED, {}))
            self._drop()
        if self._db is None:
            self._db = self._connect()
        return self._db

    def _has_its_name(self) -> bool:
        """Is the file still the one at its path?"""
        if self._path is None:
            return True
        if self._file is not None:
            # A fifth of what looking the path up costs, and it is asked at every turn.
            return os.fstat(self._file).st_nlink > 0
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            return False
        return (status.st_dev, status.st_ino) == self._inode

    def _connect(self) -> sqlite3.Connection:
        if self._path is not None:
            if not self._seen_place and (kind := network_file_system(self._path)):
                self._remarks.append((log.warning, events.STORE_ON_NETWORK, {"kind": kind}))
            self._seen_place = True
            self._path.parent.mkdir(parents=True, exist_ok=True)
            _share_with_group(self._path)
        db = sqlite3.connect(
            self._path or ":memory:",
            timeout=_BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=64,
        )
        try:
            # First of all: a file of another version stays as it is, to the byte.
            migrate(db, self._path, self._clock())
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(f"PRAGMA wal_autocheckpoint = {MAX_LOG_PAGES}")
            db.execute(f"PRAGMA journal_size_limit = {_MAX_WAL_BYTES}")
            db.execute(f"PRAGMA synchronous = {self._synchronous}")
            if self._path is not None:
                status = os.stat(self._path)
                self._inode = (status.st_dev, status.st_ino)
                if hasattr(os, "O_PATH"):
                    # Only so: to close any other descriptor of the file would drop SQLite's locks on it.
                    self._file = os.open(self._path, os.O_PATH)
            self._processes.begin()
            self._connected(db)
        except BaseException:
            db.close()
            raise
        return db

    def _look_at_the_wal(self) -> None:
        with contextlib.suppress(OSError):
            size = os.stat(f"{self._path}-wal").st_size if self._path is not None else 0
            if size > 2 * _MAX_WAL_BYTES:
                self._remarks.append((log.warning, events.STORE_WAL_GROWS, {"mib": size // 2**20}))

    def _drop(self) -> None:
        if self._db is not None and self._path is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def _end(self) -> None:
        self._drop()
        self._processes.end()


def _share_with_group(path: Path) -> None:
    """In a container the next start may be another user's, in the same group: where that may write in the folder, it may
    write the file. SQLite gives the files beside it the same rights."""
    if path.parent.stat().st_mode & stat.S_IWGRP:
        with contextlib.suppress(OSError):
            new = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o660)
            os.fchmod(new, 0o660)
            os.close(new)
