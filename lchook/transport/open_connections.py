"""All open connections of a worker: their deadlines are watched here, and here they are ended from this side."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import gevent

from lchook.core import events
from lchook.logs import Log

log = Log(__name__)

_LOOK_SECONDS = 1.0
# How often is looked whether connections are gone.
_GONE_SECONDS = 0.01


class Connection(Protocol):
    """An open connection, with a greenlet of its own or without.

    :ivar deadline: when what the client is to send now must be there; seconds of the monotonic clock.
    :ivar is_idle: it waits for a request, and `is_new` for its first one.
    """

    deadline: float
    is_idle: bool
    is_new: bool

    def abort(self) -> None:
        """End the connection from this side."""


class OpenConnections:
    """Connections put themselves in, and take themselves out at their end.

    :ivar ending: the process ends; connections are closed after the answer, so that what follows goes to who takes over.
    """

    def __init__(self, limit: int) -> None:
        """:param limit: how many there may be."""
        self._limit = limit
        self._open: set[Connection] = set()
        self.ending = False

    def add(self, connection: Connection) -> None:
        self._open.add(connection)

    def discard(self, connection: Connection) -> None:
        self._open.discard(connection)

    def abort(self, which: Callable[[Connection], bool]) -> None:
        """End those that match."""
        for connection in list(self._open):
            if which(connection):
                connection.abort()

    def wait_for_end(self, matters: Callable[[Connection], bool], seconds: float) -> None:
        """Wait until those that match are gone, but no longer than that."""
        until = time.monotonic() + seconds
        while any(matters(connection) for connection in list(self._open)) and time.monotonic() < until:
            gevent.sleep(_GONE_SECONDS)

    def watch(self) -> None:
        """For ever: end those whose deadline is over; and say so before there is no room for another client, who would only
        see that nothing answers."""
        warned = False
        while True:
            gevent.sleep(_LOOK_SECONDS)
            # What has come in by now is taken up first: after a busy moment, a request may wait on what seems to be idle.
            gevent.sleep(0)
            now = time.monotonic()
            self.abort(lambda connection, now=now: connection.deadline < now)  # type: ignore[misc]
            count = len(self._open)
            crowded = count > 0.9 * self._limit
            if crowded and not warned:
                log.error(
                    events.CONNECTIONS_EXHAUSTED,
                    open=count,
                    most=self._limit,
                )
            warned = crowded
