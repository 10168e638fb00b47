"""The outbox in Redis: what customers said and DMS has not, and what became of the rest, for any number of instances."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from lchook.core.outbox_effects import Queued, Stored, Submission
from lchook.core.outcomes import LOST_OUTCOME, UNKNOWN_OUTCOME, Outcome, too_many
from lchook.store import KEEP_STATUS_SECONDS, REMEMBER_SECONDS, REMEMBER_SENT_SECONDS, Enqueued, OutboxBacklog, Taken
from lchook.store.redis_conversation import RedisConversation

# When Redis was away for long, all instances seem dead. They say that they are not within a second.
_BACK_SECONDS = 3.0
# What `take` in Lua wants to know: the outcome of what a dead instance was posting, and how long it and its status are kept.
_TAKE = (Outcome("failed", error=UNKNOWN_OUTCOME).as_text(), REMEMBER_SECONDS, KEEP_STATUS_SECONDS)
_LOST = Outcome("failed", error=LOST_OUTCOME)
_FULL = Outcome("rejected", error="too many messages of all customers are waiting: try again later")


class RedisOutbox(RedisConversation):
    """Each customer's queue to DMS, and the outcomes that are remembered."""

    outlives_process = is_shared = True

    def __init__(self, *args: Any, max_queue_length: int = 100, outbox_size: int = 100_000, **options: Any) -> None:
        """:param max_queue_length: messages of one customer that may wait. :param outbox_size: of all of them together.
        The rest is `RedisConversation`'s.
        """
        super().__init__(*args, **options)
        self._max_queue_length = max_queue_length
        self._outbox_size = outbox_size
        # When Redis was back after it was away.
        self._back_at = 0.0

    def enqueue(self, customer_id: str, submissions: Sequence[Submission], *, take: bool) -> Enqueued:
        parts = [
            part
            for each in submissions
            for part in (each.ticket, each.key, json.dumps(each.message_id), each.type, each.body)
        ]
        bounds = (self._max_queue_length, self._outbox_size, REMEMBER_SENT_SECONDS)
        claims = int(any(each.claims for each in submissions))
        words = (int(take), *bounds, *_TAKE, claims, *self._conversation_bounds, *parts)
        result = self._run_and_tell(customer_id, "enqueue", *words)
        if isinstance(result, str):
            [each] = submissions
            ticket = f"{self._instance} {each.ticket}"
            queued = Queued(int(result), each.key, each.message_id, each.body, each.type, ticket)
            return Enqueued([Stored("queued")], Taken(queued))
        answers, taken, statuses = result
        pairs = zip(answers[::2], answers[1::2], strict=True)
        return Enqueued([self._stored(state, rest) for state, rest in pairs], _taken(taken), statuses)

    def take(self, customer_id: str) -> Taken:
        return _taken(self._run_and_tell(customer_id, "take", *_TAKE))

    def postpone(self, customer_id: str, number: int, *, give_up: bool) -> None:
        self._run("postpone", customer_id, number, int(give_up))

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
        told = (message.number, outcome.as_text(), int(remember_seconds))
        names = (message.ticket, message.key, json.dumps(message.message_id))
        return _taken(self._run_and_tell(customer_id, "complete", *told, int(take), int(tell_later), *_TAKE, *names))

    def look(self, customer_id: str, keys: Sequence[str]) -> dict[str, Outcome]:
        answers = self._run("look", *keys)
        known = {key: self._stored(state, rest) for key, state, rest in zip(keys, answers[::2], answers[1::2], strict=True)}
        return {key: stored.outcome for key, stored in known.items() if stored.outcome is not None}

    def orphans(self, limit: int) -> list[str]:
        if time.monotonic() - self._back_at < _BACK_SECONDS:
            return []
        return list(self._run("orphans", limit))

    def add_status(self, customer_id: str, text: str) -> None:
        self._run("add_status", customer_id, text, KEEP_STATUS_SECONDS)

    def take_statuses(self, customer_id: str) -> list[str]:
        return list(self._run("take_statuses", customer_id))

    def outbox_backlog(self) -> OutboxBacklog:
        messages, oldest_milliseconds = self._run("outbox_backlog")
        return OutboxBacklog(max(0, int(messages)), max(0.0, int(oldest_milliseconds) / 1000))

    def _stored(self, state: str, rest: str) -> Stored:
        if state == "done":
            return Stored("done", Outcome.from_text(rest))
        if state == "lost":
            return Stored("done", _LOST)
        if state == "full":
            return Stored("full", too_many(self._max_queue_length) if rest == "customer" else _FULL)
        return Stored("queued" if state == "queued" else "pending")


def _taken(answer: Any) -> Taken:
    if not answer:
        return Taken()
    first, unknown = answer
    return Taken(_queued(first), [message for message in [_queued(unknown)] if message is not None])


def _queued(entry: Any) -> Queued | None:
    if not entry:
        return None
    number, age_milliseconds, ticket, key, message_id, kind, body = entry
    age_seconds = max(0.0, int(age_milliseconds) / 1000)
    return Queued(int(number), key, json.loads(message_id), body, kind, ticket, age_seconds)
