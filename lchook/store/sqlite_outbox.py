"""The outbox in SQLite: what customers said and DMS has not, and what became of the rest. Runs in `SqliteFile`'s
transactions.

One process posts for a customer; of those that share a file (two for a moment, where one replaces the other) `processes.py`
knows which are alive.
"""

from __future__ import annotations

import functools
import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from lchook.core.outbox_effects import Queued, Stored, Submission
from lchook.core.outcomes import LOST_OUTCOME, UNKNOWN_OUTCOME, Outcome, message_status, too_many
from lchook.store import (
    KEEP_STATUS_SECONDS,
    REMEMBER_SECONDS,
    REMEMBER_SENT_SECONDS,
    Enqueued,
    OutboxBacklog,
    Taken,
)
from lchook.store.sqlite_statuses import SqliteStatuses

# About 150 MB, and ten messages a second all day. Where there are more, the oldest are forgotten sooner.
_MAX_OUTCOMES = 1_000_000
_FORGET_AT_ONCE = 1000
_UNKNOWN = Outcome("failed", error=UNKNOWN_OUTCOME)
_LOST = Outcome("failed", error=LOST_OUTCOME)
_FULL = Outcome("rejected", error="too many messages of all customers are waiting: try again later")
_OUTCOME = "SELECT coalesce(outcome, '') FROM to_dms WHERE key = ? AND at >= ?"
_COLUMNS = "number, key, message_id, body, type, ticket, at"


