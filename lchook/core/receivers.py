"""Which of a customer's connections receives. Pure: no I/O, no clock.

The customer is reached on the connection that they spoke on last. One that only says at connect whose it is (it resumes) has
the customer if they have no other, and else stands by: it gets the customer when theirs closes, or turns out to be dead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

NEVER = -math.inf
# So many connections that resumed are remembered; more than that, and the oldest go.
MAX_RESUMED = 8


@dataclass(slots=True, eq=False)
class Receivers:
    """One customer's connections on one instance, as far as they matter. Times are seconds of a clock that goes forward."""

    current: str | None = None
    # When the customer spoke on it, or on the one whose place it took.
    spoke_at: float = NEVER
    # One that opened after the current one and spoke before it: what the current one said was held up on its way.
    younger: str | None = None
    # Those that resumed and are open, oldest first; and the first that did so since the current one was known to be alive.
    resumed: list[str] = field(default_factory=list)
    heir: str | None = None
    # The current one has the customer only because a better one closed, which may well come back.
    is_stopgap: bool = False
    # The customer did not speak here: another instance's connection counts more, if it is alive.
    is_weak: bool = False

    def speaks(self, connection: str, now: float, *, is_older: bool) -> None:
        """The customer speaks on this connection.

        :param is_older: it opened before the current one.
        """
        self._move(connection, now, is_older=is_older)
        self.is_weak = False

    def resumes(self, connection: str, spoke_at: float | None, *, is_older: bool) -> bool:
        """A connection says whose it is. Does it have the customer now? Else it stands by.

        :param spoke_at: when they spoke last over a connection of the same client before, if it says so.
        """
        if connection not in self.resumed:
            self.resumed.append(connection)
            if len(self.resumed) > MAX_RESUMED:
                self.resumed.pop(0 if self.resumed[0] != self.current else 1)
        later = spoke_at is not None and spoke_at >= self.spoke_at
        if self.current not in (None, connection) and not self.is_stopgap and not later:
            self.heir = self.heir or connection
            return False
        self._move(connection, NEVER if spoke_at is None else spoke_at, is_older=is_older)
        self.is_weak = spoke_at is None
        return True

    def closed(self, connection: str, *, was_dead: bool) -> None:
        """A connection is closed. If it was the current one, another is now, or none.

        :param was_dead: for some time. Whoever resumed meanwhile came in its place. Otherwise its client may come back.
        """
        if connection in self.resumed:
            self.resumed.remove(connection)
        if self.heir == connection:
            self.heir = None
        if self.younger == connection:
            self.younger = None
        if self.current != connection:
            return
        successor = self.younger or (self.heir if was_dead else None)
        self.current = successor or self.heir or (self.resumed[0] if self.resumed else None)
        self.younger = self.heir = None
        self.is_stopgap = self.current is not None and successor is None
        if successor is None:
            self.spoke_at, self.is_weak = NEVER, True

    def is_alive(self, connection: str) -> None:
        """A connection has answered: those that stand by did not come in its place."""
        if self.current == connection:
            self.heir = None

    def moved_elsewhere(self) -> None:
        """Another instance has the customer."""
        self.current = self.younger = self.heir = None

    def falls_back(self) -> bool:
        """The other instance has let go of the customer. Is one here that stands by?"""
        if self.current is not None or not self.resumed:
            return False
        self.current, self.is_stopgap = self.resumed[0], True
        self.spoke_at, self.is_weak = NEVER, True
        return True

    def is_back(self, connection: str) -> bool:
        """A connection that lost the customer to one of another instance that only resumed is alive. Has it them again?"""
        if self.current is not None:
            return False
        self.current, self.is_weak, self.is_stopgap = connection, False, False
        return True

    def _move(self, connection: str, spoke_at: float, *, is_older: bool) -> None:
        if self.current != connection:
            self.younger = self.current if is_older else None
        self.current, self.spoke_at = connection, spoke_at
        self.heir, self.is_stopgap = None, False
