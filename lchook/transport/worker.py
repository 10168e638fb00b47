"""The gunicorn worker: gevent with gevent-websocket, made safe, and an end that loses nothing."""

from __future__ import annotations

import gc
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import gevent
from gevent.pool import Pool
from geventwebsocket.gunicorn.workers import GeventWebSocketWorker
from gunicorn.http.wsgi import base_environ
from gunicorn.sock import ssl_context
from gunicorn.workers.ggevent import VERSION

from lchook.core import events
from lchook.logs import Log
from lchook.transport.http_handler import Handler
from lchook.transport.http_server import HttpOptions, HttpServer, Timeouts
from lchook.transport.open_connections import OpenConnections
from lchook.transport.served_websocket import ServedWebSocket
from lchook.transport.startup_checks import check_before_workers

log = Log(__name__)

# How long clients that were closed have to hang up, before their connections are ended.
_HANG_UP_SECONDS = 0.5
# How long a request may take to follow the connection that was opened for it.
_FIRST_REQUEST_SECONDS = 0.3
# gunicorn kills a worker after its graceful timeout; it ends this much earlier.
_RESERVE_SECONDS = 1.0
# How often is looked whether it is told to stop.
_TOLD_SECONDS = 0.1
# New objects, young collections, middle collections: Python's defaults are 700, 10, 10.
_COLLECT_AFTER = (20_000, 20, 50)


class Draining(Protocol):
    """The application's part in the end of the process."""

    def stop(self) -> None:
        """Returns when nothing more can be saved."""

    def end(self) -> None:
        """Nothing comes in any more."""


class Served(Protocol):
    """What an application tells the worker that serves it, in `extensions["lch"]`."""

    @property
    def options(self) -> HttpOptions: ...

    @property
    def draining(self) -> Draining: ...

    def start(self) -> None:
        """The worker serves."""

    def reload(self) -> None:
        """The worker was told to read anew what may change while it serves."""


class Worker(GeventWebSocketWorker):  # type: ignore[misc]
    """What `worker_class` in gunicorn.conf.py names."""

    server_class = HttpServer
    wsgi_handler = Handler
    timeouts = Timeouts()
    _told_to_stop = False
    _told_to_reload = False
    # gunicorn calls it in its master, before there is any worker.
    setup = staticmethod(check_before_workers)

    def run(self) -> None:
        """Serve until told to stop, and then until all is done that was begun."""
        served: Served | None = getattr(self.wsgi, "extensions", {}).get("lch")
        options = served.options if served else HttpOptions()
        timeouts = replace(self.timeouts, websocket_seconds=options.timeouts.websocket_seconds)
        logs_access = _logs_access(self.cfg)
        # The access log is of what takes the way through WSGI.
        fast_path = None if logs_access else options.fast_path
        self.options = replace(options, timeouts=timeouts, logs_access=logs_access, fast_path=fast_path)
        self.draining = served.draining if served else None
        self.connections = OpenConnections(self.worker_connections)
        gevent.get_hub().print_exception = _log_uncaught
        # What is loaded stays. With thousands of connections a full collection, by default every few seconds under load,
        # takes a quarter of a second in which nobody is served.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_COLLECT_AFTER)
        gevent.spawn(self.connections.watch)
        servers = [self._start_server(listener) for listener in self.sockets]
        if served is not None:
            served.start()
        while not self._told_to_stop:
            self.notify()
            if self._told_to_reload and served is not None:
                self._told_to_reload = False
                gevent.spawn(served.reload)
            gevent.sleep(_TOLD_SECONDS)
        ending = gevent.spawn(self._end, servers)
        while not ending.ready():
            self.notify()
            ending.join(timeout=1.0)
        self.alive = False

    def init_signals(self) -> None:
        """gunicorn's, and SIGHUP, which would end the worker."""
        super().init_signals()
        signal.signal(signal.SIGHUP, self.handle_hup)
        signal.siginterrupt(signal.SIGHUP, False)

    def handle_hup(self, sig: int, frame: Any) -> None:
        """SIGHUP."""
        self._told_to_reload = True

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGTERM, once or more. gunicorn's own clears `alive`, and its loop then refuses connections while it waits."""
        self._told_to_stop = True

    def _start_server(self, listener: Any) -> HttpServer:
        listener.setblocking(1)
        environ = base_environ(self.cfg)
        environ.update({"wsgi.multithread": True, "SERVER_SOFTWARE": VERSION})
        tls = {"ssl_context": ssl_context(self.cfg)} if self.cfg.is_ssl else {}
        server = self.server_class(
            listener,
            application=self.wsgi,
            spawn=Pool(self.worker_connections),
            log=self.log,
            handler_class=self.wsgi_handler,
            environ=environ,
            options=self.options,
            connections=self.connections,
            **tls,
        )
        server.start()
        return server

    def _end(self, servers: list[HttpServer]) -> None:
        """Come to an end. Webhooks are taken all the time: the store is open, and whoever takes over finds them there."""
        started, connections = time.monotonic(), self.connections
        connections.ending = True
        if self._has_successor():
            self._stop_accepting(servers)
        if self.draining is not None:
            self.draining.stop()
        # Clients have been told, and hang up.
        connections.wait_for_end(lambda one: not one.is_idle, _HANG_UP_SECONDS)
        connections.abort(lambda one: isinstance(one, ServedWebSocket) or (one.is_idle and not one.is_new))
        self._stop_accepting(servers)
        # From here on connections are refused, so this is to be short.
        connections.wait_for_end(lambda one: True, _FIRST_REQUEST_SECONDS)
        connections.abort(lambda one: one.is_idle)
        left = started + self.cfg.graceful_timeout - _RESERVE_SECONDS - time.monotonic()
        connections.wait_for_end(lambda one: True, max(_HANG_UP_SECONDS, left))
        if self.draining is not None:
            self.draining.end()
        connections.abort(lambda one: True)

    def _has_successor(self) -> bool:
        """Does another process take what comes on the same sockets? So it is where gunicorn reloads (SIGHUP, SIGUSR2)."""
        try:
            siblings = Path(f"/proc/{self.ppid}/task/{self.ppid}/children").read_text().split()
        except OSError:
            return False
        return any(int(sibling) != self.pid for sibling in siblings)

    def _stop_accepting(self, servers: list[HttpServer]) -> None:
        for server in servers:
            if not server.closed:
                server.accept_waiting()
                server.close()


def _log_uncaught(context: object, kind: object, error: BaseException | None, trace: object) -> None:
    """In place of gevent's own: a line instead of a trace, without what was being handled."""
    if error is not None:
        log.unexpected(events.TASK_FAILED, error)


def _logs_access(cfg: Any) -> bool:
    """Does gunicorn keep an access log? It finds out itself, but only after the line has been put together."""
    return bool(
        cfg.accesslog
        or cfg.logconfig
        or cfg.logconfig_dict
        or cfg.logconfig_json
        or (cfg.syslog and not cfg.disable_redirect_access_to_syslog)
    )
