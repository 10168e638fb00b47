"""One customer's conversation on its way to the connections that follow it: each entry once to each, in order.

A state machine without I/O, clock, threads or store, for one customer on one instance. The store's log is the truth; `news`
is only a hint that it has grown. One reading of the log is under way at a time, and serves all followers that are as far.

A follower first gets what it has not seen in pages, each after the acknowledgement of the one before; then each entry as it
comes, without waiting for acknowledgements, as far as there is room. Changes of status go out before the entries that were
read with them: whoever has an entry has been told of all changes before it.

What one follower has acknowledged is out of the customer's mailbox.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from lchook.core.conversation import Entries, Entry
from lchook.core.delivery import Delivery, Removal

# Of one customer on one instance.
MAX_FOLLOWERS = 50
# In flight to a follower. More wait in the store: memory is for everybody.
MAX_IN_FLIGHT = 100
MAX_IN_FLIGHT_CHARACTERS = 1_000_000


@dataclass(slots=True, eq=False)
class SentEntries(Delivery):
    """Entries that were sent together. `number` is equal for no two of a feed's."""

    entries: Sequence[Entry] = ()


# Effects


class Read(NamedTuple):
    """Read the log after a number, with the changes of older entries after another. Answer: `read` or `read_failed`.

    `joins`: whoever says that it has seen the log as far as `after` has joined. Messages of the mailbox that the log lacks
    go into it, and those that were seen are out of the mailbox.
    """

    after: int
    changed_after: int
    joins: bool


class SendPage(NamedTuple):
    """Send entries as `conversation`."""

    sent: SentEntries
    complete: bool


class SendEntry(NamedTuple):
    """Send an entry as `conversationMessage`."""

    sent: SentEntries


class SendStatus(NamedTuple):
    """Send an entry's outcome as `messageStatus`."""

    connection: str
    entry: Entry


class RemoveQueued(NamedTuple):
    """Tell the store soon what `removal` says then. Answer: `removed` or `remove_failed`."""


class Unfollow(NamedTuple):
    """Tell the store that nobody follows here any more."""


class RetryLater(NamedTuple):
    """Call `retry` after a while."""


Effect = Read | SendPage | SendEntry | SendStatus | RemoveQueued | Unfollow | RetryLater


@dataclass(slots=True, eq=False)
class Follower:
    """A connection: it was sent all entries up to `cursor`, and all changes up to `changes`."""

    cursor: int
    changes: int
    is_joining: bool = True
    # It has, or has been sent, all that was there when it came.
    is_live: bool = False
    # There may be something that it was not sent.
    is_behind: bool = True
    # Characters of what was sent and not acknowledged, by number.
    in_flight: dict[int, int] = field(default_factory=dict)

    @property
    def has_room(self) -> bool:
        """May something be sent to it now?"""
        if not self.is_live:
            return not self.in_flight
        return len(self.in_flight) < MAX_IN_FLIGHT and sum(self.in_flight.values()) < MAX_IN_FLIGHT_CHARACTERS


class _Asked(NamedTuple):
    """For whom the log is being read."""

    connections: Sequence[str]


