"""The gunicorn worker: gevent with gevent-websocket."""

from __future__ import annotations

from geventwebsocket.gunicorn.workers import GeventWebSocketWorker
from geventwebsocket.handler import WebSocketHandler
from gunicorn.workers.ggevent import PyWSGIHandler


class Handler(WebSocketHandler, PyWSGIHandler):  # type: ignore[misc]  # neither has types
    """gevent-websocket's handler with gunicorn's access log, which its own (0.10.1) leaves out."""

    def log_request(self) -> None:
        PyWSGIHandler.log_request(self)


class Worker(GeventWebSocketWorker):  # type: ignore[misc]
    """What `worker_class` in gunicorn.conf.py names."""

    wsgi_handler = Handler
