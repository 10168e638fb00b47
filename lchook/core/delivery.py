"""What there is to deliver, and what is to be performed for it: the effects of `session.py`. Records only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple


@dataclass(slots=True, eq=False)
class Delivery:
    """A message that was sent on a connection. `number` is the store's, and 0 for a transient message, which is not stored.

    `sent_at`, `checked_at` (when the heartbeat was asked last) and `overdue` belong to whoever keeps the time.
    """

    customer_id: str
    number: int
    connection: str
    size: int = 0
    message_id: Any = None
    sent_at: float = 0.0
    checked_at: float = 0.0
    overdue: bool = False


class Message(NamedTuple):
    """A stored message: its number, and the payload as JSON. `payload` is the same, parsed, where that is at hand."""

    number: int
    text: str
    payload: dict[str, Any] | None = None


class Removal(NamedTuple):
    """Messages of a customer that are done. `last`: this instance waits for no other acknowledgement of theirs."""

    customer_id: str
    numbers: Sequence[int]
    last: bool


# Effects


class Send(NamedTuple):
    """Send the message on the delivery's connection."""

    delivery: Delivery
    message: Message


class Claim(NamedTuple):
    """Tell the store that this instance delivers to the customer. Answer: `claimed` or `claim_failed`.

    `is_weak`: another instance's claim counts more, if its connection is alive.
    """

    attached_at: float
    is_weak: bool


class Fetch(NamedTuple):
    """Ask the store for at most `FETCH_LIMIT` messages above a number. Answer: `fetched` or `fetch_failed`."""

    after: int


class Release(NamedTuple):
    """Tell the store that the customer has no connection here. Answer: `released` or `release_failed`."""

    waiting: bool


class Remove(NamedTuple):
    """Tell the store soon what `removal` says then. Answer: `removed` or `remove_failed`."""


class Retry(NamedTuple):
    """Call `retry` after a while."""


class Ask(NamedTuple):
    """Ask a connection whether it is alive. Where it does not answer soon it is closed. Answer: `alive`."""

    connection: str


class StandsBy(NamedTuple):
    """The connection does not receive for now: the customer is on another one."""

    connection: str


class TakenBack(NamedTuple):
    """So many messages in flight were given up with their connection. They wait for the next one."""

    messages: int


class Left(NamedTuple):
    """The customer has no connection here any more: it is closed, or they are on another instance."""

    connection: str
    elsewhere: bool


Effect = Send | Claim | Fetch | Release | Remove | Retry | Ask | StandsBy | TakenBack | Left
FetchState = Literal["ours", "held", "elsewhere"]