@dataclass(slots=True, eq=False)
class Feed:
    """One customer, on one instance."""

    customer_id: str
    followers: dict[str, Follower] = field(default_factory=dict)
    # Acknowledged; the store has not confirmed yet that it removed them.
    queued_done: set[int] = field(default_factory=set)
    _asked: _Asked | None = None
    # The store may believe that somebody follows here.
    _is_followed: bool = False
    _last_number: int = 0

    @property
    def is_idle(self) -> bool:
        """Is there nothing to do here for the customer?"""
        return not (self.followers or self.queued_done or self._asked or self._is_followed)

    def join(self, connection: str, after: int) -> list[Effect]:
        """A connection follows from now on; it has seen the conversation up to this number."""
        self.followers[connection] = Follower(after, after)
        return self._next()

    def leave(self, connection: str) -> list[Effect]:
        """A connection is closed."""
        return self._next() if self.followers.pop(connection, None) else []

    def news(self) -> list[Effect]:
        """The log may have grown."""
        for follower in self.followers.values():
            follower.is_behind = True
        return self._next()

    def acknowledged(self, sent: SentEntries) -> list[Effect]:
        """The client has the entries, and says so; or its connection has answered a ping that was sent after them."""
        follower = self.followers.get(sent.connection)
        if follower is not None:
            follower.in_flight.pop(sent.number, None)
        # Others have been sent the same entries: only the first to say so matters.
        queued = [entry.queued for entry in sent.entries if entry.queued]
        for entry in sent.entries:
            entry.queued = 0
        self.queued_done.update(queued)
        return [*([RemoveQueued()] if queued else []), *self._next()]

    # The store's answers

    def read(self, answer: Entries) -> list[Effect]:
        """What the log has."""
        asked, self._asked = self._asked, None
        assert asked is not None  # noqa: S101  # for the type checker
        last = answer.entries[-1].number if answer.more and answer.entries else math.inf
        effects: list[Effect] = []
        for connection in asked.connections:
            follower = self.followers.get(connection)
            if follower is None:
                continue
            follower.is_joining = False
            if follower.cursor > answer.latest:
                # It has its cursor from somewhere else, and has seen nothing of this conversation.
                follower.cursor = follower.changes = 0
                follower.is_behind = True
            elif follower.cursor >= last:
                # It is further than this reading got.
                follower.is_behind = True
            else:
                effects += self._serve(connection, follower, answer)
        return [*effects, *self._next()]

    def read_failed(self) -> list[Effect]:
        """The store did not answer."""
        asked, self._asked = self._asked, None
        assert asked is not None  # noqa: S101  # for the type checker
        for connection in asked.connections:
            if connection in self.followers:
                self.followers[connection].is_behind = True
        return [RetryLater()]

    def removal(self) -> Removal | None:
        """What the store is to be told now, if anything. Answer: `removed` or `remove_failed`, with the same."""
        return Removal(self.customer_id, list(self.queued_done), last=False) if self.queued_done else None

    def removed(self, removal: Removal) -> list[Effect]:
        """These are out of the mailbox."""
        self.queued_done.difference_update(removal.numbers)
        return []

    def remove_failed(self, removal: Removal) -> list[Effect]:
        """They may be."""
        return [RetryLater()]

    def retry(self) -> list[Effect]:
        """Some time has passed since a `RetryLater`."""
        return [*([RemoveQueued()] if self.queued_done else []), *self._next()]

    # Decisions

    def _next(self) -> list[Effect]:
        if self._asked is not None:
            return []
        if not self.followers:
            followed, self._is_followed = self._is_followed, False
            return [Unfollow()] if followed else []
        ready = {name: each for name, each in self.followers.items() if each.is_behind and each.has_room}
        if not ready:
            return []
        connection, first = min(ready.items(), key=lambda item: item[1].cursor)
        if first.is_joining:
            ready = {connection: first}
        else:
            ready = {name: each for name, each in ready.items() if not each.is_joining}
        for follower in ready.values():
            follower.is_behind = False
        self._asked, self._is_followed = _Asked(tuple(ready)), True
        return [Read(first.cursor, min(each.changes for each in ready.values()), first.is_joining)]

    def _serve(self, connection: str, follower: Follower, answer: Entries) -> list[Effect]:
        both = (*answer.changes, *answer.entries)
        changed = [entry for entry in both if entry.number <= follower.cursor and entry.changed > follower.changes]
        fresh = [entry for entry in answer.entries if entry.number > follower.cursor]
        effects: list[Effect] = [SendStatus(connection, entry) for entry in sorted(changed, key=lambda each: each.changed)]
        if follower.is_live:
            effects += [SendEntry(self._sent(connection, follower, [entry])) for entry in fresh]
        else:
            follower.is_live = not answer.more
            effects.append(SendPage(self._sent(connection, follower, fresh), complete=not answer.more))
        follower.is_behind = follower.is_behind or answer.more
        if fresh:
            follower.cursor = fresh[-1].number
        follower.changes = max((follower.changes, *(entry.changed for entry in both)))
        return effects

    def _sent(self, connection: str, follower: Follower, entries: Sequence[Entry]) -> SentEntries:
        self._last_number += 1
        size = sum(len(entry.text) for entry in entries)
        follower.in_flight[self._last_number] = size
        return SentEntries(self.customer_id, self._last_number, connection, size, entries=entries)
