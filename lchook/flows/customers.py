"""A customer who is here: their sockets, and the letters on their way. Records, which `to_customer.py` keeps; no I/O.

A customer is reached on the socket that they spoke on last. One that only says at connect whose it is (it resumes) gets them
if they have none, and else stands by: it gets them when theirs closes, or turns out to be dead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lchook.core.messages import MessageToCustomer
from lchook.store import Letter

# So many sockets that resumed are remembered for when the customer's own closes; more than that, and the oldest go.
_MOST_RESUMED = 8
_NEVER = -math.inf


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
    # When they spoke on the socket that they are reached on, or on the one whose place it took.
    spoke_at: float = _NEVER
    # The open sockets that said at connect whose they are, in that order; and the first of them that did so since the
    # customer's own was last known to be alive.
    resumed: list[str] = field(default_factory=list)
    heir: str | None = None
    # They are reached on a socket only because a better one closed, which may well come back.
    makes_room: bool = False
    # Their claim is not for what they said: another instance's counts more, if its socket is alive.
    weak: bool = False
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

    def stand_by(self, sid: str, spoke_at: float | None) -> bool:
        """A socket resumes. Does it stand by, because the customer is on another that may be alive, and spoke there later?

        :param spoke_at: when they spoke on it last, before it was connected anew.
        """
        if sid not in self.resumed:
            self.resumed.append(sid)
        if self.sid in (None, sid) or self.makes_room or (spoke_at is not None and spoke_at >= self.spoke_at):
            return False
        self.heir = self.heir or sid
        return True

    def move_to(self, sid: str, spoke_at: float) -> None:
        self.sid, self.spoke_at = sid, spoke_at
        self.heir, self.makes_room = None, False

    def drop(self, sid: str, *, silently: bool) -> None:
        """A socket is closed: if it was the customer's, another has them, or none.

        :param silently: it was dead for some time. Then whoever came meanwhile came in its place; else it may come back.
        """
        if sid in self.resumed:
            self.resumed.remove(sid)
        if self.heir == sid:
            self.heir = None
        if self.younger == sid:
            self.younger = None
        if self.sid != sid:
            return
        replaced = self.younger or (self.heir if silently else None)
        following = replaced or self.heir or (self.resumed[0] if self.resumed else None)
        self.move_to_following(following, replaced=replaced is not None)

    def move_to_following(self, sid: str | None, *, replaced: bool) -> None:
        """:param replaced: it is known to have come in the place of the one before it."""
        self.sid, self.younger, self.heir = sid, None, None
        self.makes_room = sid is not None and not replaced
        if not replaced:
            self.spoke_at, self.weak = _NEVER, True

    def too_many(self) -> str | None:
        """Take the oldest out of the sockets that resumed, if they are too many."""
        if len(self.resumed) <= _MOST_RESUMED:
            return None
        return self.resumed.pop(0 if self.resumed[0] != self.sid else 1)


class JustKept(NamedTuple):
    """A letter that was kept a moment ago, the number of the one before it in the mailbox, and what it says."""

    letter: Letter
    before: int
    message: MessageToCustomer
