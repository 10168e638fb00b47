"""What outlives a process: the mailboxes of customers, and what became of messages to DMS.

One interface, two stores: SQLite (a file, or memory) for one instance, Redis for any number of them. With several
instances the store also says which one delivers to a customer, and whose turn it is to post for one.

This module has no I/O. All methods of a store may be called from anywhere, and raise `StoreError` where the store fails;
the call then had no effect that counts, and a later one may work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from lchook.core.delivery import Removal

# For this long a repeated webhook is recognised: DMS tries again soon, or not at all.
REMEMBER_SECONDS = 600
# And a client's message with its outcome: a phone may sleep for hours before it asks what became of one.
REMEMBER_OUTCOME_SECONDS = 86_400


class StoreError(Exception):
    """The store cannot do it now. The text says why, for the log."""


class UnknownFormatError(Exception):
    """The store holds data in a form that this version does not know."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A message that waits in a mailbox. `text` is the payload, JSON in ASCII. Numbers grow with time, even where the store
    is emptied meanwhile."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Kept:
    """What `put` did: `kept` is False for a repeat; `here` says whether this instance has the customer; `dropped` letters
    had to go because the mailbox was full.

    `number` is the letter's, and `before` the number of the one before it in the mailbox, 0 if it is alone. Where `number`
    is 0, the store leaves it to `fetch` to say what may be sent.
    """

    kept: bool
    here: bool
    dropped: int = 0
    number: int = 0
    before: int = 0


@dataclass(frozen=True, slots=True)
class Fetched:
    """What may be sent now. `held`: another instance still waits for acknowledgements of this customer, ask again later.
    `elsewhere`: another instance has the customer, `weakly` if its claim was."""

    letters: Sequence[Letter] = ()
    state: Literal["ours", "held", "elsewhere"] = "ours"
    weakly: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits in all mailboxes. `oldest_seconds` is the age of the oldest letter."""

    letters: int = 0
    customers: int = 0
    oldest_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class WaitingCustomer:
    """What waits for one customer."""

    customer_id: str
    letters: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True)
class Arrival:
    """What is known of a message that has come in for DMS.

    `first`: never seen; it has its place in the customer's line, before the ticket `before` of this instance, if there is
    one behind it, and `turn` says whether that is the front.
    `pending`: it is under way, maybe in another instance. `done`: `outcome` is its outcome, as it was handed to `finish`.
    `lost`: the instance that had it died while it was under way.
    """

    state: Literal["first", "pending", "done", "lost"]
    turn: bool = False
    outcome: str | None = None
    before: str | None = None


@dataclass(frozen=True, slots=True)
class Bell:
    """Whom a store tells what other instances did; each gets the customer's id. May be called from anywhere, and late,
    twice or never: the store's tasks sweep up."""

    due: Callable[[str], None]  # letters wait for a customer of this instance, or one whom it had and no other has now
    elsewhere: Callable[[str], None]  # the customer has moved to another instance
    now: Callable[[str, str], object]  # a payload that is not kept, to be sent if the customer is here
    turn: Callable[[str], None]  # the customer's line to DMS has moved
    reconnected: Callable[[], None]  # the store was away and may have forgotten who has whom

    @staticmethod
    def deaf() -> Bell:
        """A bell that nobody hears, for a store that is not open yet."""
        return Bell(*(lambda *_: None for _ in range(5)))


class Store(Protocol):
    """The interface."""

    def open(self, bell: Bell, start_task: Callable[..., object]) -> None:
        """Get ready; tell `bell` from now on. Does not fail where the store is away for the time being.

        :raises UnknownFormatError: where this version must not touch what is there.
        """

    def close(self) -> None:
        """The process ends. Does not fail."""

    def check(self) -> None:
        """Fails where the store would not keep a message now."""

    def waiting(self) -> Waiting:
        """What waits in all mailboxes."""

    def waiting_customers(self, limit: int) -> list[WaitingCustomer]:
        """For whom messages wait, those who wait longest first."""

    # Mailboxes

    def put(self, customer_id: str, text: str, fingerprint: str | None) -> Kept:
        """Keep a payload for a customer. The same fingerprint within `REMEMBER_SECONDS` is a repeat and not kept."""

    def claim(self, customer_id: str, *, seconds_ago: float, weakly: bool = False) -> None:
        """From now on this instance delivers to the customer, unless they came to another after they came to this one.

        :param seconds_ago: when they came: earlier than now where the store was away meanwhile.
        :param weakly: they have not spoken here. If another instance has them it loses them, and may claim them back.
        """

    def fetch(self, customer_id: str, after: int, limit: int) -> Fetched:
        """The letters numbered above `after`, oldest first, if this instance may send them. Fewer than `limit` are all."""

    def remove(self, removals: Sequence[Removal]) -> None:
        """These letters are done."""

    def leave(self, customer_id: str, *, waiting: bool) -> None:
        """This instance has no socket of the customer any more; `waiting` as long as acknowledgements may still come."""

    def clear(self, customer_id: str, *, seconds_ago: float = 0.0) -> int:
        """Drop the letters that had come in so long ago; returns how many there were."""

    def pass_on(self, customer_id: str, text: str) -> None:
        """Tell the instance that has the customer a payload that is not kept."""

    def expire(self) -> int:
        """Drop the letters whose time to live is over, and what need not be remembered; returns how many letters."""

    # Messages to DMS

    def arrive(
        self, customer_id: str, ticket: str, key: str | None, *, seconds_ago: float = 0.0, before: str | None = None
    ) -> Arrival:
        """A message came in so long ago. Unless it is a repeat (same key), its ticket goes to the end of the line; one whose
        instance died while it waited takes its place. With it the customer has come to this instance (see `claim`).

        To be asked again for a message that was pending, and where it is not known whether it arrived.

        :param before: not to the end of the line, but before this ticket of this instance.
        """

    def turn(self, customer_id: str, ticket: str, key: str | None) -> bool | None:
        """Is this ticket at the front of its line? Tickets of instances that died are skipped. None: this instance was taken
        for dead, and another has the message now."""

    def finish(self, customer_id: str, ticket: str, key: str | None, outcome: str | None) -> None:
        """The message has its outcome; the line moves on. None: nothing was or will be done about it, and it may come
        again as if for the first time."""
