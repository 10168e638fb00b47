"""The gunicorn worker: gevent with gevent-websocket, made safe, and an end that loses nothing."""

from __future__ import annotations

import gc
import time
from typing import Any

import gevent
from gevent.pool import Group, Pool
from geventwebsocket.gunicorn.workers import GeventWebSocketWorker
from gunicorn.workers.ggevent import PyWSGIServer

from config import Settings
from lchook.logs import Log
from lchook.serving.http_handler import Handler
from lchook.serving.start import check_patching
from lchook.serving.websocket import BoundedWebSocket
from lchook.webhook import PATH

log = Log(__name__)

# How long clients that were closed have to hang up, before their connections are cut.
_HANG_UP_SECONDS = 0.5
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


class Worker(GeventWebSocketWorker):  # type: ignore[misc]
    """What `worker_class` in gunicorn.conf.py names."""

    server_class = Server
    wsgi_handler = Handler
    # gunicorn calls it in its master, before there is any worker.
    setup = staticmethod(check_patching)

    def run(self) -> None:
        """Serve until told to stop; gunicorn then waits until the connections are closed."""
        settings: Settings | None = getattr(self.wsgi, "extensions", {}).get("lch_settings")
        shortcut = getattr(self.wsgi, "extensions", {}).get("lch_shortcut")
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
        draining = gevent.spawn(self._drain_at_the_end)
        super().run()
        # gunicorn waits for connections; messages to DMS outlive them.
        draining.join()

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
        for connection in list(Handler.connections):
            connection.cut()


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
