"""Flask-SocketIO with our server."""

from __future__ import annotations

from typing import Any

import flask_socketio
from flask import Flask
from flask_socketio import _SocketIOMiddleware as FlaskMiddleware

from lchook.transport.guard import Guard
from lchook.transport.server import Server


class SocketIO(flask_socketio.SocketIO):  # type: ignore[misc]  # Flask-SocketIO has no types
    """Makes the server, and puts it before an application."""

    def init_app(self, app: Flask, *, guard: Guard, **options: Any) -> None:
        """In place of Flask-SocketIO's, which makes python-socketio's server.

        :param options: of python-socketio's server and its engine.
        """
        app.extensions["socketio"] = self
        self.manage_session = False
        self.server_options.update(options)
        self.server = Server(guard, **options)
        self.async_mode = self.server.async_mode
        self.sockio_mw = FlaskMiddleware(self.server, app)
        app.wsgi_app = self.sockio_mw  # type: ignore[method-assign]
