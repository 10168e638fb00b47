"""The flow to DMS: a customer's messages, one at a time and in the order in which they came in, once, or the sender knows.

What is to be done is decided by `core/outbox.py`, one for each customer of whom something is under way. This performs it:
calls to the store, posts, outcomes. Effects of one customer are performed one after the other, by whoever brought the input,
and none of them under the lock; posts have tasks of their own, so that messages are stored meanwhile. Customers do not wait
for each other. What a process that ended has left in the store is looked for once a second.

Typing indicators wait for messages, and no message waits for them: `typing_to_dms.py`. Knows nothing of connections.
"""

from __future__ import annotations

import itertools
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lchook.core import events
from lchook.core.messages import TYPING, MessageToDms
from lchook.core.outbox import Outbox
from lchook.core.outbox_effects import (
    Complete,
    Delayed,
    Effect,
    Enqueue,
    Expired,
    Look,
    Post,
    Postpone,
    Queued,
    Report,
    Submission,
    Take,
    Tell,
    TellLater,
)
from lchook.core.outcomes import EXPIRED_OUTCOME, Outcome, outcome_of
from lchook.flows.dms_posts import DmsPosts, log_result
from lchook.flows.outbox_calls import OutboxCalls, Step
from lchook.flows.reused_ids import ReusedIds
from lchook.flows.statuses import Customers, Done, Statuses
from lchook.flows.typing_to_dms import TypingToDms
from lchook.locks import DecisionLock
from lchook.logs import Log
from lchook.store import Store, StoreError

log = Log(__name__)

# Customers whose messages are taken over at once, from a process that ended.
_MAX_ORPHANS = 500
_SWEEP_SECONDS = 1.0
# What is counted of messages that waited; docs/operations.md says what each means.
EVENTS = (
    *("tried_again", "delayed", "expired", "unknown", "taken_over", "told_later"),
    *("sent_without_sender", "failed_without_sender"),
)

StartTask = Callable[..., object]


@dataclass(slots=True, eq=False)
class _Queue:
    """A customer's outbox, and the effects that are still to be performed."""

    outbox: Outbox
    effects: list[Effect] = field(default_factory=list)
    # Somebody is at it.
    is_performing: bool = False


