"""What outlives a process: the mailboxes of customers, the outbox of messages to DMS, and what became of those.

One interface, two stores: SQLite (a file, or memory) for one instance, Redis for any number of them. With several
instances the store also says which one delivers to a customer, and which one posts for one.

This module has no I/O. All methods of a store may be called from anywhere, and raise `StoreError` where the store fails;
the call then had no effect that counts, and a later one may work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, NamedTuple, Protocol

from lchook.core.conversation import Entries
from lchook.core.delivery import Removal
from lchook.core.outbox_effects import Queued, Stored, Submission
from lchook.core.outcomes import Outcome

# For this long a repeated webhook is recognised: DMS tries again soon, or not at all.
REMEMBER_SECONDS = 600
# And a client's message that was sent: a phone may sleep for hours before it asks what became of one. Other outcomes are
# remembered for `REMEMBER_SECONDS`, so that a client that gives its ids anew is not kept from trying again.
REMEMBER_SENT_SECONDS = 86_400
# For so long what became of a message waits for the customer's next connection.
KEEP_STATUS_SECONDS = 600


# Of a conversation so much is read at once: entries, and about so many characters of them.
PAGE_ENTRIES = 100
PAGE_CHARACTERS = 500_000
# An instance with followers of a customer is told of their conversation for so long after it read it.
FOLLOW_SECONDS = 3600


class StoreError(Exception):
    """The store cannot do it now. The text says why, for the log."""


class UnknownFormatError(Exception):
    """The store holds data in a form that this version does not know."""


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message that waits in a mailbox. `text` is the payload, JSON in ASCII. Numbers grow with time, even where the store
    is emptied meanwhile."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class PutResult:
    """What `put` did: `kept` is False for a repeat; `here` says whether this instance has the customer; `dropped` messages
    had to go because the mailbox was full.

    `number` is the message's, and `before` the number of the one before it in the mailbox, 0 if it is alone. Where `number`
    is 0, the store leaves it to `fetch` to say what may be sent.
    """

    kept: bool
    here: bool
    dropped: int = 0
    number: int = 0
    before: int = 0


@dataclass(frozen=True, slots=True)
class FetchResult:
    """What may be sent now. `held`: another instance still waits for acknowledgements of this customer, ask again later.
    `elsewhere`: another instance has the customer, `weakly` if its claim was."""

    messages: Sequence[StoredMessage] = ()
    state: Literal["ours", "held", "elsewhere"] = "ours"
    weakly: bool = False


@dataclass(frozen=True, slots=True)
class MailboxBacklog:
    """What waits in all mailboxes. `oldest_seconds` is the age of the oldest message."""

    messages: int = 0
    customers: int = 0
    oldest_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class CustomerBacklog:
    """What waits for one customer."""

    customer_id: str
    messages: int
    oldest_seconds: float


class Taken(NamedTuple):
    """The first message of a customer's queue, now marked as being posted by this instance; `None` where the queue is empty,
    or another instance posts.

    `unknown`: what an instance that died was posting. It may be at DMS, is never posted again, and has that as its outcome.
    """

    first: Queued | None = None
    unknown: Sequence[Queued] = ()


class Enqueued(NamedTuple):
    """What `enqueue` did: an answer to each submission, what it took if it was to, and what `take_statuses` would return."""

    answers: Sequence[Stored]
    taken: Taken = Taken()
    statuses: Sequence[str] = ()


class OutboxBacklog(NamedTuple):
    """What waits in the outbox, of all customers. `oldest_seconds` is the age of the oldest message."""

    messages: int = 0
    oldest_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class StoreListener:
    """Whom a store tells what other instances did; each gets the customer's id. May be called from anywhere, and late,
    twice or never: the store's tasks sweep up."""

    due: Callable[[str], None]  # messages wait for a customer of this instance, or one whom it had and no other has now
    elsewhere: Callable[[str], None]  # the customer has moved to another instance
    now: Callable[[str, str], object]  # a payload that is not kept, to be sent if the customer is here
    reconnected: Callable[[], None]  # the store was away and may have forgotten who has whom
    news: Callable[[str], None] = lambda _: None  # the customer's conversation may have grown, here or elsewhere

    @staticmethod
    def null() -> StoreListener:
        """One that hears nothing, for a store that is not open yet."""
        return StoreListener(*(lambda *_: None for _ in range(4)))


class Forgotten(NamedTuple):
    """What was removed of somebody."""

    mailbox: int = 0
    outbox: int = 0
    outcomes: int = 0
    statuses: int = 0
    entries: int = 0


