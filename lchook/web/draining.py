"""Stopping without loss: refuse new clients, let what is in flight finish, then close clients so that they reconnect.

All else is answered until the last moment, webhooks above all: the store is open, and what is kept there is delivered by
whoever takes over. The worker calls `stop` and `end`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any, Protocol

from lchook.core import events
from lchook.logs import Log
from lchook.transport.connections import Connections
from lchook.transport.cors import SOCKET_IO, WsgiApp

log = Log(__name__)

# For messages under way to DMS. gunicorn's graceful_timeout is 20 s, a platform's patience often 30 s.
_MAX_SECONDS = 16.0
# For acknowledgements of messages. They are kept, so this only saves sending some of them twice.
_ACKNOWLEDGEMENT_SECONDS = 2.0
_REFUSAL = json.dumps({"error": "this instance is stopping: try again"}).encode()


class ToDms(Protocol):
    """The flow to DMS, or several."""

    def stop(self) -> None: ...
    def pending(self) -> int: ...
    def unfinished(self) -> int: ...


class ToCustomer(Protocol):
    """The flow to customers, or several."""

    def unacknowledged(self) -> int: ...


class Closes(Protocol):
    """The store, or several."""

    def close(self) -> None: ...


class Draining:
    """WSGI middleware around the application, and the way to its end."""

    def __init__(
        self, app: WsgiApp, *, connections: Connections, to_dms: ToDms, to_customer: ToCustomer, store: Closes
    ) -> None:
        self._app = app
        self._connections = connections
        self._to_dms = to_dms
        self._to_customer = to_customer
        self._store = store
        self.stopping = False

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        # A client that is connected by polling goes on until it is closed: acknowledgements come that way.
        if self.stopping and _is_new_client(environ):
            headers = [
                ("Content-Type", "application/json"),
                ("Content-Length", str(len(_REFUSAL))),
                ("Retry-After", "1"),
                ("Connection", "close"),
            ]
            start_response("503 Service Unavailable", headers)
            return [_REFUSAL]
        return self._app(environ, start_response)

    def is_stopping(self) -> bool:
        """Has the end begun?"""
        return self.stopping

    def stop(self) -> None:
        """Returns when nothing more can be saved: all is done, or the time is over."""
        self.stopping = True
        self._to_dms.stop()
        started = time.monotonic()
        while (seconds := time.monotonic() - started) < _MAX_SECONDS:
            waits_for_acknowledgements = seconds < _ACKNOWLEDGEMENT_SECONDS and self._to_customer.unacknowledged() > 0
            if self._to_dms.unfinished() == 0 and not waits_for_acknowledgements:
                break
            time.sleep(0.05)
        log.info(
            events.STOPPING,
            seconds=time.monotonic() - started,
            messages_unfinished=self._to_dms.unfinished(),
            messages_without_outcome=self._to_dms.pending(),
            messages_unacknowledged=self._to_customer.unacknowledged(),
            clients=self._connections.open(),
        )
        self._connections.close_all(within_seconds=1)

    def end(self) -> None:
        """Nothing comes in any more."""
        self._store.close()


def _is_new_client(environ: dict[str, Any]) -> bool:
    return (
        environ.get("PATH_INFO", "").startswith(SOCKET_IO)
        and environ.get("REQUEST_METHOD") != "OPTIONS"
        and "sid=" not in environ.get("QUERY_STRING", "")
    )
