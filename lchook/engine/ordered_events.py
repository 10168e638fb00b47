"""Socket.IO events in the order in which they came in, with acknowledgements that may come later.

python-socketio starts a task for each event and acknowledges when the task ends. Under threads such tasks overtake each
other, and a task that only waits for DMS costs a greenlet. Here the namespace is called in the greenlet (or thread) that
reads the connection, so it sees a client's events one after the other; it must not block, and acknowledges when it can.

Owns the one place that reaches into python-socketio's inner parts (5.18.1); knows nothing of chats.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable
from typing import Any

from engineio.exceptions import SocketIsClosedError
from engineio.packet import MESSAGE
from engineio.packet import Packet as EnginePacket
from engineio.payload import Payload
from flask import Flask
from flask_socketio import Namespace, SocketIO
from socketio import packet
from socketio.exceptions import ConnectionRefusedError as Refused

from lchook.engine import acknowledgements
from lchook.engine.mended import pings
from lchook.logs import Log

log = Log(__name__)

Acknowledge = Callable[..., None]

# What is read of a connection's environ later on, by python-socketio and by Flask-SocketIO.
_KEPT = ("REMOTE_ADDR", "REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "HTTP_USER_AGENT", "flask.app", "wsgi.websocket")
# For how long the Flask-SocketIO test client, which wants its acknowledgement at once, waits for one.
_SERIAL_WAIT_SECONDS = 120
# A connection that is asked whether it is there has so long to answer: a client that lives does so at once.
_ANSWER_SECONDS = 3.0

# Engine.IO (4.15.1) drops a polling request of more than 16 packets, whole, and answers 200. A client that was offline
# sends more than that at once. The size of a request is what bounds it; this only bounds the work of unpacking one.
Payload.max_decode_packets = 10_000


class OrderedNamespace(Namespace):  # type: ignore[misc]  # Flask-SocketIO has no types
    """A namespace whose connects and disconnects go to `connected` and `disconnected`, and all other events to `receive`.

    None of them runs in a Flask context, which would cost more than most of them do.
    """

    def connected(self, sid: str, environ: dict[str, Any], auth: Any) -> None:
        """A client asks to connect. Raise `Refused(reason)` to refuse it."""

    def ready(self, sid: str) -> None:
        """The client has been told that it is connected, and may be sent events."""

    def disconnected(self, sid: str, reason: str) -> None:
        """A connection is closed, by whomever."""

    def receive(self, sid: str, event: str, args: list[Any], acknowledge: Acknowledge) -> None:
        """Take one event. Must return soon; `acknowledge(*args)` may be called later, once, from anywhere.

        It does nothing where the client asked for no acknowledgement or is gone.
        """
        raise NotImplementedError

    def trigger_event(self, event: str, sid: str, *args: Any) -> None:
        """What python-socketio calls, now only for connect (environ, auth) and disconnect (reason)."""
        try:
            if event == "connect":
                self.connected(sid, args[0], args[1] if len(args) > 1 else None)
            elif event == "disconnect":
                self.disconnected(sid, args[0] if args else "")
        except Refused:
            raise
        except Exception:
            log.exception("opening or closing a connection failed", event=event, socket=sid)
            if event == "connect":
                # A client that is refused never comes back by itself; one whose connection is closed does.
                server = self.socketio.server
                eio_socket = engine_socket(server, sid)
                if eio_socket is not None:
                    server.start_background_task(eio_socket.close, wait=False)


class OrderedSocketIO(SocketIO):  # type: ignore[misc]
    """Flask-SocketIO, whose server hands events to `OrderedNamespace.receive`."""

    def init_app(self, app: Flask, **options: Any) -> None:
        super().init_app(app, **options)
        self._handle_other_event = self.server._handle_event
        self.server._handle_event = self._handle_event_in_order
        self._handle_connect = self.server._handle_connect
        self.server._handle_connect = self._handle_connect_and_ready

    def _handle_connect_and_ready(self, eio_sid: str, namespace: str | None, data: Any) -> None:
        self._handle_connect(eio_sid, namespace, data)
        name = namespace or "/"
        handler = self.server.namespace_handlers.get(name)
        sid = self.server.manager.sid_from_eio_sid(eio_sid, name)
        if isinstance(handler, OrderedNamespace) and self.server.manager.is_connected(sid, name):
            _keep_only_what_is_needed(self.server.environ.get(eio_sid))
            handler.ready(sid)

    def _handle_event_in_order(self, eio_sid: str, namespace: str | None, id: int | None, data: Any) -> None:  # noqa: A002
        name = namespace or "/"
        handler = self.server.namespace_handlers.get(name)
        if not isinstance(handler, OrderedNamespace):
            self._handle_other_event(eio_sid, namespace, id, data)
            return
        sid = self.server.manager.sid_from_eio_sid(eio_sid, name)
        if not self.server.manager.is_connected(sid, name):
            return
        if not isinstance(data, list) or not data or not isinstance(data[0], str):
            log.warning("an event without a name", socket=sid)
            return

        acknowledged = threading.Event()

        def acknowledge(*args: Any) -> None:
            if id is not None and not acknowledged.is_set():
                ack = self.server.packet_class(packet.ACK, namespace=name, id=id, data=list(args))
                try:
                    self.server._send_packet(eio_sid, ack)
                except KeyError:
                    log.debug("the socket is gone, and its acknowledgement with it", socket=sid)
            acknowledged.set()

        try:
            handler.receive(sid, data[0], data[1:], acknowledge)
        except Exception:
            log.exception("handling an event failed", name=data[0], socket=sid)
            acknowledge({"status": "rejected", "error": "internal error"})
        if not self.server.async_handlers and id is not None:
            acknowledged.wait(_SERIAL_WAIT_SECONDS)


def _keep_only_what_is_needed(environ: dict[str, Any] | None) -> None:
    """The WSGI environ of a connection is kept as long as it lasts, and is what weighs most about it."""
    if environ is not None and "gunicorn.sock" in environ:
        kept = {name: environ[name] for name in _KEPT if name in environ}
        environ.clear()
        environ.update(kept)


def engine_socket(server: Any, sid: str) -> Any:
    """The engine's socket below a socket of the default namespace; `None` where that is gone, or the test client's."""
    return server.eio.sockets.get(server.manager.eio_sid_from_sid(sid, "/"))


def emit_event(server: Any, eio_socket: Any, sid: str, event: str, argument: str, acknowledged: Callable[..., None]) -> None:
    """Send an event with one argument to a socket of the default namespace; `acknowledged` is called when the client does.

    What python-socketio does for it, without its search for binary data and rooms, at a fifth of the cost.

    :param eio_socket: the socket's `engine_socket`. :param argument: as JSON.
    """
    if eio_socket is None or eio_socket.closed:
        # The socket is gone, or it is the test client's.
        server.emit(event, json.loads(argument), to=sid, namespace="/", callback=acknowledged)
        return
    number = acknowledgements.ask_for(eio_socket, acknowledged)
    text = f'2{number}["{event}",{argument}]'
    with contextlib.suppress(SocketIsClosedError):
        eio_socket.send(EnginePacket(MESSAGE, text))


def answered_ping_age(server: Any, sid: str) -> float | None:
    """How many seconds ago was the latest ping sent that a socket of the default namespace has answered?

    None where the socket is gone; one that owes its heartbeat for too long is closed.

    :param server: python-socketio's server.
    """
    eio_sid = server.manager.eio_sid_from_sid(sid, "/")
    if eio_sid is None:
        return None
    eio_socket = server.eio.sockets.get(eio_sid)
    if eio_socket is None:
        # The test client has no engine below it.
        return 0.0 if eio_sid in server.environ else None
    try:
        if eio_socket.closing or not eio_socket.check_ping_timeout():
            return None
    except SocketIsClosedError:
        return None
    return time.time() - float(getattr(eio_socket, "answered_ping", 0.0))


def ask_whether_there(server: Any, sid: str, answered: Callable[[], object] | None) -> None:
    """Ping a socket of the default namespace now, and close it if it does not answer within a few seconds.

    :param server: python-socketio's server. :param answered: called when it does.
    """
    eio_socket = engine_socket(server, sid)
    if eio_socket is not None:
        with contextlib.suppress(SocketIsClosedError):
            pings.ask(eio_socket, timeout_seconds=_ANSWER_SECONDS, answered=answered)
