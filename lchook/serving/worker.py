"""The gunicorn worker: gevent with gevent-websocket, made safe, and an end that loses nothing."""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
from gevent.pool import Group, Pool
from geventwebsocket.gunicorn.workers import GeventWebSocketWorker
from gunicorn.http.wsgi import base_environ
from gunicorn.sock import ssl_context
from gunicorn.workers.ggevent import VERSION, PyWSGIServer

from config import Settings
from lchook.logs import Log
from lchook.serving.http_handler import Connection, Handler
from lchook.serving.served_websocket import ServedWebSocket
from lchook.serving.start import check_patching
from lchook.serving.websocket import BoundedWebSocket
from lchook.web.webhook import PATH

log = Log(__name__)

# How long clients that were closed have to hang up, before their connections are cut.
_HANG_UP_SECONDS = 0.5
# How long a request may take to follow the connection that was opened for it.
_FIRST_REQUEST_SECONDS = 0.3
# gunicorn kills a worker after its graceful timeout; it ends this much earlier.
_RESERVE_SECONDS = 1.0
# How often is looked: whether it is told to stop, and whether connections are gone.
_TOLD_SECONDS, _GONE_SECONDS = 0.1, 0.01
_LOOK_SECONDS = 1.0
# New objects, young collections, middle collections: Python's defaults are 700, 10, 10.
_COLLECT_AFTER = (20_000, 20, 50)


class Places(Pool):  # type: ignore[misc]  # gevent has no types here
    """The places for connections: of those that have a greenlet, and of those that need none."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._keeping: set[Any] = set()
        self._kept = 0

    def keep(self, greenlet: Any) -> None:
        """When this greenlet ends, its place stays taken."""
        self._keeping.add(greenlet)
        self._kept += 1

    def give_back(self) -> None:
        """A place that was kept is free again."""
        self._kept -= 1
        self._semaphore.release()

    def free_count(self) -> int:
        # Those of greenlets that keep theirs and have not ended yet would count twice.
        return int(super().free_count()) - self._kept + len(self._keeping)

    def _discard(self, greenlet: Any) -> None:
        if greenlet in self._keeping:
            self._keeping.discard(greenlet)
            Group._discard(self, greenlet)
        else:
            super()._discard(greenlet)


class Server(PyWSGIServer):  # type: ignore[misc]
    """gunicorn's, with `Places`."""

    def set_spawn(self, spawn: Any) -> None:
        super().set_spawn(Places(spawn.size))

    def accept_what_waits(self) -> None:
        """Take in the connections that the system has accepted: closing the listening socket would reset them."""
        with contextlib.suppress(OSError):
            while not self.full() and (accepted := self.do_read()):
                self.do_handle(*accepted)


