"""When which connection is pinged, who owes a pong, and who has owed it for too long. Pure: no clock.

The engine's own way is a sleeping greenlet for each connection and a look at each in turn. All connections wait equally
long, so here they come due in the order in which they were put in, and what is not due costs nothing.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

# Whoever is asked whether it is there has so long to answer: a client that lives does so at once.
ASK_SECONDS = 3.0

Answered = Callable[[], object]


@dataclass(slots=True, eq=False)
class Heartbeat:
    """One connection's. Times are seconds of a clock that only goes forward.

    :ivar connection: its name.
    :ivar ping_at: when the next ping is due; `None` while a pong is owed.
    :ivar pinged_at: when the ping was sent that is not answered yet.
    :ivar answered_ping_at: when the latest ping was sent that is answered; before any, when the connection opened.
    :ivar pong_by: when the pong that is owed must be there.
    :ivar when_answered: to be called when the next pong comes.
    """

    connection: str
    answered_ping_at: float
    ping_at: float | None = None
    pinged_at: float | None = None
    pong_by: float = math.inf
    when_answered: tuple[Answered, ...] = ()


class Heartbeats:
    """Those of all connections of one server."""

    def __init__(self, interval_seconds: float, timeout_seconds: float) -> None:
        """:param interval_seconds: from a pong to the next ping. :param timeout_seconds: from a ping to its pong."""
        self._interval_seconds = interval_seconds
        self._timeout_seconds = timeout_seconds
        # In the order of their times. What a heartbeat no longer says of itself is passed over.
        self._pings: deque[tuple[float, Heartbeat]] = deque()
        self._pongs: deque[tuple[float, Heartbeat]] = deque()
        self._asked: deque[tuple[float, Heartbeat]] = deque()

    def begin(self, heartbeat: Heartbeat, now: float) -> None:
        """A connection is open."""
        heartbeat.ping_at = now + self._interval_seconds
        self._pings.append((heartbeat.ping_at, heartbeat))

    def pong(self, heartbeat: Heartbeat, now: float) -> tuple[Answered, ...]:
        """A pong comes. Returns what is to be called; one that nobody asked for changes nothing."""
        if heartbeat.pinged_at is None:
            return ()
        heartbeat.answered_ping_at = heartbeat.pinged_at
        heartbeat.pinged_at, heartbeat.pong_by = None, math.inf
        self.begin(heartbeat, now)
        answered, heartbeat.when_answered = heartbeat.when_answered, ()
        return answered

    def ask(self, heartbeat: Heartbeat, answered: Answered | None, now: float) -> bool:
        """Somebody wants to know whether the client is there: it has `ASK_SECONDS`. Tells whether a ping is to be sent now;
        where an answer is owed already, that one counts.

        :param answered: called when it answers.
        """
        if answered is not None:
            heartbeat.when_answered += (answered,)
        pings = heartbeat.pinged_at is None
        if pings:
            # In place of the one that was to come.
            heartbeat.ping_at, heartbeat.pinged_at = None, now
        self._expect(heartbeat, now + ASK_SECONDS, self._asked)
        return pings

    def end(self, heartbeat: Heartbeat) -> None:
        """The connection is closed."""
        heartbeat.ping_at = heartbeat.pinged_at = None
        heartbeat.pong_by, heartbeat.when_answered = math.inf, ()

    def due(self, now: float) -> tuple[list[str], list[str]]:
        """The connections that are to be pinged now, and those that are to be closed: they owe a pong for too long."""
        pings, silent = [], []
        while self._pings and self._pings[0][0] <= now:
            at, heartbeat = self._pings.popleft()
            if heartbeat.ping_at == at:
                heartbeat.ping_at, heartbeat.pinged_at = None, now
                self._expect(heartbeat, now + self._timeout_seconds, self._pongs)
                pings.append(heartbeat.connection)
        for expected in (self._pongs, self._asked):
            while expected and expected[0][0] <= now:
                at, heartbeat = expected.popleft()
                if heartbeat.pong_by == at:
                    # Once, even where it was asked twice at one moment.
                    heartbeat.pong_by = math.inf
                    silent.append(heartbeat.connection)
        return pings, silent

    def _expect(self, heartbeat: Heartbeat, by: float, expected: deque[tuple[float, Heartbeat]]) -> None:
        if by < heartbeat.pong_by:
            heartbeat.pong_by = by
            expected.append((by, heartbeat))