class SqliteOutbox(SqliteStatuses):
    """Each customer's queue to DMS, and the outcomes that are remembered."""

    is_shared = False

    def __init__(self, *args: Any, max_queue_length: int = 100, outbox_size: int = 100_000, **options: Any) -> None:
        """:param max_queue_length: messages of one customer that may wait. :param outbox_size: of all of them together.
        The rest is `SqliteStatuses`'s.
        """
        super().__init__(*args, **options)
        self._max_queue_length = max_queue_length
        self._outbox_size = outbox_size
        self.outlives_process = self._path is not None
        # How many outcomes are remembered and how many messages wait, nearly: to count them takes long.
        self._outcomes = self._waiting = 0
        self._last_number = 0

    def enqueue(self, customer_id: str, submissions: Sequence[Submission], *, take: bool) -> Enqueued:
        now = self._clock()

        def work(db: sqlite3.Connection) -> Enqueued:
            # What is known of the first one along with it: usually there is one.
            before, last, first = db.execute(
                f"SELECT count(*), (SELECT max(number) FROM outbox), ({_OUTCOME}) FROM outbox WHERE customer = ?",  # noqa: S608
                (submissions[0].key, now - REMEMBER_SENT_SECONDS, customer_id),
            ).fetchone()
            self._last_number = max(self._last_number, last or 0, int(now * 1e6))
            answers, count, alone = [], before, None
            for place, submission in enumerate(submissions):
                answer = self._done(first) if place == 0 else self._outcome(db, submission.key, now)
                if answer is None and count:
                    answer = self._queued(db, customer_id, submission.key, self._ticket(submission))
                if answer is None and (full := self._is_full(count)) is not None:
                    answer = Stored("full", full)
                if answer is None:
                    queued = self._insert(db, customer_id, submission, now, is_first=count == 0, take=take)
                    answer, count, alone = Stored("queued"), count + 1, queued if count == 0 else None
                answers.append(answer)
            taken = Taken(alone) if take and alone is not None else self._take(db, customer_id, now) if take else Taken()
            # Those that another process has kept are seen when the customer connects.
            for_sender = self._kept_statuses and any(submission.claims for submission in submissions)
            return Enqueued(answers, taken, self._statuses(db, customer_id, now) if for_sender else ())

        enqueued: Enqueued = self._run_and_tell(customer_id, work)
        return enqueued

    def take(self, customer_id: str) -> Taken:
        now = self._clock()
        taken: Taken = self._run_and_tell(customer_id, lambda db: self._take(db, customer_id, now))
        return taken

    def postpone(self, customer_id: str, number: int, *, give_up: bool) -> None:
        me = self._processes.me
        self._run(
            lambda db: db.execute(
                "UPDATE outbox SET is_posted = 0, poster = ? WHERE number = ? AND poster = ?",
                ("" if give_up else me, number, me),
            )
        )

    def complete(
        self,
        customer_id: str,
        message: Queued,
        outcome: Outcome,
        *,
        take: bool,
        tell_later: bool,
        remember_seconds: float,
    ) -> Taken:
        now, me = self._clock(), self._processes.me

        def work(db: sqlite3.Connection) -> Taken:
            mine = db.execute("DELETE FROM outbox WHERE number = ? AND poster = ?", (message.number, me)).rowcount
            if mine:
                self._waiting -= 1
                self._remember(db, customer_id, message, outcome, now, remember_seconds, tell_later=tell_later)
            if take:
                return self._take(db, customer_id, now)
            db.execute(
                "UPDATE outbox SET poster = '', is_posted = 0 WHERE coalesce(poster, ?) = ?"
                " AND number = (SELECT min(number) FROM outbox WHERE customer = ?)",
                (me, me, customer_id),
            )
            return Taken()

        taken: Taken = self._run_and_tell(customer_id, work)
        return taken

    def look(self, customer_id: str, keys: Sequence[str]) -> dict[str, Outcome]:
        now = self._clock()

        def work(db: sqlite3.Connection) -> dict[str, Outcome]:
            known = {
                key: self._outcome(db, key, now) or self._queued(db, customer_id, key) or Stored("done", _LOST)
                for key in keys
            }
            return {key: stored.outcome for key, stored in known.items() if stored.outcome is not None}

        outcomes: dict[str, Outcome] = self._run(work, writes=False)
        return outcomes

    def orphans(self, limit: int) -> list[str]:
        def work(db: sqlite3.Connection) -> list[str]:
            customers: list[str] = []
            poster: str | None = ""
            # From one to the next in the index: there are few posters, and maybe many customers.
            while poster is not None and len(customers) < limit:
                if not self._processes.lives(poster):
                    rows = db.execute("SELECT customer FROM outbox WHERE poster = ? LIMIT ?", (poster, limit))
                    customers += [customer for (customer,) in rows]
                (poster,) = db.execute("SELECT min(poster) FROM outbox WHERE poster > ?", (poster,)).fetchone()
            return customers[:limit]

        customers: list[str] = self._run(work, writes=False)
        return customers

    def outbox_backlog(self) -> OutboxBacklog:
        def work(db: sqlite3.Connection) -> tuple[int, float | None]:
            (count,) = db.execute("SELECT count(*) FROM outbox").fetchone()
            first = db.execute("SELECT at FROM outbox ORDER BY number LIMIT 1").fetchone()
            return count, first[0] if first else None

        count, oldest = self._run(work, writes=False)
        return OutboxBacklog(count, max(0.0, self._clock() - oldest) if oldest is not None else 0.0)

    # Within a transaction

    def _connected(self, db: sqlite3.Connection) -> None:
        self._count(db)

    def _count(self, db: sqlite3.Connection) -> None:
        (self._outcomes,) = db.execute("SELECT count(*) FROM to_dms").fetchone()
        (self._waiting,) = db.execute("SELECT count(*) FROM outbox").fetchone()
        (self._kept_statuses,) = db.execute("SELECT count(*) FROM statuses").fetchone()

    def _is_full(self, count: int) -> Outcome | None:
        if count >= self._max_queue_length:
            return too_many(self._max_queue_length)
        return _FULL if self._waiting >= self._outbox_size else None

    def _outcome(self, db: sqlite3.Connection, key: str, now: float) -> Stored | None:
        """What became of a message, where that is known."""
        row = db.execute(_OUTCOME, (key, now - REMEMBER_SENT_SECONDS)).fetchone()
        return self._done(row[0]) if row is not None else None

    def _done(self, outcome: str | None) -> Stored | None:
        # Without an outcome it is a process's of the version before, which has no outbox.
        return None if outcome is None else Stored("done", Outcome.from_text(outcome) if outcome else _LOST)

    def _queued(self, db: sqlite3.Connection, customer_id: str, key: str, ticket: str = "") -> Stored | None:
        """Does a message wait?"""
        row = db.execute("SELECT ticket FROM outbox WHERE customer = ? AND key = ?", (customer_id, key)).fetchone()
        return None if row is None else Stored("queued" if row[0] == ticket else "pending")

    def _insert(
        self, db: sqlite3.Connection, customer_id: str, submission: Submission, now: float, *, is_first: bool, take: bool
    ) -> Queued:
        self._last_number += 1
        self._waiting += 1
        ticket = self._ticket(submission)
        poster = None if not is_first else self._processes.me if take else ""
        number = submission.message_id
        message_id = str(number) if type(number) is int else json.dumps(number)
        db.execute(
            "INSERT INTO outbox VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(self._last_number, customer_id, now, submission.key, ticket, message_id, submission.type),
                *(submission.body, poster, int(bool(poster))),
            ),
        )
        if self._keeps_conversation:
            self._append(db, customer_id, submission.body, now, at=now, outbox=self._last_number)
        return Queued(self._last_number, submission.key, submission.message_id, submission.body, submission.type, ticket)

    def _ticket(self, submission: Submission) -> str:
        return f"{self._processes.me} {submission.ticket}"

    def _take(self, db: sqlite3.Connection, customer_id: str, now: float) -> Taken:
        unknown: list[Queued] = []
        while True:
            row = db.execute(
                f"SELECT poster, is_posted, {_COLUMNS} FROM outbox WHERE customer = ? ORDER BY number LIMIT 1",  # noqa: S608
                (customer_id,),
            ).fetchone()
            if row is None:
                return Taken(None, unknown)
            poster, is_posted, number, key, message_id, body, kind, ticket, at = row
            message = Queued(number, key, json.loads(message_id), body, kind, ticket, max(0.0, now - at))
            if poster and poster != self._processes.me:
                if self._processes.lives(poster):
                    return Taken(None, unknown)
                if is_posted:
                    db.execute("DELETE FROM outbox WHERE number = ?", (number,))
                    self._waiting -= 1
                    self._remember(db, customer_id, message, _UNKNOWN, now, REMEMBER_SECONDS, tell_later=True)
                    unknown.append(message)
                    continue
            if poster != self._processes.me or not is_posted:
                db.execute("UPDATE outbox SET poster = ?, is_posted = 1 WHERE number = ?", (self._processes.me, number))
            return Taken(message, unknown)

    def _remember(
        self,
        db: sqlite3.Connection,
        customer_id: str,
        message: Queued,
        outcome: Outcome,
        now: float,
        seconds: float,
        *,
        tell_later: bool,
    ) -> None:
        """Of a message that has just been taken out of the queue."""
        self._outcomes += 1
        db.execute(
            "INSERT INTO to_dms VALUES (?, ?, ?, ?)"
            " ON CONFLICT (key) DO UPDATE SET at = excluded.at, process = excluded.process, outcome = excluded.outcome",
            (message.key, now - REMEMBER_SENT_SECONDS + seconds, customer_id, outcome.as_text()),
        )
        if self._keeps_conversation:
            has_id = message.message_id is not None
            text = message_status(message.message_id, outcome) if has_id else outcome.as_text()
            self._has_outcome(db, customer_id, message.number, text, now)
        if not tell_later or message.message_id is None:
            return
        origin = message.ticket.partition(" ")[0]
        if origin == self._processes.me or not self._processes.lives(origin):
            self._add_status(db, customer_id, message_status(message.message_id, outcome), now)

    # What is forgotten

    def _forget_outcomes(self) -> None:
        now = self._clock()
        self._run(self._count, writes=False)
        self._run(lambda db: db.execute("DELETE FROM statuses WHERE at <= ?", (now - KEEP_STATUS_SECONDS,)))
        count = _FORGET_AT_ONCE
        while count == _FORGET_AT_ONCE:
            seconds = REMEMBER_SENT_SECONDS if self._outcomes <= _MAX_OUTCOMES else REMEMBER_SECONDS
            count = self._run(functools.partial(self._forget_some, before=now - seconds))

    def _forget_some(self, db: sqlite3.Connection, before: float) -> int:
        count = db.execute(
            "DELETE FROM to_dms WHERE key IN (SELECT key FROM to_dms WHERE at < ? ORDER BY at LIMIT ?)",
            (before, _FORGET_AT_ONCE),
        ).rowcount
        self._outcomes -= count
        return count
