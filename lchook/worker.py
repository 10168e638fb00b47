"""The gunicorn worker: gevent with gevent-websocket, made safe, and an end that loses nothing."""

from __future__ import annotations

import contextlib
import io
import socket
from typing import Any

import gevent
import geventwebsocket.handler
from geventwebsocket.gunicorn.workers import GeventWebSocketWorker
from geventwebsocket.handler import WebSocketHandler
from gunicorn.workers.ggevent import PyWSGIHandler

from config import Settings
from lchook.logs import Log
from lchook.websocket import BoundedWebSocket

log = Log(__name__)

# gevent-websocket's handler takes the class from its own module.
geventwebsocket.handler.WebSocket = BoundedWebSocket

# How long a connection may wait for its next request, a request for its headers, and a body for its end.
_IDLE_SECONDS = 75.0
_HEADERS_SECONDS = 20.0
_BODY_SECONDS = 30.0
# How long clients that were closed have to hang up, before their connections are cut.
_HANG_UP_SECONDS = 0.5
_LOOK_AT_CONNECTIONS_SECONDS = 5.0


class _TooSlowError(ValueError):
    """The client takes too long to say what it wants. pywsgi answers a ValueError with 400."""


class Handler(WebSocketHandler, PyWSGIHandler):  # type: ignore[misc]  # neither has types
    """One connection. Adds to gevent-websocket's handler: gunicorn's access log, which it (0.10.1) leaves out, time limits
    against clients that trickle or vanish, and a way to end connections from this side."""

    # Connections of this process, one handler each; `idle` ones wait for a request.
    connections: set[Handler] = set()  # noqa: RUF012
    idle = False
    # Set by the worker from the settings.
    websocket_timeout_seconds = 65.0
    most_body_bytes = 1_000_000

    def log_request(self) -> None:
        PyWSGIHandler.log_request(self)

    def handle(self) -> None:
        Handler.connections.add(self)
        try:
            super().handle()
        finally:
            Handler.connections.discard(self)

    def read_requestline(self) -> str:
        self.idle = True
        line = ""
        # A timer for the whole line: a socket's timeout starts anew with every byte.
        with gevent.Timeout(_IDLE_SECONDS, False):
            line = str(super().read_requestline())
        self.idle = False
        return line

    def read_request(self, raw_requestline: str) -> Any:
        with gevent.Timeout(_HEADERS_SECONDS, _TooSlowError("the headers took too long")):
            return super().read_request(raw_requestline)

    def run_application(self) -> None:
        if self.content_length and self.content_length <= self.most_body_bytes:
            try:
                with gevent.Timeout(_BODY_SECONDS, _TooSlowError("the body took too long")):
                    self.environ["wsgi.input"] = io.BytesIO(self.wsgi_input.read())
            except (_TooSlowError, OSError) as error:
                # OSError: the body broke off, and with it most likely the connection.
                status = "408 Request Timeout" if isinstance(error, _TooSlowError) else "400 Bad Request"
                self.close_connection = True
                self.start_response(status, [("Content-Length", "0"), ("Connection", "close")])
                self.result: list[bytes] = []
                self.process_result()
                return
        super().run_application()

    def upgrade_connection(self) -> Any:
        # A client whose connection died without a word is noticed by the heartbeat, but its greenlet would go on reading.
        # It also bounds how long a client may leave unread what it is sent.
        self.socket.settimeout(self.websocket_timeout_seconds)
        return super().upgrade_connection()

    def cut(self) -> None:
        """End the connection from this side."""
        with contextlib.suppress(OSError, AttributeError):
            self.socket.shutdown(socket.SHUT_RDWR)


class Worker(GeventWebSocketWorker):  # type: ignore[misc]
    """What `worker_class` in gunicorn.conf.py names."""

    wsgi_handler = Handler

    def run(self) -> None:
        """Serve until told to stop; gunicorn then waits until the connections are closed."""
        settings: Settings | None = getattr(self.wsgi, "extensions", {}).get("lch_settings")
        if settings is not None:
            BoundedWebSocket.max_bytes = settings.max_message_bytes
            Handler.most_body_bytes = settings.max_message_bytes
            Handler.websocket_timeout_seconds = settings.ping_interval_seconds + 2 * settings.ping_timeout_seconds
        gevent.spawn(self._watch_connections)
        gevent.spawn(self._drain_at_the_end)
        super().run()

    def _watch_connections(self) -> None:
        """Say so before there is no room for another client: the next one would only see that nothing answers."""
        warned = False
        while self.alive:
            gevent.sleep(_LOOK_AT_CONNECTIONS_SECONDS)
            count = len(Handler.connections)
            crowded = count > 0.9 * self.worker_connections
            if crowded and not warned:
                log.error(
                    "hardly any connections are left: start more instances, or raise the limit of open files",
                    open=count,
                    most=self.worker_connections,
                )
            warned = crowded

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
