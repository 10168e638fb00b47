"""One customer's way to DMS: in order, one at a time, once, or the sender knows.

A state machine without I/O, clock, threads or store. The only order is that of the store's queue; this machine knows which
message of it is being posted here, if any, and what has come in that the store does not have yet. Every input returns the
effects that are to be performed, in their order; a call to the store or a post is an effect, its answer another input.

What has come in is handed to the store in the order in which it came, one call at a time. One instance at a time posts for a
customer. The store hands it the first message of the queue, marked as being posted: a process that dies leaves that one with
an unknown outcome, and all others to whoever goes on. The outcome of a message that another instance posts is looked up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from lchook.core.retry_policy import PostResult, delay

# After this long without an outcome the sender is told that the message is delayed.
DELAYED_AFTER_SECONDS = 5.0
# How often one looks for the outcome of a message that another instance has.
LOOK_AGAIN_SECONDS = 0.5
UNKNOWN_OUTCOME = "unknown: DMS may have it"

OutcomeStatus = Literal["sent", "failed", "rejected"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a message. `dms_status` is DMS's last HTTP status, `error` says in words why it failed."""

    status: OutcomeStatus
    message_id: str | int | float | None = None
    dms_status: int | None = None
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The acknowledgement as clients get it."""
        if self.status == "sent":
            return {"status": "sent", "message_id": self.message_id, "dms_status": self.dms_status}
        if self.status == "rejected":
            return {"status": "rejected", "error": self.error}
        return {
            "status": "failed",
            "message_id": self.message_id,
            "dms_status": self.dms_status,
            "error": self.error,
        }


@dataclass(slots=True, eq=False)
class Submission:
    """A message that a client of this process sent.

    `key` is equal for repeats of one message, and of no other where repeats cannot be recognised. `ticket` is equal for no
    two submissions: by it the store recognises one that it has taken. `sender` is what the flow tells the outcome by.
    """

    key: str
    ticket: str
    message_id: str | int | float | None
    body: str
    sender: Any = None
    came_at: float = 0.0


class Queued(NamedTuple):
    """A message in the store's queue. `age_seconds`: since it was stored."""

    number: int
    key: str
    message_id: str | int | float | None
    body: str
    age_seconds: float = 0.0


class Stored(NamedTuple):
    """What the store says of a submission.

    `queued`: it has its place. `pending`: it is a repeat of one that has no outcome yet. `done`: `outcome` says which
    outcome it or the one it repeats has. `full`: there is no room for it.
    """

    state: Literal["queued", "pending", "done", "full"]
    outcome: Outcome | None = None


# Effects


class Enqueue(NamedTuple):
    """Store the submissions, in this order. Answer: `enqueued` or `enqueue_failed`.

    `take`: hand out the first message of the queue in the same step, if this instance may post it.
    """

    submissions: Sequence[Submission]
    take: bool


class Take(NamedTuple):
    """Ask for the first message of the queue, if this instance may post it. Answer: `taken` or `take_failed`."""


class Post(NamedTuple):
    """Post to DMS. Answer: `answered`."""

    message: Queued


class Postpone(NamedTuple):
    """Tell the store that the message is not being posted for now. Answer: `postponed`, also where the store fails.

    `give_up`: this instance does not post for the customer any more.
    """

    number: int
    give_up: bool


class Complete(NamedTuple):
    """Tell the store the outcome of the message; it is out of the queue. Answer: `completed` or `complete_failed`.

    `take`: hand out the next one in the same step; else this instance does not post for the customer any more.
    """

    message: Queued
    outcome: Outcome
    take: bool


class Look(NamedTuple):
    """Look up what became of messages that another instance posts. Answer: `looked`, or `look_failed`."""

    keys: Sequence[str]


class Wait(NamedTuple):
    """Call `woken` after so many seconds."""

    seconds: float


class Tell(NamedTuple):
    """Tell who sent the message its outcome."""

    submission: Submission
    outcome: Outcome


class TellLater(NamedTuple):
    """The message was sent by a client that is not connected to this process: tell the customer's next connection."""

    message: Queued
    outcome: Outcome


class Delayed(NamedTuple):
    """Tell the customer that the message is delayed."""

    message: Queued


