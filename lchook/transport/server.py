"""Socket.IO's server: hands each event to its namespace in the order in which they came in; acknowledgements may come later.

python-socketio (5.18.1) starts a task for each event and acknowledges when the task ends. Under threads such tasks overtake
each other, and a task that only waits for DMS costs a greenlet. Here the namespace is called in the greenlet (or thread)
that reads the connection, so it sees a client's events one after the other; it must not block, and acknowledges when it can.
"""

from __future__ import annotations

import re
import threading
from typing import Any

import socketio
from engineio.exceptions import SocketIsClosedError
from socketio import packet

from lchook.core import events
from lchook.core.canonical import compact_json
from lchook.logs import Log
from lchook.transport.engine_server import EngineServer
from lchook.transport.engine_socket import EngineSocket
from lchook.transport.guard import Guard
from lchook.transport.lean_manager import LeanManager
from lchook.transport.namespace import Acknowledge, ConnectFailedError, Namespace
from lchook.transport.strict_json import StrictJson, StrictPacket

log = Log(__name__)

# What is read of a connection's environ later on, by python-socketio and by Flask-SocketIO.
_KEPT = (
    "REMOTE_ADDR",
    "REQUEST_METHOD",
    "PATH_INFO",
    "QUERY_STRING",
    "HTTP_USER_AGENT",
    "flask.app",
    "wsgi.websocket",
    "lch.connections",
)
_DEFAULT = "/"
# An event in the default namespace, as nearly all packets are; and the number under which it is to be acknowledged.
_EVENT = re.compile(r"2(\d{0,15})(?=\[)")
# For how long the Flask-SocketIO test client, which wants its acknowledgement at once, waits for one.
_SERIAL_WAIT_SECONDS = 120


