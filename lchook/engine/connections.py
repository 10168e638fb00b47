"""Clients' connections in the default namespace, as the flows see them: by their Socket.IO ids, and nothing else of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lchook.engine.guard import EngineGuard
from lchook.engine.ordered_events import answered_ping_age, ask_whether_there, emit_event, engine_socket


class Connections:
    """See `lchook.flows.to_customer.Connections`."""

    def __init__(self, server: Any, guard: EngineGuard) -> None:
        """:param server: python-socketio's server."""
        self._server = server
        self._guard = guard
        # Which opened when; grows with each.
        self._numbers: dict[str, int] = {}
        self._opened = 0

    def opened(self, connection: str) -> None:
        """A client has connected."""
        self._opened += 1
        self._numbers[connection] = self._opened

    def closed(self, connection: str) -> None:
        """It is gone."""
        self._numbers.pop(connection, None)

    def emit(self, connection: str, payload: str, acknowledged: Callable[..., None]) -> None:
        eio_socket = engine_socket(self._server, connection)
        if self._guard.reads(eio_socket):
            emit_event(self._server, eio_socket, connection, "serverMessage", payload, acknowledged)

    def answered_ping_age(self, connection: str) -> float | None:
        return answered_ping_age(self._server, connection)

    def is_older(self, connection: str, other: str) -> bool:
        one, another = self._numbers.get(connection), self._numbers.get(other)
        return one is not None and another is not None and one < another

    def ask(self, connection: str, answered: Callable[[], object]) -> None:
        ask_whether_there(self._server, connection, answered)