class Worker(GeventWebSocketWorker):  # type: ignore[misc]
    """What `worker_class` in gunicorn.conf.py names."""

    server_class = Server
    wsgi_handler = Handler
    _told_to_stop = False
    # gunicorn calls it in its master, before there is any worker.
    setup = staticmethod(check_patching)

    def run(self) -> None:
        """Serve until told to stop, and then until all is done that was begun."""
        extensions = getattr(self.wsgi, "extensions", {})
        settings: Settings | None = extensions.get("lch_settings")
        shortcut = extensions.get("lch_shortcut")
        if "lch_cors" in extensions:
            Handler.cors_headers = staticmethod(extensions["lch_cors"])
        if shortcut is not None:
            Handler.post_line = f"POST {PATH} HTTP/1.1\r\n".encode()
            Handler.take_post = staticmethod(shortcut)
        if settings is not None:
            BoundedWebSocket.max_bytes = settings.max_message_bytes
            Handler.most_body_bytes = settings.max_message_bytes
            Handler.logs_access = _logs_access(self.cfg)
            Handler.websocket_timeout_seconds = settings.ping_interval_seconds + 2 * settings.ping_timeout_seconds
        gevent.get_hub().print_exception = _log_what_nobody_caught
        # What is loaded stays. With thousands of connections a full collection, by default every few seconds under load,
        # takes a quarter of a second in which nobody is served.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_COLLECT_AFTER)
        gevent.spawn(self._watch_connections)
        if "lch_ticker" in extensions:
            # Messages may wait that a process before this one has left.
            extensions["lch_ticker"].start()
        servers = [self._start_server(listener) for listener in self.sockets]
        while not self._told_to_stop:
            self.notify()
            gevent.sleep(_TOLD_SECONDS)
        ending = gevent.spawn(self._end, servers)
        while not ending.ready():
            self.notify()
            ending.join(timeout=1.0)
        self.alive = False

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGTERM, once or more. gunicorn's own clears `alive`, and its loop then refuses connections while it waits."""
        self._told_to_stop = True

    def _start_server(self, listener: Any) -> Server:
        listener.setblocking(1)
        environ = base_environ(self.cfg)
        environ.update({"wsgi.multithread": True, "SERVER_SOFTWARE": VERSION})
        tls = {"ssl_context": ssl_context(self.cfg)} if self.cfg.is_ssl else {}
        pool = Pool(self.worker_connections)
        server = self.server_class(
            listener,
            application=self.wsgi,
            spawn=pool,
            log=self.log,
            handler_class=self.wsgi_handler,
            environ=environ,
            **tls,
        )
        server.start()
        return server

    def _end(self, servers: list[Server]) -> None:
        """Come to an end. Webhooks are taken all the time: the store is open, and whoever takes over finds them there."""
        started = time.monotonic()
        Handler.ending = True
        if self._has_successor():
            self._stop_accepting(servers)
        draining = getattr(self.wsgi, "extensions", {}).get("lch_draining")
        if draining is not None:
            draining.stop()
        # Clients have been told, and hang up.
        self._await_the_end_of(lambda connection: not connection.is_idle, _HANG_UP_SECONDS)
        self._cut(lambda one: isinstance(one, ServedWebSocket) or (one.is_idle and not one.is_new))
        self._stop_accepting(servers)
        # From here on connections are refused, so this is to be short.
        self._await_the_end_of(lambda connection: True, _FIRST_REQUEST_SECONDS)
        self._cut(lambda connection: connection.is_idle)
        left = started + self.cfg.graceful_timeout - _RESERVE_SECONDS - time.monotonic()
        self._await_the_end_of(lambda connection: True, max(_HANG_UP_SECONDS, left))
        if draining is not None:
            draining.end()
        self._cut(lambda connection: True)

    def _has_successor(self) -> bool:
        """Does another process take what comes on the same sockets? So it is where gunicorn reloads (SIGHUP, SIGUSR2)."""
        try:
            siblings = Path(f"/proc/{self.ppid}/task/{self.ppid}/children").read_text().split()
        except OSError:
            return False
        return any(int(sibling) != self.pid for sibling in siblings)

    def _stop_accepting(self, servers: list[Server]) -> None:
        for server in servers:
            if not server.closed:
                server.accept_what_waits()
                server.close()

    def _cut(self, which: Callable[[Connection], bool]) -> None:
        for connection in list(Handler.connections):
            if which(connection):
                connection.cut()

    def _await_the_end_of(self, matters: Callable[[Connection], bool], seconds: float) -> None:
        until = time.monotonic() + seconds
        while any(matters(connection) for connection in list(Handler.connections)) and time.monotonic() < until:
            gevent.sleep(_GONE_SECONDS)

    def _watch_connections(self) -> None:
        """Cut those whose deadline is over; and say so before there is no room for another client, who would only see that
        nothing answers."""
        warned = False
        while self.alive:
            gevent.sleep(_LOOK_SECONDS)
            now = time.monotonic()
            for connection in list(Handler.connections):
                if connection.deadline < now:
                    connection.cut()
            count = len(Handler.connections)
            crowded = count > 0.9 * self.worker_connections
            if crowded and not warned:
                log.error(
                    "hardly any connections are left: start more instances, or raise the limit of open files",
                    open=count,
                    most=self.worker_connections,
                )
            warned = crowded


def _log_what_nobody_caught(context: object, kind: object, error: BaseException | None, trace: object) -> None:
    """In place of gevent's own: a line instead of a trace, without what was being handled."""
    if error is not None:
        log.unexpected("a task failed", error)


def _logs_access(cfg: Any) -> bool:
    """Does gunicorn keep an access log? It finds out itself, but only after the line has been put together."""
    return bool(
        cfg.accesslog
        or cfg.logconfig
        or cfg.logconfig_dict
        or cfg.logconfig_json
        or (cfg.syslog and not cfg.disable_redirect_access_to_syslog)
    )