class Server(socketio.Server):  # type: ignore[misc]  # python-socketio has no types
    """python-socketio's, with our engine, manager and packets."""

    def __init__(self, guard: Guard, **options: Any) -> None:
        """:param guard: is asked about all that comes in."""
        super().__init__(client_manager=LeanManager(), serializer=StrictPacket, **options)
        self.guard = guard
        # The sessions that are connected to the default namespace, by their sid there.
        self.joined: dict[str, EngineSocket] = {}
        guard.protect(self)

    def _engineio_server_class(self) -> type[EngineServer]:
        return EngineServer

    # From the engine

    def _handle_eio_connect(self, eio_sid: str, environ: dict[str, Any]) -> Any:
        refusal = self.guard.connects(eio_sid, environ)
        return super()._handle_eio_connect(eio_sid, environ) if refusal is None else refusal

    def _handle_eio_message(self, eio_sid: str, data: Any) -> None:
        session = self.eio.sockets.get(eio_sid)
        if isinstance(data, str) and session is not None and session.acks.resolve(data):
            return
        if not self.guard.accepts_packet(eio_sid, session, data):
            return
        # Binary packets, whose attachments could follow, do not get as far as this.
        event = _EVENT.match(data)
        try:
            if event is not None:
                # python-socketio's packet makes half a dozen searches to find out as much.
                number = int(event[1]) if event[1] else None
                self._handle_event(eio_sid, _DEFAULT, number, StrictJson.loads(data[event.end() :]))
                return
            super()._handle_eio_message(eio_sid, data)
        except Exception as error:
            # Whatever it is, it came of this packet. The engine would log it with its trace and tell the client nothing.
            self.guard.unreadable(eio_sid, session, data, error)
        self.guard.packet_done(eio_sid)

    def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        self.guard.disconnected(eio_sid)
        super()._handle_eio_disconnect(eio_sid, reason)

    # To the namespaces

    def _handle_connect(self, eio_sid: str, namespace: str | None, data: Any) -> None:
        name = namespace or "/"
        handler = self.namespace_handlers.get(name)
        try:
            super()._handle_connect(eio_sid, namespace, data)
        except ConnectFailedError:
            self._close_unconnected(eio_sid, name, handler)
            return
        sid = self.manager.sid_from_eio_sid(eio_sid, name)
        if isinstance(handler, Namespace) and self.manager.is_connected(sid, name):
            _keep_only_what_is_needed(self.environ.get(eio_sid))
            session = self.eio.sockets.get(eio_sid)
            if session is not None and name == _DEFAULT:
                session.joined_as, self.joined[sid] = sid, session
            handler.ready(sid)

    def _handle_disconnect(self, eio_sid: str, namespace: str | None, reason: str | None = None) -> None:
        session = self.eio.sockets.get(eio_sid)
        if session is not None and session.joined_as is not None and namespace in (None, _DEFAULT):
            self.joined.pop(session.joined_as, None)
            session.joined_as = None
        super()._handle_disconnect(eio_sid, namespace, reason)

    def _close_unconnected(self, eio_sid: str, namespace: str, handler: Namespace) -> None:
        """Close the connection of a client that could not be connected, so that it comes again by itself.

        One that is refused does not. One that is told it is connected sends at once what it has kept, which would be lost.
        """
        sid = self.manager.sid_from_eio_sid(eio_sid, namespace)
        handler.trigger_event("disconnect", sid, self.reason.SERVER_DISCONNECT)
        self.manager.disconnect(sid, namespace, ignore_queue=True)
        session = self.eio.sockets.get(eio_sid)
        if session is not None:
            session.close_soon()

    def _handle_event(self, eio_sid: str, namespace: str | None, id: int | None, data: Any) -> None:  # noqa: A002
        name = namespace or "/"
        handler = self.namespace_handlers.get(name)
        if not isinstance(handler, Namespace):
            super()._handle_event(eio_sid, namespace, id, data)
            return
        session = self.eio.sockets.get(eio_sid)
        sid = session.joined_as if session is not None and name == _DEFAULT else None
        if sid is None:
            # That of another namespace, or of the test client, which has no engine below it.
            sid = self.manager.sid_from_eio_sid(eio_sid, name)
            if not self.manager.is_connected(sid, name):
                return
        if not isinstance(data, list) or not data or not isinstance(data[0], str):
            log.warning(events.EVENT_UNNAMED, socket=sid)
            return

        acknowledge = self._acknowledgement(eio_sid, name, id, sid)
        if self.async_handlers or id is None:
            self._receive(handler, sid, data, acknowledge)
            return
        acknowledged = threading.Event()

        def acknowledge_serially(*args: Any) -> None:
            acknowledge(*args)
            acknowledged.set()

        self._receive(handler, sid, data, acknowledge_serially)
        acknowledged.wait(_SERIAL_WAIT_SECONDS)

    def _receive(self, handler: Namespace, sid: str, data: list[Any], acknowledge: Acknowledge) -> None:
        try:
            handler.receive(sid, data[0], data[1:], acknowledge)
        except Exception:
            log.exception(events.EVENT_FAILED, name=data[0], socket=sid)
            acknowledge({"status": "rejected", "error": "internal error"})

    def _acknowledgement(self, eio_sid: str, namespace: str, id: int | None, sid: str) -> Acknowledge:  # noqa: A002
        """What acknowledges an event, once, however often it is called."""
        is_pending = id is not None

        def acknowledge(*args: Any) -> None:
            nonlocal is_pending
            if not is_pending:
                return
            is_pending = False
            session = self.eio.sockets.get(eio_sid)
            try:
                if session is not None and namespace == _DEFAULT:
                    session.send_message(f"3{id}{compact_json(args)}")
                else:
                    self._send_packet(eio_sid, self.packet_class(packet.ACK, namespace=namespace, id=id, data=list(args)))
            except (KeyError, SocketIsClosedError):
                log.debug(events.ACK_NOT_DELIVERED, socket=sid)

        return acknowledge


def _keep_only_what_is_needed(environ: dict[str, Any] | None) -> None:
    """The WSGI environ of a connection is kept as long as it lasts, and is what weighs most about it."""
    if environ is not None and "gunicorn.sock" in environ:
        kept = {name: environ[name] for name in _KEPT if name in environ}
        environ.clear()
        environ.update(kept)
