"""A customer who is here: their socket, and the letters on their way. Records only, which `to_customer.py` keeps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lchook.messages import MessageToCustomer
from lchook.store import Letter


@dataclass(slots=True)
class Sent:
    """A letter on its way, or a fleeting message (number 0, which no letter has)."""

    customer: Customer
    number: int
    sid: str
    at: float
    # Its message_id, for the log.
    name: Any = None
    size: int = 0
    overdue: bool = False
    # When the heartbeat was asked last.
    looked_at: float = 0.0


@dataclass(slots=True)
class Customer:
    """A customer who is here, or for whom acknowledgements may still come."""

    customer_id: str
    lock: Any
    sid: str | None = None
    # A socket that connected after that one, and spoke before it: what that one said was held up on its way.
    younger: str | None = None
    # How often they spoke, or came back (tells whether they did so while the store was asked), and when last.
    came: int = 0
    came_at: float = 0.0
    # The store could not be told that they are here.
    unclaimed: bool = False
    # Letters on their way, by number; and those done of which the store could not be told yet.
    on_the_way: dict[int, Sent] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)
    # All letters up to this number were sent.
    sent_up_to: int = 0
    # The client was seen not to acknowledge: nothing is held back for its acknowledgements.
    silent: bool = False
    # One task at a time sends; others leave word that there is more to look for.
    sending: bool = False
    send_again: bool = False
    # More waits than may be on the way at once.
    held_back: bool = False
    # The store believes that this instance waits for acknowledgements of the customer.
    held: bool = False
    # The store is about to be told what is done.
    telling: bool = False


class JustKept(NamedTuple):
    """A letter that was kept a moment ago, the number of the one before it in the mailbox, and what it says."""

    letter: Letter
    before: int
    message: MessageToCustomer
