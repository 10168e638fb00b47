"""The port to connected clients: what the flows and the chat see of sockets, engines and heartbeats.

A connection is named by its Socket.IO sid. It works with the Flask-SocketIO test client, too, which has no engine below it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

from engineio.exceptions import SocketIsClosedError

from lchook.transport.engine_socket import EngineSocket
from lchook.transport.server import Server

# What a waiting packet costs besides its characters.
_PACKET_OVERHEAD = 500


class Connections:
    """Those of one namespace."""

    def __init__(self, server: Server, namespace: str = "/", *, bound: Callable[[Any], Any] | None = None) -> None:
        """:param bound: makes of a callback one that runs where it should, whoever calls it."""
        self._server = server
        self._namespace = namespace
        self._bound = bound

    def emit(
        self, connection: str, payload: str, acknowledged: Callable[..., object], *, event: str = "serverMessage"
    ) -> None:
        """Send an event with one argument; `acknowledged` is called when the client has it, once. In the default namespace.

        What python-socketio does for it, without its search for binary data and rooms, at a fifth of the cost. A client that
        does not read is sent nothing, and closed.

        :param payload: JSON.
        """
        if self._bound is not None:
            acknowledged = self._bound(acknowledged)
        session = self._session(connection)
        if session is None or session.closed:
            # It is gone, or it is the test client's.
            self._server.emit(event, json.loads(payload), to=connection, namespace=self._namespace, callback=acknowledged)
        elif self._server.guard.accepts_writes(session):
            number = session.acks.register(acknowledged)
            try:
                session.send_message(f'2{number}["{event}",{payload}]')
            except SocketIsClosedError:
                # What is not acknowledged goes to the customer's next connection.
                return

    def send_event(self, connection: str, event: str, *args: Any) -> None:
        """Send an event that needs no acknowledgement."""
        self._server.emit(event, args, to=connection, namespace=self._namespace)

    def answered_ping_age(self, connection: str) -> float | None:
        """How many seconds ago was the latest ping sent that the client has answered?

        `None` where it is gone; one that owes its heartbeat for too long is closed.
        """
        eio_sid = self._server.manager.eio_sid_from_sid(connection, self._namespace)
        session = self._server.eio.sockets.get(eio_sid)
        if session is None:
            # The test client has no engine below it.
            return 0.0 if eio_sid in self._server.environ else None
        return session.answered_ping_age()  # type: ignore[no-any-return]

    def is_older(self, connection: str, other: str) -> bool:
        """Has this one connected before the other? Both must be open."""
        return self._server.manager.is_older(connection, other, self._namespace)  # type: ignore[no-any-return]

    def ask(self, connection: str, answered: Callable[[], object] | None) -> None:
        """Ping the client now, and close the connection if it does not answer within a few seconds.

        :param answered: called when it does.
        """
        if self._bound is not None and answered is not None:
            answered = self._bound(answered)
        session = self._session(connection)
        if session is not None:
            with contextlib.suppress(SocketIsClosedError):
                session.ask(answered)

    def close(self, connection: str) -> None:
        """Close it so that its client connects again by itself: at the engine's level. One level higher, JavaScript clients
        do not."""
        session = self._session(connection)
        if session is not None:
            session.close_soon()

    def unsent(self, connection: str) -> int:
        """How many characters, about, wait to be sent to the client."""
        session = self._session(connection)
        return 0 if session is None else sum(_PACKET_OVERHEAD + len(packet.data or "") for packet in session.send_buffer())

    # All of the server's

    def open(self) -> int:
        """How many there are, those that have not joined a namespace included."""
        return len(self._server.eio.sockets)

    def close_all(self, within_seconds: float) -> None:
        """Close all, as `close` does, and wait for that, each at most so long."""
        tasks = [session.close_soon() for session in list(self._server.eio.sockets.values())]
        for task in tasks:
            task.join(timeout=within_seconds)

    def _session(self, connection: str) -> EngineSocket | None:
        session: EngineSocket | None = self._server.joined.get(connection)
        if session is None:
            # It is another namespace's, or gone.
            eio_sid = self._server.manager.eio_sid_from_sid(connection, self._namespace)
            session = self._server.eio.sockets.get(eio_sid)
        return session
