"""The gunicorn worker: gevent with gevent-websocket, and an end that loses nothing."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import gevent
from geventwebsocket.gunicorn.workers import GeventWebSocketWorker
from geventwebsocket.handler import WebSocketHandler
from gunicorn.workers.ggevent import PyWSGIHandler

# How long clients that were closed have to hang up, before their connections are cut.
_HANG_UP_SECONDS = 0.5


class Handler(WebSocketHandler, PyWSGIHandler):  # type: ignore[misc]  # neither has types
    """gevent-websocket's handler with gunicorn's access log, which its own (0.10.1) leaves out."""

    # Connections of this process, one handler each; `idle` ones wait for a request.
    connections: set[Handler] = set()  # noqa: RUF012
    idle = False

    def log_request(self) -> None:
        PyWSGIHandler.log_request(self)

    def handle(self) -> None:
        Handler.connections.add(self)
        try:
            super().handle()
        finally:
            Handler.connections.discard(self)

    def read_requestline(self) -> Any:
        self.idle = True
        try:
            return super().read_requestline()
        finally:
            self.idle = False

    def cut(self) -> None:
        """End the connection from this side."""
        with contextlib.suppress(OSError, AttributeError):
            self.socket.shutdown(socket.SHUT_RDWR)


class Worker(GeventWebSocketWorker):  # type: ignore[misc]
    """What `worker_class` in gunicorn.conf.py names."""

    wsgi_handler = Handler

    def run(self) -> None:
        """Serve until told to stop; gunicorn then waits until the connections are closed."""
        gevent.spawn(self._drain_at_the_end)
        super().run()

    def _drain_at_the_end(self) -> None:
        # gunicorn has no hook for SIGTERM; its handler only clears this flag.
        while self.alive:
            gevent.sleep(0.1)
        draining = getattr(self.wsgi, "extensions", {}).get("lch_draining")
        if draining is not None:
            draining.stop()
        # Keep-alive connections without a request would hold up the end for as long as they like, and so would clients
        # that do not hang up.
        gevent.sleep(_HANG_UP_SECONDS)
        for handler in list(Handler.connections):
            handler.cut()