Effect = Enqueue | Take | Post | Postpone | Complete | Look | Wait | Tell | TellLater | Delayed
# What is being done about the first message of the queue.
Phase = Literal["idle", "taking", "posting", "postponing", "waiting", "completing"]


@dataclass(slots=True, eq=False)
class Outbox:
    """One customer, on one instance. Times are seconds of a clock that only goes forward."""

    customer_id: str
    # How long a message may wait for a DMS that has surely not taken it; and one that came in, for a store that fails.
    ttl_seconds: float
    store_patience_seconds: float
    # Came in, not stored yet; the first of them may be with the store now.
    incoming: deque[Submission] = field(default_factory=deque)
    # Stored, or repeats of what is stored; without an outcome yet.
    submissions: list[Submission] = field(default_factory=list)
    phase: Phase = "idle"
    message: Queued | None = None
    attempts: int = 0
    # When the message was stored.
    stored_at: float = 0.0
    is_stopping: bool = False
    _enqueuing: int = 0
    _looking: bool = False
    _take_again: bool = False
    _delayed: bool = False
    _outcome: Outcome | None = None
    _is_told: bool = False
    _failing_since: float | None = None
    # When `woken` is to be called next: for the first message, and for all else.
    _retry_at: float | None = None
    _look_at: float | None = None

    @property
    def is_idle(self) -> bool:
        """Is there nothing that this process has to do for the customer?"""
        waits = self._retry_at is not None or self._look_at is not None
        return not (self.incoming or self.submissions or waits or self._looking) and self.phase == "idle"

    @property
    def pending(self) -> int:
        """How many messages of clients of this process have no outcome yet."""
        return len(self.incoming) + len(self.submissions)

    # What comes in

    def submit(self, submission: Submission, now: float) -> list[Effect]:
        """A client sent a message."""
        submission.came_at = now
        self.incoming.append(submission)
        return self._enqueue()

    def enqueued(self, answers: Sequence[Stored], first: Queued | None, now: float) -> list[Effect]:
        """The store has taken the submissions.

        :param first: the first message of the queue, if this instance is to post it; marked as being posted.
        """
        self._enqueuing, self._failing_since = 0, None
        effects: list[Effect] = []
        for answer in answers:
            submission = self.incoming.popleft()
            if answer.state == "full":
                error = "too many messages are waiting: try again later"
                effects.append(Tell(submission, Outcome("rejected", error=error)))
            elif answer.outcome is not None:
                effects.append(Tell(submission, answer.outcome))
            else:
                self.submissions.append(submission)
        if first is not None and self.phase == "idle":
            effects += self._post(first, now)
        return [*effects, *self._enqueue(), *self._look_later(now)]

    def enqueue_failed(self, now: float) -> list[Effect]:
        """The store did not take them, or did not say so."""
        self._enqueuing = 0
        if self._failing_since is None:
            self._failing_since = now
        effects: list[Effect] = []
        while self.incoming:
            submission = self.incoming[0]
            since = max(self._failing_since, submission.came_at)
            if not self.is_stopping and now - since < self.store_patience_seconds:
                break
            self.incoming.popleft()
            error = "storage failed, so it was not forwarded now: try again later"
            effects.append(Tell(submission, Outcome("failed", submission.message_id, None, error)))
        return [*effects, *self._look_later(now)]

    # What another instance posts

    def looked(self, outcomes: dict[str, Outcome], now: float) -> list[Effect]:
        """What the store knows: outcomes by key."""
        self._looking = False
        known = [submission for submission in self.submissions if submission.key in outcomes]
        # The one that is being completed here is told when that is done.
        mine = self.message.key if self.message is not None and self.phase == "completing" else None
        effects: list[Effect] = []
        for submission in known:
            if submission.key != mine:
                self.submissions.remove(submission)
                effects.append(Tell(submission, outcomes[submission.key]))
        return [*effects, *self._look_later(now)]

    def look_failed(self, now: float) -> list[Effect]:
        """The store did not answer."""
        self._looking = False
        return self._look_later(now)

    # The queue

    def turn(self) -> list[Effect]:
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
        return [*self._go_on(), *self._look_later(now)]

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
            return [Postpone(message.number, give_up=True)]
        seconds = delay(self.attempts, result, now - self.stored_at, budget_seconds=self.ttl_seconds)
        if seconds is not None:
            self.phase = "postponing"
            return [Postpone(message.number, give_up=False), *self._retry_in(seconds, now)]
        self.phase, self._outcome, self._is_told = "completing", _outcome_of(result, message), False
        return [Complete(message, self._outcome, take=not self.is_stopping)]

    def postponed(self) -> list[Effect]:
        """The store knows that the message is not being posted, or may not know."""
        if self.is_stopping:
            self._done_with_message()
        else:
            self.phase = "waiting"
        return []

    def completed(self, first: Queued | None, now: float) -> list[Effect]:
        """The store knows the outcome.

        :param first: the next message, if this instance is to post it; marked as being posted.
        """
        tell = self._tell()
        self._done_with_message()
        return [*tell, *(self._post(first, now) if first is not None else self._go_on()), *self._look_later(now)]

    def complete_failed(self, now: float) -> list[Effect]:
        """The store may not know the outcome. Those behind wait until it does."""
        return [*self._tell(), *self._retry_in(LOOK_AGAIN_SECONDS, now)]

    def stop(self) -> list[Effect]:
        """The process ends. What is being posted is finished; what waits is left to whoever goes on."""
        self.is_stopping = True
        if self.phase != "waiting" or self.message is None:
            return []
        self.phase = "postponing"
        return [Postpone(self.message.number, give_up=True)]

    # Time

    def woken(self, now: float) -> list[Effect]:
        """The time of a `Wait` is over."""
        effects: list[Effect] = []
        if self._retry_at is not None and now >= self._retry_at:
            self._retry_at = None
            if self.phase == "completing" and self.message is not None and self._outcome is not None:
                effects.append(Complete(self.message, self._outcome, take=not self.is_stopping))
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
            if self.submissions and not self._looking and self.phase == "idle":
                self._looking = True
                effects.append(Look([submission.key for submission in self.submissions]))
            effects += self._look_later(now)
        return effects

    def tick(self, now: float) -> list[Effect]:
        """Is the message that is first delayed?"""
        if self.message is None or self._delayed or now - self.stored_at < DELAYED_AFTER_SECONDS:
            return []
        self._delayed = True
        return [Delayed(self.message)]

    # Decisions

    def _enqueue(self) -> list[Effect]:
        if self._enqueuing or not self.incoming:
            return []
        self._enqueuing = len(self.incoming)
        return [Enqueue(tuple(self.incoming), take=self.phase == "idle" and not self.is_stopping)]

    def _post(self, message: Queued, now: float) -> list[Effect]:
        if self.message is None or self.message.number != message.number:
            self.attempts, self._delayed = 0, False
            self.stored_at = now - message.age_seconds
        self.phase, self.message = "posting", message
        self.attempts += 1
        return [Post(message)]

    def _go_on(self) -> list[Effect]:
        return self.turn() if self._take_again else []

    def _done_with_message(self) -> None:
        self.phase, self.message, self._outcome = "idle", None, None

    def _tell(self) -> list[Effect]:
        message, outcome = self.message, self._outcome
        if self._is_told or message is None or outcome is None:
            return []
        self._is_told = True
        known = [submission for submission in self.submissions if submission.key == message.key]
        self.submissions = [submission for submission in self.submissions if submission.key != message.key]
        return [Tell(submission, outcome) for submission in known] or [TellLater(message, outcome)]

    def _retry_in(self, seconds: float, now: float) -> list[Effect]:
        self._retry_at = now + seconds
        return [Wait(seconds)]

    def _look_later(self, now: float) -> list[Effect]:
        """Something waits for the store, or for another instance: look again, if nobody tells."""
        waits = (self.incoming and not self._enqueuing) or (self.submissions and self.phase == "idle" and not self._looking)
        if not waits or self._look_at is not None:
            return []
        self._look_at = now + LOOK_AGAIN_SECONDS
        return [Wait(LOOK_AGAIN_SECONDS)]


def _outcome_of(result: PostResult, message: Queued) -> Outcome:
    if result.is_taken:
        return Outcome("sent", message.message_id, result.status)
    error = result.error if result.status is None else f"DMS answered {result.status}"
    return Outcome("failed", message.message_id, result.status, error)