def iso_utc(seconds: float) -> str:
    """A time, in seconds since 1970, as ISO 8601 in UTC with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Store(Protocol):
    """The interface."""

    def open(self, listener: StoreListener, start_task: Callable[..., object]) -> None:
        """Get ready; tell `listener` from now on. Does not fail where the store is away for the time being.

        :raises UnknownFormatError: where this version must not touch what is there.
        """

    def close(self) -> None:
        """The process ends. Does not fail."""

    def check(self) -> None:
        """Fails where the store would not keep a message now."""

    def mailbox_backlog(self) -> MailboxBacklog:
        """What waits in all mailboxes."""

    def customer_backlogs(self, limit: int) -> list[CustomerBacklog]:
        """For whom messages wait, those who wait longest first."""

    # Mailboxes

    def put(self, customer_id: str, text: str, fingerprint: str | None) -> PutResult:
        """Keep a payload for a customer. The same fingerprint within `REMEMBER_SECONDS` is a repeat and not kept."""

    def claim(self, customer_id: str, *, seconds_ago: float, weakly: bool = False) -> None:
        """From now on this instance delivers to the customer, unless they came to another after they came to this one.

        :param seconds_ago: when they came: earlier than now where the store was away meanwhile.
        :param weakly: they have not spoken here. If another instance has them it loses them, and may claim them back.
        """

    def fetch(self, customer_id: str, after: int, limit: int) -> FetchResult:
        """The messages numbered above `after`, oldest first, if this instance may send them. Fewer than `limit` are all."""

    def remove(self, removals: Sequence[Removal]) -> None:
        """These messages are done."""

    def release(self, customer_id: str, *, waiting: bool) -> None:
        """This instance has no socket of the customer any more; `waiting` as long as acknowledgements may still come."""

    def clear(self, customer_id: str, *, seconds_ago: float = 0.0) -> int:
        """Drop the messages that had come in so long ago; returns how many there were."""

    def pass_on(self, customer_id: str, text: str, *, to_followers: bool = False) -> None:
        """Tell the instance that has the customer a payload that is not kept; where conversations are kept, those with
        followers, too.

        :param to_followers: only those.
        """

    def expire(self) -> int:
        """Drop the messages whose time to live is over, and what need not be remembered; returns how many messages."""

    # The conversation, where it is kept. `put`, `enqueue` and `complete` write it, in the same step.

    def read_conversation(self, customer_id: str, after: int, changed_after: int, *, joins: bool) -> Entries:
        """What the conversation has after a number, see `lchook.core.feed.Read`. From now on there is news."""

    def unfollow(self, customer_id: str) -> None:
        """This instance need not be told of news of the customer's conversation any more."""

    def forget(self, customer_id: str) -> Forgotten:
        """Remove all that is kept of a customer: their mailbox, messages to DMS and their outcomes, the conversation."""

    # The outbox. One instance at a time posts for a customer. A message is taken out with its outcome, and by no other way.

    # Whether what waits is there for the next process; and whether other instances may have customers.
    outlives_process: bool
    is_shared: bool

    def enqueue(self, customer_id: str, submissions: Sequence[Submission], *, take: bool) -> Enqueued:
        """Messages came in: each has its place at the end of the queue, unless it is a repeat (same key) or there is no
        room. With those that claim them the customer has come to this instance (see `claim`). May be called again with the
        same.

        :param take: as `take`, in the same step.
        """

    def take(self, customer_id: str) -> Taken:
        """Post for the customer, unless another instance that is alive does."""

    def postpone(self, customer_id: str, number: int, *, give_up: bool) -> None:
        """The message is not being posted for now. `give_up`: this instance does not post for the customer any more."""

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
        """The message has its outcome. May be called again with the same; does nothing where another instance posts.

        :param take: as `take`, in the same step; else this instance does not post for the customer any more.
        :param tell_later: keep the outcome for the customer's next connection, unless the instance that its sender is
            connected to is another one, and alive.
        :param remember_seconds: for how long repeats get this outcome.
        """

    def look(self, customer_id: str, keys: Sequence[str]) -> dict[str, Outcome]:
        """What became of messages, by key; nothing for those that still wait. Of one that is not known, that it is lost."""

    def orphans(self, limit: int) -> list[str]:
        """Customers for whom messages wait that nobody alive posts."""

    def add_status(self, customer_id: str, text: str) -> None:
        """Keep a text for the customer's next connection, for `KEEP_STATUS_SECONDS`."""

    def take_statuses(self, customer_id: str) -> list[str]:
        """The texts that were kept for the customer, oldest first. They are kept no longer."""

    def outbox_backlog(self) -> OutboxBacklog:
        """What waits in the outbox."""
