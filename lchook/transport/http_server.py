"""gunicorn's gevent server, and what all its connections share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gunicorn.workers.ggevent import PyWSGIServer

from lchook.transport.connection_slots import ConnectionSlots
from lchook.transport.fast_path import FastPath
from lchook.transport.open_connections import OpenConnections


@dataclass(frozen=True)
class Timeouts:
    """How long a connection may wait for its next request, a request for its headers, a body for its end, and a WebSocket
    for a whole message. Whoever does not read, or is gone without a word, is given up after the last of these, too."""

    idle_seconds: float = 75.0
    headers_seconds: float = 20.0
    body_seconds: float = 30.0
    websocket_seconds: float = 65.0


@dataclass(frozen=True)
class HttpOptions:
    """How requests are served.

    :ivar max_body_bytes: of requests, and of messages on WebSockets.
    :ivar logs_access: a line for each request is wanted.
    :ivar fast_path: for posts to one path, beside WSGI.
    :ivar streams: is a body of any length, with a Content-Length, to be read by the application while it comes in? For a
        method and a target.
    :ivar cors_headers: those without which a browser does not show its page a refusal, for an environ.
    """

    timeouts: Timeouts = Timeouts()
    max_body_bytes: int = 1_000_000
    logs_access: bool = True
    fast_path: FastPath | None = None
    streams: Callable[[bytes, bytes], bool] | None = None
    cors_headers: Callable[[dict[str, Any]], list[tuple[str, str]]] = lambda environ: []


class HttpServer(PyWSGIServer):  # type: ignore[misc]  # gunicorn has no types
    """Makes a handler for each connection."""

    def __init__(self, *args: Any, options: HttpOptions, connections: OpenConnections, **others: Any) -> None:
        super().__init__(*args, **others)
        self.options = options
        self.connections = connections

    def set_spawn(self, spawn: Any) -> None:
        super().set_spawn(ConnectionSlots(spawn.size))

    def accept_waiting(self) -> None:
        """Take in the connections that the system has accepted: closing the listening socket would reset them."""
        with contextlib.suppress(OSError):
            while not self.full() and (accepted := self.do_read()):
                self.do_handle(*accepted)
