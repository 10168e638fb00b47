"""A connection for requests that LCH makes: as a socket of gevent's, at half the price. gevent only, and not with TLS.

gevent's (26.9) tries to read, starts a timer, and waits. Here what is read is waited for first, as an answer takes its time,
and timers are shared. (With TLS the event loop does not see what is unpacked.)
"""

from __future__ import annotations

import _socket
import socket
from typing import Any

from gevent import get_hub
from gevent.socket import wait_write

from lchook.transport.signals import Signal

_READ = 1


class LeanConnection:
    """What an HTTP client needs of a socket. Timeouts are seconds, and few different ones in a process."""

    __slots__ = ("_socket", "_timeout", "_watcher", "getsockopt")

    def __init__(self, connection: socket.socket) -> None:
        """:param connection: is given up for this one."""
        self._timeout = 0.0
        self._socket: Any = _socket.socket(connection.family, connection.type, connection.proto, connection.detach())
        self._socket.setblocking(False)
        self._watcher = get_hub().loop.io(self._socket.fileno(), _READ)
        self.getsockopt = self._socket.getsockopt

    def settimeout(self, seconds: float) -> None:
        """How long is waited each time."""
        self._timeout = seconds

    def send(self, data: bytes) -> int:
        """How many of these bytes were taken at once."""
        try:
            return self._socket.send(data)  # type: ignore[no-any-return]
        except BlockingIOError:
            return 0

    def sendall(self, data: bytes) -> None:
        """:raises TimeoutError: where the other side takes nothing."""
        while data := data[self.send(data) :]:
            wait_write(self._socket.fileno(), self._timeout, TimeoutError("timed out"))

    def recv(self, size: int) -> bytes:
        """What comes next; nothing at the end.

        :raises TimeoutError: where nothing comes.
        """
        signal = Signal()
        self._watcher.start(signal.set)
        try:
            if not signal.wait(self._timeout):
                raise TimeoutError("timed out")
        finally:
            self._watcher.stop()
        return self._socket.recv(size)  # type: ignore[no-any-return]

    def close(self) -> None:
        """Now."""
        self._watcher.close()
        self._socket.close()
