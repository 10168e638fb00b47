"""Engine.IO's server: opens sessions of our own kind, refuses, and looks after their heartbeats."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import engineio
from engineio.exceptions import QueueEmpty, SocketIsClosedError
from engineio.packet import OPEN, PING, Packet

from lchook.core.heartbeats import Heartbeats
from lchook.transport.engine_socket import EngineSocket

_RETRY_AFTER_SECONDS = 2


class Busy(str):
    """In these words a connection is refused for now. For what is returned to the engine's "connect"."""

    __slots__ = ()


class EngineServer(engineio.Server):  # type: ignore[misc]  # python-engineio has no types
    """python-engineio's, with `EngineSocket`s."""

    def __init__(self, **options: Any) -> None:
        # The heartbeats look after the clients.
        super().__init__(**{**options, "monitor_clients": False})
        self.heartbeats = Heartbeats(self.ping_interval, self.ping_timeout)

    def tick(self) -> None:
        """Ping those who are due, and close those who have not answered in time."""
        pings, silent = self.heartbeats.due(time.monotonic())
        for sid in pings:
            if sid in self.sockets:
                with contextlib.suppress(SocketIsClosedError, KeyError):
                    self.sockets[sid].send(Packet(PING))
        for sid in silent:
            session = self.sockets.get(sid)
            if session is not None:
                session.close_soon(self.reason.PING_TIMEOUT)

    def disconnect(self, sid: str | None = None) -> None:
        """Close a session, and do not wait until its client has taken what is left: that would hold up the request."""
        if sid is None:
            super().disconnect()
            return
        session = self.sockets.pop(sid, None)
        if session is not None:
            session.close(wait=False, reason=self.reason.SERVER_DISCONNECT)

    def _handle_connect(
        self, environ: dict[str, Any], start_response: Any, transport: str, jsonp_index: int | None = None
    ) -> Any:
        """Open a session. In place of the engine's, which knows no sessions but its own."""
        sid = self.generate_id()
        session = self.sockets[sid] = EngineSocket(self, sid)
        welcome = {
            "sid": sid,
            "upgrades": self._upgrades(sid, transport),
            "pingTimeout": int(self.ping_timeout * 1000),
            "pingInterval": int(self.ping_interval * 1000),
            "maxPayload": self.max_http_buffer_size,
        }
        session.send(Packet(OPEN, welcome))
        refusal = self._trigger_event("connect", sid, environ, run_async=False)
        if refusal is not None and refusal is not True:
            self.sockets.pop(sid, None)
            return self._refused(refusal)
        session.start_heartbeat()
        if transport == "websocket":
            answer = session.handle_get_request(environ, start_response)
            if session.closed:
                self.sockets.pop(sid, None)
            return answer
        session.connected = True
        try:
            return self._ok(session.poll(), jsonp_index=jsonp_index)
        except QueueEmpty:
            return self._bad_request()

    def _refused(self, refusal: Any) -> dict[str, Any]:
        """The answer to a handshake that is refused. A client that comes too often is to come again, a little later."""
        answer: dict[str, Any] = self._unauthorized(refusal or None)
        if isinstance(refusal, Busy):
            answer["status"] = "429 TOO MANY REQUESTS"
            answer["headers"].append(("Retry-After", str(_RETRY_AFTER_SECONDS)))
        return answer
