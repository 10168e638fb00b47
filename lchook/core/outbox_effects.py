"""What `outbox.py` takes and returns: messages, the store's answers, effects. Values, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from lchook.core.outcomes import MessageId, Outcome
from lchook.core.retry_policy import PostResult


@dataclass(slots=True, eq=False)
class Submission:
    """A message that a client of this process sent.

    `key` is equal for repeats of one message, and of no other where repeats cannot be recognised. `ticket` is equal for no
    two submissions of a process: by it the store recognises one that it has taken. `body` is the JSON that DMS gets, in
    ASCII. `sender` is what the flow tells the outcome by.
    """

    key: str
    ticket: str
    message_id: MessageId
    body: str
    type: str = "text"
    sender: Any = None
    came_at: float = 0.0
    is_delayed: bool = False
    # The customer is reached on the connection that it came on from now on. Not where that follows the conversation.
    claims: bool = True


class Queued(NamedTuple):
    """A message in the store's queue. `ticket` is the store's name for it. `age_seconds`: since it was stored."""

    number: int
    key: str
    message_id: MessageId
    body: str
    type: str = "text"
    ticket: str = ""
    age_seconds: float = 0.0


class Stored(NamedTuple):
    """What the store says of a submission.

    `queued`: it has its place. `pending`: it is a repeat of one that has no outcome yet. `done`: `outcome` says which
    outcome it or the one it repeats has. `full`: there is no room for it, as `outcome` says in words.
    """

    state: Literal["queued", "pending", "done", "full"]
    outcome: Outcome | None = None


# What is being done about the first message of a queue.
Phase = Literal["idle", "taking", "posting", "postponing", "waiting", "completing"]

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


class Report(NamedTuple):
    """Log what came of a post. `retry_seconds`: after so long it is tried again; `None`: that was the last try."""

    message: Queued
    result: PostResult
    retry_seconds: float | None


class Expired(NamedTuple):
    """Log that the message waited for too long, and is not posted."""

    message: Queued
    age_seconds: float


class Postpone(NamedTuple):
    """Tell the store that the message is not being posted for now. Answer: `postponed`, also where the store fails.

    `give_up`: this instance does not post for the customer any more.
    """

    number: int
    give_up: bool


class Complete(NamedTuple):
    """Tell the store the outcome of the message; it is out of the queue. Answer: `completed` or `complete_failed`.

    `take`: hand out the next one in the same step; else this instance does not post for the customer any more. `tell_later`:
    nobody here waits for the outcome; unless its sender's instance is alive, it is kept for the customer's next connection.
    """

    message: Queued
    outcome: Outcome
    take: bool
    tell_later: bool


class Look(NamedTuple):
    """Look up what became of messages that another instance posts. Answer: `looked`."""

    keys: Sequence[str]


class Wait(NamedTuple):
    """Call `woken` after so many seconds."""

    seconds: float


class Tell(NamedTuple):
    """Tell who sent the message its outcome."""

    submission: Submission
    outcome: Outcome


class TellLater(NamedTuple):
    """Nobody here waits for the outcome: the store has it for the customer's next connection, or for their present one."""

    message: Queued
    outcome: Outcome


class Delayed(NamedTuple):
    """Tell the customer that a message is delayed."""

    message_id: MessageId


Effect = Enqueue | Take | Post | Report | Expired | Postpone | Complete | Look | Wait | Tell | TellLater | Delayed
