"""One customer's messages that clients of this process sent and that have no outcome yet. Pure: part of `outbox.py`."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from lchook.core.outbox_effects import Stored, Submission, Tell
from lchook.core.outcomes import MessageId, Outcome

# After this long without an outcome the sender is told that the message is delayed.
DELAYED_AFTER_SECONDS = 5.0
STORAGE_FAILED = "storage failed, so it was not forwarded now: try again later"


@dataclass(slots=True, eq=False)
class PendingMessages:
    """Those that came in and are not stored yet, and those that are: messages, and repeats of messages."""

    incoming: deque[Submission] = field(default_factory=deque)
    stored: list[Submission] = field(default_factory=list)
    # So many of the first that came in are with the store now.
    enqueuing: int = 0
    _failing_since: float | None = None

    def __len__(self) -> int:
        return len(self.incoming) + len(self.stored)

    def to_enqueue(self) -> tuple[Submission, ...]:
        """What is to be handed to the store now. One call is under way at a time, so that their order is kept."""
        if self.enqueuing or not self.incoming:
            return ()
        self.enqueuing = len(self.incoming)
        return tuple(self.incoming)

    def enqueued(self, answers: Sequence[Stored]) -> list[Tell]:
        """The store has taken what it was handed."""
        self.enqueuing, self._failing_since = 0, None
        tells = []
        for answer in answers:
            submission = self.incoming.popleft()
            if answer.outcome is not None:
                tells.append(Tell(submission, answer.outcome.of(submission.message_id)))
            else:
                self.stored.append(submission)
        return tells

    def enqueue_failed(self, now: float, patience_seconds: float) -> list[Tell]:
        """The store did not take them, or did not say so. Those that have waited for so long for it are given up."""
        self.enqueuing = 0
        if self._failing_since is None:
            self._failing_since = now
        tells = []
        while self.incoming and now - max(self._failing_since, self.incoming[0].came_at) >= patience_seconds:
            submission = self.incoming.popleft()
            tells.append(Tell(submission, Outcome("failed", submission.message_id, None, STORAGE_FAILED)))
        return tells

    def looked(self, outcomes: dict[str, Outcome]) -> list[Tell]:
        """The store knows these outcomes, by key."""
        known = [each for each in self.stored if each.key in outcomes]
        for submission in known:
            self.stored.remove(submission)
        return [Tell(each, outcomes[each.key].of(each.message_id, is_repeated=False)) for each in known]

    def has(self, key: str) -> bool:
        """Does anybody here wait for the outcome of this message?"""
        return any(submission.key == key for submission in self.stored)

    def tell(self, key: str, outcome: Outcome) -> list[Tell]:
        """The message has its outcome."""
        known = [submission for submission in self.stored if submission.key == key]
        self.stored = [submission for submission in self.stored if submission.key != key]
        return [Tell(submission, outcome) for submission in known]

    def newly_delayed(self, now: float) -> list[MessageId]:
        """Those that are delayed, each once."""
        delayed = []
        for submission in (*self.incoming, *self.stored):
            if not submission.is_delayed and now - submission.came_at >= DELAYED_AFTER_SECONDS:
                submission.is_delayed = True
                delayed.append(submission.message_id)
        return delayed
