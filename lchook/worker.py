"""The gunicorn worker: gevent with gevent-websocket, made safe, and an end that loses nothing."""

from __future__ import annotations

import gc
import time
from typing import Any

import gevent
from geventwebsocket.gunicorn.workers import GeventWebSocketWorker

from config import Settings
from lchook.http_handler import Handler
from lchook.logs import Log
from lchook.websocket import BoundedWebSocket

log = Log(__name__)

# How long clients that were closed have to hang up, before their connections are cut.
_HANG_UP_SECONDS = 0.5
_LOOK_SECONDS = 1.0
# New objects, young collections, middle collections: Python's defaults are 700, 10, 10.
_COLLECT_AFTER = (20_000, 20, 50)


class Worker(GeventWebSocketWorker):  # type: ignore[misc]
    """What `worker_class` in gunicorn.conf.py names."""

    wsgi_handler = Handler

    def run(self) -> None:
        """Serve until told to stop; gunicorn then waits until the connections are closed."""
        settings: Settings | None = getattr(self.wsgi, "extensions", {}).get("lch_settings")
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
        gevent.spawn(self._drain_at_the_end)
        super().run()

    def _watch_connections(self) -> None:
        """Cut those whose deadline is over; and say so before there is no room for another client, who would only see that
        nothing answers."""
        warned = False
        while self.alive:
            gevent.sleep(_LOOK_SECONDS)
            now = time.monotonic()
            for handler in list(Handler.connections):
                if handler.deadline < now:
                    handler.cut()
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
