"""One customer's way to DMS: in order, one at a time, once, or the sender knows.

A state machine without I/O, clock, threads or store. The only order is that of the store's queue; this machine knows which
message of it is being posted here, if any, and what has come in that the store does not have yet. Every input returns the
effects that are to be performed, in their order; a call to the store or a post is an effect, its answer another input.

What has come in is handed to the store in the order in which it came, one call at a time. One instance at a time posts for a
customer. The store hands it the first message of the queue, marked as being posted: a process that dies leaves that one with
an unknown outcome, and all others to whoever goes on. The outcome of a message that another instance posts is looked up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from lchook.core.outbox_effects import (
    Complete,
    Delayed,
    Effect,
    Enqueue,
    Expired,
    Look,
    Phase,
    Post,
    Postpone,
    Queued,
    Report,
    Stored,
    Submission,
    Take,
    Tell,
    TellLater,
    Wait,
)
from lchook.core.outcomes import EXPIRED_OUTCOME, Outcome, outcome_of, too_many
from lchook.core.pending_messages import DELAYED_AFTER_SECONDS, PendingMessages
from lchook.core.retry_policy import PostResult, delay

# How often one looks for what another instance posts: while nothing is posted here, and while something is.
LOOK_AGAIN_SECONDS = 0.5
LOOK_WHILE_POSTING_SECONDS = 5.0


@dataclass(slots=True, eq=False)
class Outbox:
    """One customer, on one instance. Times are seconds of a clock that only goes forward."""

    customer_id: str
    # How long a message may wait for a DMS that has surely not taken it; and one that came in, for a store that fails.
    ttl_seconds: float
    store_patience_seconds: float
    # Messages without an outcome, of clients of this process.
    max_pending: int = 1_000_000
    messages: PendingMessages = field(default_factory=PendingMessages)
    phase: Phase = "idle"
    message: Queued | None = None
    attempts: int = 0
    # When the message was stored.
    stored_at: float = 0.0
    # The process ends: what waits is left to whoever goes on; or, where nobody can, has its last try.
    is_stopping: bool = False
    tries_once: bool = False
    _takes: bool = False
    _looking: bool = False
    _take_again: bool = False
    _is_delayed: bool = False
    _outcome: Outcome | None = None
    _tell_later: bool = False
    _is_told: bool = False
    # When `woken` is to do something: for the first message, and for all else.
    _retry_at: float | None = None
    _look_at: float | None = None

    @property
    def is_idle(self) -> bool:
        """Is there nothing to do here for the customer?"""
        return self.phase == "idle" and not self.messages and not self._looking

    @property
    def is_finishing(self) -> bool:
        """Is there something that must not be broken off?"""
        return bool(self.messages.incoming) or self.phase not in ("idle", "waiting")

    # What comes in

    def submit(self, submission: Submission, now: float) -> list[Effect]:
        """A client sent a message."""
        if len(self.messages) >= self.max_pending:
            return [Tell(submission, too_many(self.max_pending))]
        submission.came_at = now
        self.messages.incoming.append(submission)
        return self._enqueue()

    def enqueued(self, answers: Sequence[Stored], first: Queued | None, now: float) -> list[Effect]:
        """The store has taken the submissions.

        :param first: see `Enqueue`.
        """
        effects: list[Effect] = [*self.messages.enqueued(answers)]
        if self._takes:
            self._takes = False
            effects += self.taken(first, now)
        return [*effects, *self._enqueue(), *self._look_later(now)]

    def enqueue_failed(self, now: float) -> list[Effect]:
        """The store did not take them, or did not say so."""
        patience_seconds = 0.0 if self.is_stopping or self.tries_once else self.store_patience_seconds
        effects: list[Effect] = [*self.messages.enqueue_failed(now, patience_seconds)]
        if self._takes:
            # It may have handed out a message all the same.
            self._takes = False
            effects += self.take_failed(now)
        return [*effects, *self._look_later(now)]

    # What another instance posts

    def looked(self, outcomes: dict[str, Outcome], now: float) -> list[Effect]:
        """What the store knows: outcomes by key; nothing where it does not answer."""
        self._looking = False
        return [*self.messages.looked(outcomes), *self._look_later(now)]

    # The queue

    def take_over(self) -> list[Effect]:
        """The queue may wait for this instance: the one that posted for the customer has ended, or has made place."""
        if self.is_stopping:
            return []
        if self.phase != "idle":
            self._take_again = True
            return []
        self.phase, self._take_again = "taking", False
        return [Take()]

    def taken(self, message: Queued | None, now: float) -> list[Effect]:
        """The first message of the queue; nothing where it is empty, or another instance posts."""
        if self.is_stopping and message is not None:
            self.phase, self.message = "postponing", message
            return [Postpone(message.number, give_up=True)]
        if message is not None:
            return self._post(message, now)
        self._done_with_message()
        again = self.take_over() if self._take_again else []
        return [*again, *self._look_later(now)]

    def take_failed(self, now: float) -> list[Effect]:
        """The store did not answer. It may have marked the message."""
        self.phase = "waiting"
        return self._retry_in(LOOK_AGAIN_SECONDS, now)

    def answered(self, result: PostResult, now: float) -> list[Effect]:
        """What came of the post."""
        message = self.message
        assert message is not None  # noqa: S101  # for the type checker
        if self.is_stopping and result.is_surely_not_taken:
            self.phase = "postponing"
            return [Report(message, result, 0.0), Postpone(message.number, give_up=True)]
        budget_seconds = 0.0 if self.tries_once else self.ttl_seconds
        seconds = delay(self.attempts, result, now - self.stored_at, budget_seconds=budget_seconds)
        report = Report(message, result, seconds)
        if seconds is not None:
            self.phase = "postponing"
            return [report, Postpone(message.number, give_up=False), *self._retry_in(seconds, now)]
        return [report, *self._complete(outcome_of(result, message.message_id))]

    def postponed(self) -> list[Effect]:
        """The store knows that the message is not being posted, or may not know."""
        if self.is_stopping:
            self._done_with_message()
            return []
        self.phase = "waiting"
        return self._take_now() if self.tries_once else []

    def completed(self, first: Queued | None, now: float) -> list[Effect]:
        """The store knows the outcome. `first` is the next message, if this instance is to post it."""
        return [*self._tell(), *self.taken(first, now)]

    def complete_failed(self, now: float) -> list[Effect]:
        """The store may not know the outcome. Those behind wait until it does."""
        return [*self._tell(), *self._retry_in(LOOK_AGAIN_SECONDS, now)]

    def stop(self, *, hands_over: bool = True) -> list[Effect]:
        """The process ends. What is being posted is finished; what waits is left to whoever goes on.

        :param hands_over: whether anybody can go on. Else what waits is posted now, once.
        """
        self.is_stopping, self.tries_once = hands_over, not hands_over
        if self.phase != "waiting":
            return []
        if not hands_over or self.message is None:
            # Where there is no message, the store may have handed one out.
            return self._take_now()
        self.phase = "postponing"
        return [Postpone(self.message.number, give_up=True)]

    # Time

    def woken(self, now: float) -> list[Effect]:
        """The time of a `Wait` is over."""
        effects: list[Effect] = []
        if self._retry_at is not None and now >= self._retry_at:
            self._retry_at = None
            if self.phase == "completing" and self.message is not None and self._outcome is not None:
                effects.append(Complete(self.message, self._outcome, not self.is_stopping, self._tell_later))
            elif self.phase == "waiting" and not self.is_stopping:
                self.phase = "taking"
                effects.append(Take())
            elif self.phase == "waiting":
                self._done_with_message()
            elif self.phase == "postponing":
                effects += self._retry_in(LOOK_AGAIN_SECONDS, now)
        if self._look_at is not None and now >= self._look_at:
            self._look_at = None
            effects += self._enqueue()
            if self.phase == "idle":
                effects += self._look()
            effects += self._look_later(now)
        return effects

    def tick(self, now: float) -> list[Effect]:
        """To be called now and then: what is delayed, and what another instance may have posted meanwhile."""
        effects: list[Effect] = [Delayed(message_id) for message_id in self.messages.newly_delayed(now)]
        message = self.message
        if message is not None and not self._is_delayed and now - self.stored_at >= DELAYED_AFTER_SECONDS:
            self._is_delayed = True
            if not self.messages.has(message.key):
                effects.append(Delayed(message.message_id))
        since = self.messages.stored[0].came_at if self.messages.stored else now
        if self.phase != "idle" and self._look_at is None and now - since >= LOOK_WHILE_POSTING_SECONDS:
            self._look_at = now + LOOK_WHILE_POSTING_SECONDS
            effects += [*self._look(), Wait(LOOK_WHILE_POSTING_SECONDS)]
        return effects

    # Decisions

    def _enqueue(self) -> list[Effect]:
        submissions = self.messages.to_enqueue()
        if not submissions:
            return []
        self._takes = self.phase == "idle" and not self.is_stopping
        if self._takes:
            self.phase = "taking"
        return [Enqueue(submissions, self._takes)]

    def _post(self, message: Queued, now: float) -> list[Effect]:
        if self.message is None or self.message.number != message.number:
            self.attempts, self._is_delayed = 0, False
            self.stored_at = now - message.age_seconds
        self.message = message
        age_seconds = now - self.stored_at
        # One that may not wait at all is tried once all the same.
        if self.ttl_seconds and age_seconds > self.ttl_seconds:
            expired = Outcome("failed", message.message_id, None, EXPIRED_OUTCOME)
            return [Expired(message, age_seconds), *self._complete(expired)]
        self.phase = "posting"
        self.attempts += 1
        return [Post(message)]

    def _complete(self, outcome: Outcome) -> list[Effect]:
        message = self.message
        assert message is not None  # noqa: S101  # for the type checker
        self.phase, self._outcome, self._is_told = "completing", outcome, False
        self._tell_later = not self.messages.has(message.key)
        return [Complete(message, outcome, not self.is_stopping, self._tell_later)]

    def _take_now(self) -> list[Effect]:
        self.phase, self._retry_at = "taking", None
        return [Take()]

    def _done_with_message(self) -> None:
        self.phase, self.message, self._outcome = "idle", None, None

    def _tell(self) -> list[Effect]:
        message, outcome = self.message, self._outcome
        if self._is_told or message is None or outcome is None:
            return []
        self._is_told = True
        return [*self.messages.tell(message.key, outcome)] or [TellLater(message, outcome)]

    def _look(self) -> list[Effect]:
        if not self.messages.stored or self._looking:
            return []
        self._looking = True
        return [Look([submission.key for submission in self.messages.stored])]

    def _retry_in(self, seconds: float, now: float) -> list[Effect]:
        self._retry_at = now + seconds
        return [Wait(seconds)]

    def _look_later(self, now: float) -> list[Effect]:
        """Something waits for the store, or for another instance: look again, if nobody tells."""
        waits_here = bool(self.messages.incoming) and not self.messages.enqueuing
        waits_elsewhere = bool(self.messages.stored) and self.phase == "idle" and not self._looking
        if not (waits_here or waits_elsewhere) or (self._look_at is not None and self._look_at <= now + LOOK_AGAIN_SECONDS):
            return []
        self._look_at = now + LOOK_AGAIN_SECONDS
        return [Wait(LOOK_AGAIN_SECONDS)]
