"""The store for one instance: a SQLite file, or SQLite in memory.

All that is done with the file is done aside, in groups (see `group_commit.py`): a disk that is slow or hangs, and another
process that holds a lock, hold up those who need the file, each for seconds at most, and nobody else.

What `put` has kept survives the end of the process, however it ends (write-ahead log). It is synced to the disk at
checkpoints, so that the last messages before a power failure may be lost; `?synchronous=full` syncs each one.
Several processes may open one file without harm to it, but do not tell each other of new letters: that takes Redis.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sqlite3
import stat
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lchook.core.delivery import Removal
from lchook.logs import Log
from lchook.store import (
    REMEMBER_OUTCOME_SECONDS,
    REMEMBER_SECONDS,
    Arrival,
    Bell,
    Fetched,
    Kept,
    Letter,
    StoreError,
    UnknownFormatError,
    Waiting,
    WaitingCustomer,
)
from lchook.store.files import ON_NETWORK, network_file_system, what_hinders
from lchook.store.group_commit import Aside, BusyError, GroupCommit, in_a_thread

log = Log(__name__)

_FORMAT = 1
_SCHEMA = """
CREATE TABLE letters (
    number INTEGER PRIMARY KEY AUTOINCREMENT, customer TEXT NOT NULL, at REAL NOT NULL, text TEXT NOT NULL
);
CREATE INDEX letters_of_customer ON letters (customer, number);
CREATE TABLE seen (fingerprint TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE to_dms (key TEXT PRIMARY KEY, at REAL NOT NULL, process TEXT NOT NULL, outcome TEXT) WITHOUT ROWID;
"""
# So that what is forgotten is found among a day's messages. Files of versions before this one get it, and those versions can
# do with it, so the format is the same.
_INDEX = "CREATE INDEX IF NOT EXISTS to_dms_by_time ON to_dms (at)"
# About 150 MB, and ten messages a second all day. Where there are more, the oldest are forgotten sooner.
_MOST_OUTCOMES = 1_000_000
# For how long a caller waits, whatever hinders. Another process holds the file for less, or something is wrong.
_PATIENCE_SECONDS = 2.0
# For how long SQLite waits for another process's lock, before others have their turn.
_BUSY_SECONDS = 0.1
_EXPIRE_AT_ONCE = 1000
# After checkpoints the write-ahead log is at most as large; larger, and somebody reads the file without an end.
_MOST_WAL_BYTES = 64 * 1024 * 1024
# With these the connection is as good as before.
_PASSING = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL})


def steady_time() -> Callable[[], float]:
    """Seconds since 1970, from a clock that nobody sets: letters must not be out of date because the machine's was wrong."""
    ahead = time.time() - time.monotonic()
    return lambda: time.monotonic() + ahead


class SqliteStore:
    """See `lchook.store.Store`."""

    def __init__(
        self,
        path: Path | None,
        *,
        ttl_seconds: float,
        size: int,
        synchronous: str = "normal",
        clock: Callable[[], float] | None = None,
        aside: Aside = in_a_thread,
    ) -> None:
        """:param path: the file, or `None` for memory. :param size: letters a mailbox holds at most.
        :param aside: calls where it may block; one and the same thread, at least one at a time.
        """
        self._path = path
        self._ttl_seconds = ttl_seconds
        self._size = size
        self._synchronous = synchronous
        self._clock = clock or steady_time()
        self._process = uuid.uuid4().hex
        # Of the memory's connection; the file's is used aside only, by one at a time.
        self._lock = threading.Lock()
        self._opened = False
        self._db: sqlite3.Connection | None = None
        # How many outcomes are remembered, nearly: to count them takes long.
        self._outcomes = 0
        self._inode: tuple[int, int] | None = None
        # The file, opened besides SQLite, to see cheaply whether it still has a name.
        self._file: int | None = None
        self._seen_place = False
        # What is to be logged, by those who may.
        self._remarks: deque[tuple[Callable[..., None], str]] = deque()
        self._group: GroupCommit[sqlite3.Connection] = GroupCommit(
            read=self._with_db,
            transaction=self._in_transaction,
            patience_seconds=_PATIENCE_SECONDS,
            aside=aside,
        )

    def open(self, bell: Bell, start_task: Callable[..., object]) -> None:
        try:
            self._run(lambda db: None)
            log.info(f"messages are kept in {self._path or 'memory'}")
        except StoreError as error:
            log.error("the store cannot be used; webhooks are answered with 503 until it can", reason=error)
        self._opened = True

    def close(self) -> None:
        if self._path is not None and self._db is not None:
            try:
                self._group.run(lambda db: self._drop(), writes=False)
            except (StoreError, UnknownFormatError) as error:
                # What was answered with 200 is in the write-ahead log.
                log.warning("the store's file could not be closed", reason=error)

    def check(self) -> None:
        now = self._clock()
        self._run(
            lambda db: db.execute(
                "INSERT INTO seen VALUES ('check', ?) ON CONFLICT (fingerprint) DO UPDATE SET at = excluded.at", (now,)
            )
        )

    def waiting(self) -> Waiting:
        def work(db: sqlite3.Connection) -> tuple[int, float | None, int]:
            letters, oldest = db.execute("SELECT count(*), min(at) FROM letters").fetchone()
            return letters, oldest, db.execute("SELECT count(DISTINCT customer) FROM letters").fetchone()[0]

        letters, oldest, customers = self._run(work, writes=False)
        return Waiting(letters, customers, max(0.0, self._clock() - oldest) if oldest is not None else 0.0)

    def waiting_customers(self, limit: int) -> list[WaitingCustomer]:
        rows = self._run(
            lambda db: db.execute(
                "SELECT customer, count(*), min(at) FROM letters GROUP BY customer ORDER BY min(at) LIMIT ?", (limit,)
            ).fetchall(),
            writes=False,
        )
        now = self._clock()
        return [WaitingCustomer(customer, count, max(0.0, now - oldest)) for customer, count, oldest in rows]

    # Mailboxes

    def put(self, customer_id: str, text: str, fingerprint: str | None) -> Kept:
        now = self._clock()

        def work(db: sqlite3.Connection) -> Kept:
            if fingerprint is not None:
                marked = db.execute(
                    "INSERT INTO seen VALUES (?, ?) ON CONFLICT (fingerprint) DO UPDATE SET at = excluded.at WHERE at < ?",
                    (fingerprint, now, now - REMEMBER_SECONDS),
                )
                if marked.rowcount == 0:
                    return Kept(kept=False, here=True)
            count, before = db.execute(
                "SELECT count(*), max(number) FROM letters WHERE customer = ?", (customer_id,)
            ).fetchone()
            number = db.execute(
                "INSERT INTO letters (customer, at, text) VALUES (?, ?, ?)", (customer_id, now, text)
            ).lastrowid
            dropped = max(0, count + 1 - self._size)
            if dropped:
                db.execute(
                    "DELETE FROM letters WHERE number IN"
                    " (SELECT number FROM letters WHERE customer = ? ORDER BY number LIMIT ?)",
                    (customer_id, dropped),
                )
            return Kept(True, True, dropped, number or 0, before or 0)

        kept: Kept = self._run(work)
        return kept

    def claim(self, customer_id: str, *, seconds_ago: float, weakly: bool = False) -> None:
        """There is only this instance."""

    def fetch(self, customer_id: str, after: int, limit: int) -> Fetched:
        since = self._clock() - self._ttl_seconds
        rows = self._run(
            lambda db: db.execute(
                "SELECT number, text FROM letters WHERE customer = ? AND number > ? AND at > ? ORDER BY number LIMIT ?",
                (customer_id, after, since, limit),
            ).fetchall(),
            writes=False,
        )
        return Fetched([Letter(number, text) for number, text in rows])

    def remove(self, removals: Sequence[Removal]) -> None:
        rows = [(number,) for removal in removals for number in removal.numbers]
        if rows:
            self._run(lambda db: db.executemany("DELETE FROM letters WHERE number = ?", rows))

    def leave(self, customer_id: str, *, waiting: bool) -> None:
        """There is only this instance."""

    def clear(self, customer_id: str, *, seconds_ago: float = 0.0) -> int:
        before = self._clock() - seconds_ago
        count: int = self._run(
            lambda db: db.execute("DELETE FROM letters WHERE customer = ? AND at <= ?", (customer_id, before)).rowcount
        )
        return count

    def pass_on(self, customer_id: str, text: str) -> None:
        """There is only this instance."""

    def expire(self) -> int:
        now = self._clock()

        def forget(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM seen WHERE at < ?", (now - REMEMBER_SECONDS,))
            self._look_at_the_wal()

        def drop(db: sqlite3.Connection) -> int:
            # Numbers grow with time, so the oldest are first, and no index on the time is needed.
            return db.execute(
                "DELETE FROM letters WHERE at <= ? AND number IN (SELECT number FROM letters ORDER BY number LIMIT ?)",
                (now - self._ttl_seconds, _EXPIRE_AT_ONCE),
            ).rowcount

        self._run(forget)
        self._forget_outcomes(now)
        expired = 0
        while True:
            count: int = self._run(drop)
            expired += count
            if count < _EXPIRE_AT_ONCE:
                return expired

    def _forget_outcomes(self, now: float) -> None:
        count = _EXPIRE_AT_ONCE
        while count == _EXPIRE_AT_ONCE:
            before = now - (REMEMBER_OUTCOME_SECONDS if self._outcomes <= _MOST_OUTCOMES else REMEMBER_SECONDS)
            count = self._run(functools.partial(self._forget_some, before=before))

    def _forget_some(self, db: sqlite3.Connection, before: float) -> int:
        count = db.execute(
            "DELETE FROM to_dms WHERE key IN (SELECT key FROM to_dms WHERE at < ? ORDER BY at LIMIT ?)",
            (before, _EXPIRE_AT_ONCE),
        ).rowcount
        self._outcomes -= count
        return count

    # Messages to DMS

    def arrive(
        self, customer_id: str, ticket: str, key: str | None, *, seconds_ago: float = 0.0, before: str | None = None
    ) -> Arrival:
        if key is None:
            return Arrival("first", turn=True)
        now = self._clock()

        def work(db: sqlite3.Connection) -> Arrival:
            marked = db.execute(
                "INSERT INTO to_dms VALUES (?, ?, ?, NULL) ON CONFLICT (key)"
                " DO UPDATE SET at = excluded.at, process = excluded.process, outcome = NULL WHERE at < ?",
                (key, now, f"{self._process} {ticket}", now - REMEMBER_OUTCOME_SECONDS),
            )
            self._outcomes += marked.rowcount
            return Arrival("first", turn=True) if marked.rowcount else self._known(db, key, ticket)

        arrival: Arrival = self._run(work)
        return arrival

    def turn(self, customer_id: str, ticket: str, key: str | None) -> bool:
        return True

    def finish(self, customer_id: str, ticket: str, key: str | None, outcome: str | None) -> None:
        if key is None:
            return
        if outcome is not None:
            # Whose message it was counts no more, and need not be kept for a day.
            self._run(lambda db: db.execute("UPDATE to_dms SET outcome = ?, process = '' WHERE key = ?", (outcome, key)))
        else:
            self._run(
                lambda db: db.execute(
                    "DELETE FROM to_dms WHERE key = ? AND process = ? AND outcome IS NULL",
                    (key, f"{self._process} {ticket}"),
                )
            )

    def _known(self, db: sqlite3.Connection, key: str, ticket: str) -> Arrival:
        who, outcome = db.execute("SELECT process, outcome FROM to_dms WHERE key = ?", (key,)).fetchone()
        if outcome is not None:
            return Arrival("done", outcome=outcome)
        process, _, its_ticket = who.partition(" ")
        if process != self._process:
            return Arrival("lost")
        # It arrived before, and the answer was lost.
        return Arrival("first", turn=True) if its_ticket == ticket else Arrival("pending")

    def _run(self, work: Callable[[sqlite3.Connection], Any], *, writes: bool = True) -> Any:
        """Do it in a transaction, alone or with others, and return what it returns once that is committed."""
        try:
            if self._path is not None:
                return self._group.run(work, writes=writes)
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
                say, remark = self._remarks.popleft()
                say(remark, file=self._path)

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
            self._remarks.append((log.error, "the file was deleted or replaced; it is opened anew"))
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
                self._remarks.append((log.warning, f"the store's file {ON_NETWORK.format(kind=kind)}"))
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
            self._migrate(db)
            (self._outcomes,) = db.execute("SELECT count(*) FROM to_dms").fetchone()
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(f"PRAGMA journal_size_limit = {_MOST_WAL_BYTES}")
            db.execute(f"PRAGMA synchronous = {self._synchronous}")
            if self._path is not None:
                status = os.stat(self._path)
                self._inode = (status.st_dev, status.st_ino)
                if hasattr(os, "O_PATH"):
                    # Only so: to close any other descriptor of the file would drop SQLite's locks on it.
                    self._file = os.open(self._path, os.O_PATH)
        except BaseException:
            db.close()
            raise
        return db

    def _migrate(self, db: sqlite3.Connection) -> None:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        (indexes,) = db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'to_dms_by_time'").fetchone()
        if version == _FORMAT and indexes:
            # Without a lock, which another process may hold.
            return
        db.execute("BEGIN IMMEDIATE")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if version == 0 and tables == 0:
            for statement in _SCHEMA.split(";"):
                db.execute(statement)
            # A file that takes the place of one that was deleted must not number its letters as that one did.
            db.execute("INSERT INTO sqlite_sequence VALUES ('letters', ?)", (time.time_ns() // 1000,))
            db.execute(f"PRAGMA user_version = {_FORMAT}")
        elif version != _FORMAT:
            db.execute("ROLLBACK")
            raise UnknownFormatError(
                f"{self._path} has format {version}, and this version of LCH knows format {_FORMAT}: "
                "start the version that wrote it, or name another file in STORE_URL"
            )
        db.execute(_INDEX)
        db.execute("COMMIT")

    def _look_at_the_wal(self) -> None:
        with contextlib.suppress(OSError):
            size = os.stat(f"{self._path}-wal").st_size if self._path is not None else 0
            if size > 2 * _MOST_WAL_BYTES:
                mib = size // 2**20
                self._remarks.append(
                    (log.warning, f"the write-ahead log has {mib} MiB and grows: another process goes on reading the file")
                )

    def _drop(self) -> None:
        if self._db is not None and self._path is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None
            if self._file is not None:
                os.close(self._file)
                self._file = None


def _share_with_group(path: Path) -> None:
    """In a container the next start may be another user's, in the same group: where that may write in the folder, it may
    write the file. SQLite gives the files beside it the same rights."""
    if path.parent.stat().st_mode & stat.S_IWGRP:
        with contextlib.suppress(OSError):
            new = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o660)
            os.fchmod(new, 0o660)
            os.close(new)
