"""What a browser needs in order to show its page why it was refused: CORS headers on every answer at Socket.IO's address.

Whether an origin is allowed is the engine's decision, here as for its own answers. It leaves some of those without the
headers (python-engineio 4.15.1: those about transport and version), and what others answer in its place has none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from lchook.core import events
from lchook.logs import Log

log = Log(__name__)

SOCKET_IO = "/socket.io/"
_ALLOW_ORIGIN = "access-control-allow-origin"
_FAILED = json.dumps({"error": "internal error"}).encode()

WsgiApp = Callable[[dict[str, Any], Any], Iterable[bytes]]


class Cors:
    """WSGI middleware around all that answers there."""

    def __init__(self, app: WsgiApp, engine: Any) -> None:
        """:param engine: python-engineio's server."""
        self._app = app
        self._engine = engine

    def headers(self, environ: dict[str, Any]) -> list[tuple[str, str]]:
        """Those for the answer to this request; none where it is not for Socket.IO, or its origin not allowed.

        :param environ: at least the origin, the path, the method, the scheme and the host.
        """
        if "HTTP_ORIGIN" not in environ or not environ.get("PATH_INFO", "").startswith(SOCKET_IO):
            return []
        headers: list[tuple[str, str]] = self._engine._cors_headers(environ)
        return headers if _has_origin(headers) else []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if not environ.get("PATH_INFO", "").startswith(SOCKET_IO):
            return self._app(environ, start_response)

        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            more = [] if _has_origin(headers) else self.headers(environ)
            return start_response(status, headers + more, *exc_info)

        try:
            return self._app(environ, start)
        except (ConnectionError, StopIteration):
            # simple-websocket's way to end a connection under other servers.
            raise
        except Exception as error:
            log.unexpected(events.REQUEST_FAILED, error, path=SOCKET_IO)
            start("500 Internal Server Error", [("Content-Type", "application/json"), ("Content-Length", str(len(_FAILED)))])
            return [_FAILED]


def _has_origin(headers: list[tuple[str, str]]) -> bool:
    return any(name.lower() == _ALLOW_ORIGIN for name, _ in headers)
