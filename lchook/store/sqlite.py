"""The store for one instance: a SQLite file, or SQLite in memory.

What `put` has kept survives the end of the process, however it ends (write-ahead log). It is synced to the disk at
checkpoints, so that the last messages before a power failure may be lost; `?synchronous=full` syncs each one.
Several processes may open one file without harm to it, but do not tell each other of new letters: that takes Redis.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from lchook.logs import Log
from lchook.store import (
    REMEMBER_SECONDS,
    Arrival,
    Bell,
    Fetched,
    Kept,
    Letter,
    Removal,
    StoreError,
    UnknownFormatError,
    Waiting,
    WaitingCustomer,
)
from lchook.store.group_commit import GroupCommit

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
# Another process holds the file for less than this, or something is wrong.
_BUSY_SECONDS = 2.0
_EXPIRE_AT_ONCE = 1000


class SqliteStore:
    """See `lchook.store.Store`."""

    def __init__(
        self,
        path: Path | None,
        *,
        ttl_seconds: float,
        size: int,
        synchronous: str = "normal",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """:param path: the file, or `None` for memory. :param size: letters a mailbox holds at most."""
        self._path = path
        self._ttl_seconds = ttl_seconds
        self._size = size
        self._synchronous = synchronous
        self._clock = clock
        self._process = uuid.uuid4().hex
        self._lock = threading.Lock()
        self._opened = False
        self._db: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None
        # The file, opened besides SQLite, to see cheaply whether it still has a name.
        self._file: int | None = None
        self._writes: GroupCommit[sqlite3.Connection] = GroupCommit(self._in_transaction)

    def open(self, bell: Bell, start_task: Callable[..., object]) -> None:
        try:
            with self._transaction():
                log.info(f"messages are kept in {self._path or 'memory'}")
        except StoreError as error:
            log.error("the store cannot be used; webhooks are answered with 503 until it can", reason=error)
        self._opened = True

    def close(self) -> None:
        with self._lock:
            self._drop()

    def check(self) -> None:
        with self._statement() as db:
            db.execute(
                "INSERT INTO seen VALUES ('check', ?) ON CONFLICT (fingerprint) DO UPDATE SET at = excluded.at",
                (self._clock(),),
            )

    def waiting(self) -> Waiting:
        with self._statement() as db:
            letters, oldest = db.execute("SELECT count(*), min(at) FROM letters").fetchone()
            (customers,) = db.execute("SELECT count(DISTINCT customer) FROM letters").fetchone()
        return Waiting(letters, customers, max(0.0, self._clock() - oldest) if oldest is not None else 0.0)

    def waiting_customers(self, limit: int) -> list[WaitingCustomer]:
        with self._statement() as db:
            rows = db.execute(
                "SELECT customer, count(*), min(at) FROM letters GROUP BY customer ORDER BY min(at) LIMIT ?", (limit,)
            ).fetchall()
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

        kept: Kept = self._writes.run(work)
        return kept

    def claim(self, customer_id: str, *, seconds_ago: float) -> None:
        """There is only this instance."""

    def fetch(self, customer_id: str, after: int, limit: int) -> Fetched:
        with self._statement() as db:
            rows = db.execute(
                "SELECT number, text FROM letters WHERE customer = ? AND number > ? AND at > ? ORDER BY number LIMIT ?",
                (customer_id, after, self._clock() - self._ttl_seconds, limit),
            ).fetchall()
        return Fetched([Letter(number, text) for number, text in rows])

    def remove(self, removals: Sequence[Removal]) -> None:
        rows = [(number,) for removal in removals for number in removal.numbers]
        if rows:
            self._writes.run(lambda db: db.executemany("DELETE FROM letters WHERE number = ?", rows))

    def leave(self, customer_id: str, *, waiting: bool) -> None:
        """There is only this instance."""

    def clear(self, customer_id: str) -> int:
        with self._statement() as db:
            return db.execute("DELETE FROM letters WHERE customer = ?", (customer_id,)).rowcount

    def pass_on(self, customer_id: str, text: str) -> None:
        """There is only this instance."""

    def expire(self) -> int:
        now = self._clock()
        with self._transaction() as db:
            db.execute("DELETE FROM seen WHERE at < ?", (now - REMEMBER_SECONDS,))
            db.execute("DELETE FROM to_dms WHERE at < ?", (now - REMEMBER_SECONDS,))
        expired = 0
        while True:
            with self._transaction() as db:
                # Numbers grow with time, so the oldest are first, and no index on the time is needed.
                count = db.execute(
                    "DELETE FROM letters WHERE at <= ? AND number IN (SELECT number FROM letters ORDER BY number LIMIT ?)",
                    (now - self._ttl_seconds, _EXPIRE_AT_ONCE),
                ).rowcount
            expired += count
            if count < _EXPIRE_AT_ONCE:
                return expired

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
                (key, now, f"{self._process} {ticket}", now - REMEMBER_SECONDS),
            )
            return Arrival("first", turn=True) if marked.rowcount else self._known(db, key, ticket)

        arrival: Arrival = self._writes.run(work)
        return arrival

    def turn(self, customer_id: str, ticket: str, key: str | None) -> bool:
        return True

    def finish(self, customer_id: str, ticket: str, key: str | None, outcome: str | None) -> None:
        if key is None:
            return
        if outcome is not None:
            self._writes.run(lambda db: db.execute("UPDATE to_dms SET outcome = ? WHERE key = ?", (outcome, key)))
        else:
            self._writes.run(
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

    # The file

    def _in_transaction(self, work: Callable[[sqlite3.Connection], None]) -> None:
        with self._transaction() as db:
            work(db)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All of it is kept, or nothing."""
        with self._statement() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    db.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _statement(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._usable()
            except UnknownFormatError as error:
                if not self._opened:
                    raise
                raise StoreError(str(error)) from error
            except (sqlite3.Error, OSError) as error:
                self._drop()
                raise StoreError(f"SQLite, {self._path or 'in memory'}: {error}{_who_may_not(self._path)}") from error

    def _usable(self) -> sqlite3.Connection:
        if self._db is not None and not self._has_its_name():
            # It would go on taking messages that nobody finds again.
            log.error("the file was deleted or replaced; it is opened anew", file=self._path)
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
            db.execute("PRAGMA journal_mode = WAL")
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
        db.execute("COMMIT")

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


def _who_may_not(path: Path | None) -> str:
    """Where it is rights that are missing: whose."""
    if path is None or not path.parent.is_dir() or os.access(path.parent, os.W_OK | os.X_OK):
        return ""
    return f" (user {os.geteuid()}, group {os.getegid()} may not write in its folder)"
