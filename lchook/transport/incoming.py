"""What comes in over an HTTP connection, as bytes. Fair to other connections.

A buffered file of the standard library's costs 8 KB a connection, and calls back into Python from C: what a greenlet has on
C's stack while it waits is copied aside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
from gevent import get_hub

_READ = 1
_MIN_RECEIVE_BYTES = 2 * 1024
_MAX_RECEIVE_BYTES = 64 * 1024
_STEPS_IN_A_ROW = 32


class Incoming:
    """Receives from a connection.

    :ivar ahead: what has come in and is not used up yet.
    """

    __slots__ = ("_receive", "_steps", "_watcher", "ahead", "closed")

    def __init__(self, connection: Any) -> None:
        self._receive: Callable[[int], bytes] = connection.recv
        self.ahead = b""
        self.closed = False
        self._steps = 0
        # To wait first and then read is a system call less than to try. What TLS has unpacked, the loop does not see.
        self._watcher: Any = None if hasattr(connection, "pending") else get_hub().loop.io(connection.fileno(), _READ)

    def wait(self) -> bool:
        """Wait for the beginning of the next request; tells whether there is any."""
        if self.ahead:
            # A client that sends one request after the other without waiting would keep all others waiting: gevent only
            # switches where it has to wait.
            gevent.sleep(0)
            return True
        if self._watcher is not None:
            get_hub().wait(self._watcher)
        self.ahead = self._receive(_MAX_RECEIVE_BYTES)
        return bool(self.ahead)

    def more(self, count: int = 1) -> bool:
        """Wait for more, of which so many bytes are missing; tells whether anything came before the connection's end."""
        self.let_others_in()
        piece = self._receive(min(max(count, _MIN_RECEIVE_BYTES), _MAX_RECEIVE_BYTES))
        self.ahead += piece
        return bool(piece)

    def take(self, count: int) -> bytes:
        """Up to so many bytes of what is there."""
        data, self.ahead = self.ahead[:count], self.ahead[count:]
        return data

    def let_others_in(self) -> None:
        """A client that sends its bytes one by one, or in chunks of one, always has more to read, and would keep all others
        waiting."""
        self._steps += 1
        if self._steps % _STEPS_IN_A_ROW == 0:
            gevent.sleep(0)

    def close(self) -> None:
        """There is nothing more to read here."""
        self.closed = True
        self.ahead = b""
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None
