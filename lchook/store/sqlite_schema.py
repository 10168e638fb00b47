"""The tables of the SQLite store, and how files of earlier versions get them. Runs aside: no locks, no log."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from lchook.core.outcomes import UNKNOWN_OUTCOME, Outcome
from lchook.store import REMEMBER_SECONDS, REMEMBER_SENT_SECONDS, UnknownFormatError

FORMAT = 3
# letters: the mailboxes. seen: webhooks that need not be kept again.
# to_dms: what became of clients' messages, by key. `at` is when they had their outcome, or so much earlier that all are
# forgotten a day after it. `process` is the customer's id, so that they can be forgotten; '' in rows of the version before.
_FORMAT_1 = """
CREATE TABLE letters (
    number INTEGER PRIMARY KEY AUTOINCREMENT, customer TEXT NOT NULL, at REAL NOT NULL, text TEXT NOT NULL
);
CREATE INDEX letters_of_customer ON letters (customer, number);
CREATE TABLE seen (fingerprint TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE to_dms (key TEXT PRIMARY KEY, at REAL NOT NULL, process TEXT NOT NULL, outcome TEXT) WITHOUT ROWID;
"""
# outbox: `ticket` begins with the process that took the message. The first message of each customer, and no other, has a
# `poster`: the process that posts for the customer, or '' where none does.
# statuses: what is to be told to customers when they connect.
_FORMAT_2 = """
CREATE TABLE outbox (
    number INTEGER PRIMARY KEY, customer TEXT NOT NULL, at REAL NOT NULL, key TEXT NOT NULL, ticket TEXT NOT NULL,
    message_id TEXT NOT NULL, type TEXT NOT NULL, body TEXT NOT NULL, poster TEXT, is_posted INTEGER NOT NULL
);
CREATE INDEX outbox_of_customer ON outbox (customer, number);
CREATE INDEX outbox_by_poster ON outbox (poster) WHERE poster IS NOT NULL;
CREATE TABLE statuses (number INTEGER PRIMARY KEY, customer TEXT NOT NULL, at REAL NOT NULL, text TEXT NOT NULL);
CREATE INDEX statuses_of_customer ON statuses (customer);
"""
# conversation: what both sides said. `number` grows within a customer's, with the time in microseconds, and so does
# `changed`, given when `outcome` comes. `ordinal` counts a customer's entries: to keep so many costs the same however many
# there are. `queued`: its number in the mailbox, if DMS said it; `outbox`: its number there, while it waits.
_FORMAT_3 = """
CREATE TABLE conversation (
    customer TEXT NOT NULL, number INTEGER NOT NULL, ordinal INTEGER NOT NULL, at REAL NOT NULL, queued INTEGER,
    outbox INTEGER, changed INTEGER, outcome TEXT NOT NULL, payload TEXT NOT NULL
);
CREATE UNIQUE INDEX conversation_of_customer ON conversation (customer, number);
CREATE INDEX conversation_changes ON conversation (customer, changed) WHERE changed IS NOT NULL;
CREATE INDEX conversation_in_outbox ON conversation (outbox) WHERE outbox IS NOT NULL
"""
# So that what is forgotten is found among a day's messages. The first files had no such index.
_INDEX = "CREATE INDEX IF NOT EXISTS to_dms_by_time ON to_dms (at)"


def migrate(db: sqlite3.Connection, path: Path | None, now: float) -> None:
    """Make the tables, or add to those of an earlier version what they lack.

    :raises UnknownFormatError: where this version must not touch what is there.
    """
    if _version(db) == FORMAT:
        # Without a lock, which another process may hold.
        return
    db.execute("BEGIN IMMEDIATE")
    version = _version(db)
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if version == 0 and tables == 0:
        _run(db, _FORMAT_1)
        # A file that takes the place of one that was deleted must not number its messages as that one did.
        db.execute("INSERT INTO sqlite_sequence VALUES ('letters', ?)", (time.time_ns() // 1000,))
    elif version not in (1, 2, FORMAT):
        db.execute("ROLLBACK")
        raise UnknownFormatError(
            f"{path} has format {version}, and this version of LCH knows format {FORMAT}: "
            "start the version that wrote it, or name another file in STORE_URL"
        )
    if version < 2:
        _run(db, _FORMAT_2)
        # What a process of the version before was posting when it ended.
        db.execute(
            "UPDATE to_dms SET outcome = ?, process = '', at = ? WHERE outcome IS NULL",
            (Outcome("failed", error=UNKNOWN_OUTCOME).as_text(), now - REMEMBER_SENT_SECONDS + REMEMBER_SECONDS),
        )
        db.execute(_INDEX)
    if version < FORMAT:
        # A process of the version before may still use the file: only new tables, and the old ones as they were.
        _run(db, _FORMAT_3)
        db.execute(f"PRAGMA user_version = {FORMAT}")
    db.execute("COMMIT")


def _version(db: sqlite3.Connection) -> int:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return int(version)


def _run(db: sqlite3.Connection, statements: str) -> None:
    for statement in statements.split(";"):
        db.execute(statement)