class ToDms:
    """Takes messages and tells their outcome. Call from anywhere."""

    def __init__(
        self,
        posts: DmsPosts,
        store: Store,
        customers: Customers,
        *,
        start_task: StartTask,
        max_queue_length: int,
        ttl_seconds: float,
        store_patience_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """:param start_task: starts a function with its arguments in a greenlet or thread of its own.
        :param ttl_seconds: for how long a message waits for a DMS that has surely not taken it.
        :param store_patience_seconds: for how long one that came in waits for a store that fails.
        """
        self._posts = posts
        self._store = store
        self._start_task = start_task
        self._max_queue_length = max_queue_length
        self._ttl_seconds = ttl_seconds
        self._store_patience_seconds = store_patience_seconds
        self._clock = clock
        # Held while an outbox decides, and never while anything is performed.
        self._lock = DecisionLock()
        self._queues: dict[str, _Queue] = {}
        self._name = uuid.uuid4().hex[:12]
        self._tickets = itertools.count(1)
        self._reused_ids = ReusedIds()
        self._stopping = False
        self._next_sweep = 0.0
        self._typing = TypingToDms(self._post_typing, self._drop_typing, self._queues.__contains__, start_task)
        # What happened, for those who run it.
        self.counts: Counter[str] = Counter(dict.fromkeys(EVENTS, 0))
        self._statuses = Statuses(store, customers, self.counts)
        self._calls = OutboxCalls(store, self._statuses, self.counts, clock)
        self._perform: dict[type, Callable[[str, Any], Step | None]] = {
            Enqueue: self._calls.enqueue,
            Take: self._calls.take,
            Post: self._start_post,
            Report: self._report,
            Expired: self._expired,
            Postpone: self._calls.postpone,
            Complete: self._calls.complete,
            Look: self._calls.look,
            Tell: self._statuses.tell_sender,
            TellLater: self._statuses.has_no_sender,
            Delayed: self._statuses.delayed,
        }

    def submit(self, message: MessageToDms, done: Done, *, claims: bool = True) -> None:
        """Take a message; `done` is called once with the outcome, from anywhere. Waits for the store, not for DMS.

        :param claims: the customer is reached on the connection that it came on from now on.
        """
        if self._stopping and (message.type == TYPING or not self._store.outlives_process):
            done(Outcome("rejected", error="this instance is stopping: connect again and repeat the message"))
            return
        if message.type == TYPING:
            self._typing.submit(message, done)
            return
        if self._reused_ids.notices(message):
            log.warning(
                events.MESSAGE_ID_REUSED,
                customer=message.customer_id,
                message=message.message_id,
                type=message.type,
            )
        ticket = str(next(self._tickets))
        key = message.key or f"{self._name} {ticket}"
        submission = Submission(key, ticket, message.message_id, message.body.decode(), message.type, done, claims=claims)
        now = self._clock()
        self._typing.message_comes(message.customer_id)
        self._input(message.customer_id, lambda outbox: outbox.submit(submission, now), create=True)

    def tick(self) -> None:
        """Look after what time brings: second tries, delays, typing indicators that waited too long."""
        self._typing.tick()
        now = self._clock()
        for customer_id in list(self._queues):
            self._input(customer_id, lambda outbox: [*outbox.woken(now), *outbox.tick(now)], aside=True)

    def sweep(self) -> None:
        """Look for messages that nobody posts, once a second: a process that ended has left them. Waits for the store."""
        now = self._clock()
        if self._stopping or now < self._next_sweep:
            return
        self._next_sweep = now + _SWEEP_SECONDS
        try:
            orphans = self._store.orphans(_MAX_ORPHANS)
        except StoreError:
            # The log says so wherever a message meets it.
            return
        if orphans:
            log.warning(events.OUTBOX_TAKEN_OVER, customers=len(orphans))
        for customer_id in orphans:
            self.counts["taken_over"] += 1
            self._input(customer_id, Outbox.take_over, create=True, aside=True)

    def deliver_statuses(self, customer_id: str) -> None:
        """The customer has a connection: tell what became of messages whose senders could not be told."""
        self._statuses.deliver(customer_id)

    def stop(self) -> None:
        """The process ends: what is being posted is finished, and what waits is left to whoever goes on."""
        self._stopping = True
        hands_over = self._store.outlives_process
        for customer_id in list(self._queues):
            self._input(customer_id, lambda outbox: outbox.stop(hands_over=hands_over), aside=True)

    def pending(self) -> int:
        """How many messages of clients of this process have no outcome yet."""
        return sum(len(queue.outbox.messages) for queue in list(self._queues.values())) + self._typing.under_way()

    def unfinished(self) -> int:
        """For how many customers there is something that must not be broken off when the process ends."""
        queues = list(self._queues.values())
        if not self._store.outlives_process:
            return len(queues) + self._typing.under_way()
        return sum(queue.is_performing or queue.outbox.is_finishing for queue in queues) + self._typing.under_way()

    # Inputs and effects

    def _input(self, customer_id: str, step: Step, *, create: bool = False, aside: bool = False) -> None:
        """Let the customer's outbox decide, and perform what it says, unless somebody is at it.

        :param aside: perform it in a task of its own.
        """
        with self._lock:
            queue = self._queues.get(customer_id)
            if queue is None:
                if not create:
                    return
                queue = self._queues[customer_id] = _Queue(self._new_outbox(customer_id))
            queue.effects += step(queue.outbox)
            if queue.is_performing:
                return
            queue.is_performing = performs = bool(queue.effects)
            is_forgotten = not performs and self._forget_if_idle(customer_id, queue)
        if not performs:
            if is_forgotten:
                self._typing.may_go(customer_id)
        elif aside:
            self._start_task(self._perform_all, customer_id, queue)
        else:
            self._perform_all(customer_id, queue)

    def _new_outbox(self, customer_id: str) -> Outbox:
        outbox = Outbox(customer_id, self._ttl_seconds, self._store_patience_seconds, self._max_queue_length)
        if self._stopping:
            outbox.stop(hands_over=self._store.outlives_process)
        return outbox

    def _perform_all(self, customer_id: str, queue: _Queue) -> None:
        steps: list[Step] = []
        while True:
            with self._lock:
                for step in steps:
                    queue.effects += step(queue.outbox)
                effects, queue.effects = queue.effects, []
                if not effects:
                    queue.is_performing = False
                    is_forgotten = self._forget_if_idle(customer_id, queue)
                    break
            steps = []
            for effect in effects:
                # Of a `Wait`, the outbox itself knows when it is over: see `tick`.
                perform = self._perform.get(type(effect))
                if perform is not None and (answer := perform(customer_id, effect)) is not None:
                    steps.append(answer)
        if is_forgotten:
            self._typing.may_go(customer_id)

    def _forget_if_idle(self, customer_id: str, queue: _Queue) -> bool:
        if queue.outbox.phase != "idle" or not queue.outbox.is_idle or self._queues.get(customer_id) is not queue:
            return False
        del self._queues[customer_id]
        return True

    # Posts

    def _start_post(self, customer_id: str, effect: Post) -> None:
        self._start_task(self._post, customer_id, effect.message)

    def _post(self, customer_id: str, message: Queued) -> None:
        result = self._posts.post(customer_id, message.message_id, message.body.encode())
        self._input(customer_id, lambda outbox: outbox.answered(result, self._clock()))

    def _report(self, customer_id: str, effect: Report) -> None:
        if effect.retry_seconds is None:
            log_result(customer_id, effect.message.message_id, effect.result)
            return
        self.counts["tried_again"] += 1
        log.info(
            events.DMS_NOT_TAKEN_YET,
            customer=customer_id,
            message=effect.message.message_id,
            dms_status=effect.result.status,
            reason=effect.result.error or effect.result.detail,
            again_in_seconds=round(effect.retry_seconds, 1),
        )

    def _expired(self, customer_id: str, effect: Expired) -> None:
        self.counts["expired"] += 1
        log.error(
            events.DMS_FAILED,
            customer=customer_id,
            message=effect.message.message_id,
            reason=EXPIRED_OUTCOME,
            waited_seconds=round(effect.age_seconds),
        )

    def _post_typing(self, message: MessageToDms, all_done: list[Done]) -> None:
        result = self._posts.post(message.customer_id, message.message_id, message.body, briefly=True)
        log_result(message.customer_id, message.message_id, result)
        outcome = outcome_of(result, message.message_id)
        for done in all_done:
            self._statuses.tell(message.customer_id, done, outcome)

    def _drop_typing(self, message: MessageToDms, all_done: list[Done]) -> None:
        log.info(events.TYPING_DROPPED, customer=message.customer_id, message=message.message_id)
        outcome = Outcome("failed", message.message_id, None, "not sent: a message was on its way", is_quiet=True)
        for done in all_done:
            self._statuses.tell(message.customer_id, done, outcome)
