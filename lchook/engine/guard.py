"""What protects LCH below Socket.IO's events: packets that are none, floods, clients that never finish connecting, and
clients that do not read.

Knows python-socketio's server and its engine (5.18.1, 4.15.1), and nothing of chats.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

from socketio import packet

from lchook.core.addresses import network
from lchook.core.messages import MOST_LEVELS, is_deeper_than, strict_json
from lchook.core.rate_limiter import Rates
from lchook.engine import acknowledgements, websocket
from lchook.engine.mended import Busy
from lchook.logs import Log

log = Log(__name__)

_NAMESPACE = "/"
# An event in the default namespace, with attachments or without, that asks for an acknowledgement.
_EVENT_WITH_ID = re.compile(r"(?:2|5\d{1,15}-)(\d{1,15})\[")
_BINARY = ("5", "6")
# Packets that wait to be sent to one client. Whoever lets more pile up does not read.
_MOST_UNSENT_PACKETS = 2_000
# What a waiting packet costs besides its characters.
_PACKET_OVERHEAD = 500
# A Socket.IO packet that asks to join a namespace.
_CONNECT = "0"
_TOO_MANY = Busy("too many connections from your address: try again in a few seconds")
# Refusals come in hundreds, and one line is as good.
_SAY_AGAIN_SECONDS = 10.0


class StrictJson:
    """The JSON module of the Socket.IO server: takes no NaN, no number that overflows, and nothing nested too deeply."""

    @staticmethod
    def loads(text: str) -> Any:
        value = strict_json(text)
        if text.count("{") + text.count("[") > MOST_LEVELS and is_deeper_than(MOST_LEVELS, value):
            raise ValueError("nested too deeply")
        return value

    dumps = staticmethod(json.dumps)
    JSONDecodeError = json.JSONDecodeError


class EngineGuard:
    """Stands between the engine and the Socket.IO server."""

    def __init__(
        self,
        server: Any,
        *,
        packet_rates: Rates,
        connection_rates: Rates,
        connect_timeout_seconds: float,
        refusal: Callable[[str], list[Any]],
        on_connection: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """:param server: python-socketio's server, initialised.
        :param connection_rates: of connections, by address. Clients try again by themselves where the engine's handshake is
            refused, or its connection closed; refused one level higher, they never do.
        :param refusal: the event (name, arguments) that tells a client in words what was wrong.
        """
        self._server = server
        self._rates = packet_rates
        self._connection_rates = connection_rates
        self._connect_timeout_seconds = connect_timeout_seconds
        self._refusal = refusal
        self._on_connection = on_connection
        self._clock = clock
        # Engine connections without a Socket.IO connection, oldest first.
        self._unfinished: OrderedDict[str, float] = OrderedDict()
        # Those that are being closed because they do not read.
        self._not_reading: set[str] = set()
        # Those that have sent what is no Socket.IO: it is logged once each.
        self._talking_rubbish: set[str] = set()
        self._silent_until = 0.0
        self.counts: Counter[str] = Counter()
        server.eio.on("connect", self._connected)
        server.eio.on("message", self._message)
        server.eio.on("disconnect", self._disconnected)

    def tick(self) -> None:
        """Close engine connections that have no Socket.IO connection after their time."""
        before = self._clock() - self._connect_timeout_seconds
        while self._unfinished:
            eio_sid, since = next(iter(self._unfinished.items()))
            if since > before:
                return
            del self._unfinished[eio_sid]
            if not self._is_connected(eio_sid):
                self.counts["never_connected"] += 1
                log.info(f"an engine connection is closed: it did not connect within {self._connect_timeout_seconds:g} s")
                self._close_engine(eio_sid)

    def close(self, sid: str, namespace: str = _NAMESPACE) -> None:
        """Close a socket so that its client connects again by itself."""
        eio_sid = self._server.manager.eio_sid_from_sid(sid, namespace)
        if eio_sid is not None:
            self._close_engine(eio_sid)

    def unsent(self, sid: str, namespace: str = _NAMESPACE) -> int:
        """How many characters, about, wait to be sent to the client."""
        eio_socket = self._server.eio.sockets.get(self._server.manager.eio_sid_from_sid(sid, namespace))
        waiting = () if eio_socket is None else list(eio_socket.queue.queue)
        return sum(_PACKET_OVERHEAD + len(packet.data or "") for packet in waiting if packet is not None)

    def reads(self, eio_socket: Any) -> bool:
        """Does the client take what it is sent? One that lets too much pile up is closed."""
        if eio_socket is None or websocket.is_free(eio_socket) or eio_socket.queue.qsize() < _MOST_UNSENT_PACKETS:
            return True
        eio_sid = eio_socket.sid
        if eio_sid in self._not_reading:
            return False
        self._not_reading.add(eio_sid)
        self.counts["not_reading"] += 1
        log.warning("the socket is closed: it does not read what it is sent", socket=self._socket_of(eio_sid))
        self._close_engine(eio_sid)
        return False

    def _connected(self, eio_sid: str, environ: dict[str, Any]) -> Any:
        self._on_connection()
        if not self._may_connect(environ):
            return _TOO_MANY
        self._unfinished[eio_sid] = self._clock()
        return self._server._handle_eio_connect(eio_sid, environ)

    def _disconnected(self, eio_sid: str, reason: str) -> None:
        self._unfinished.pop(eio_sid, None)
        self._rates.forget(eio_sid)
        self._talking_rubbish.discard(eio_sid)
        self._not_reading.discard(eio_sid)
        self._server._handle_eio_disconnect(eio_sid, reason)

    def _may_connect(self, environ: dict[str, Any]) -> bool:
        address = environ.get("REMOTE_ADDR") or ""
        if self._connection_rates.allows(network(address)):
            return True
        self.counts["connections_too_many"] += 1
        if self._clock() >= self._silent_until:
            self._silent_until = self._clock() + _SAY_AGAIN_SECONDS
            log.warning("connections are refused: too many from one address; they will try again", address=address)
        return False

    def _may_join(self, eio_sid: str) -> bool:
        """Its first request to join came with the connection. Those who leave and join, again and again, count as others."""
        eio_socket = self._server.eio.sockets.get(eio_sid)
        if getattr(eio_socket, "has_asked", False):
            return self._may_connect(self._server.environ.get(eio_sid, {}))
        if eio_socket is not None:
            eio_socket.has_asked = True
        return True

    def _message(self, eio_sid: str, data: Any) -> None:
        if not isinstance(data, str) or data[:1] in _BINARY:
            # LCH has no use for binary data, and python-socketio keeps all attachments that a client announces.
            self._refuse(eio_sid, data, "binary data is not accepted: send plain JSON")
            return
        if acknowledgements.take(self._server.eio.sockets.get(eio_sid), data):
            return
        if not self._rates.allows(eio_sid):
            self.counts["packets_too_many"] += 1
            self._refuse(eio_sid, data, f"too many messages: at most {self._rates.per_second:g} a second, more in bursts")
            return
        if data[:1] == _CONNECT and not self._may_join(eio_sid):
            self._close_engine(eio_sid)
            return
        try:
            self._server._handle_eio_message(eio_sid, data)
        except Exception as error:
            # Whatever it is, it came of this packet. The engine would log it with its trace and tell the client nothing.
            if eio_sid not in self._talking_rubbish and eio_sid in self._server.eio.sockets:
                self._talking_rubbish.add(eio_sid)
                log.warning("a packet that is no Socket.IO", socket=self._socket_of(eio_sid), kind=type(error).__name__)
            self._refuse(eio_sid, data, "the packet is not readable: send Socket.IO with plain JSON, not nested too deeply")
        if eio_sid not in self._unfinished:
            if not self._is_connected(eio_sid) and eio_sid in self._server.eio.sockets:
                # It left the namespace and stays on the line.
                self._unfinished[eio_sid] = self._clock()
        elif self._is_connected(eio_sid):
            del self._unfinished[eio_sid]

    def _refuse(self, eio_sid: str, data: Any, reason: str) -> None:
        self.counts["packets_refused"] += 1
        sid = self._socket_of(eio_sid)
        if sid is None or not self.reads(self._server.eio.sockets.get(eio_sid)):
            return
        event = packet.Packet(packet.EVENT, data=self._refusal(reason), namespace=_NAMESPACE)
        self._server._send_packet(eio_sid, event)
        asked = _EVENT_WITH_ID.match(data) if isinstance(data, str) else None
        if asked:
            answer = [{"status": "rejected", "error": reason}]
            ack = packet.Packet(packet.ACK, data=answer, namespace=_NAMESPACE, id=int(asked[1]))
            self._server._send_packet(eio_sid, ack)

    def _socket_of(self, eio_sid: str) -> str | None:
        sid: str | None = self._server.manager.sid_from_eio_sid(eio_sid, _NAMESPACE)
        return sid

    def _is_connected(self, eio_sid: str) -> bool:
        """To any namespace? Chat clients are found in the first."""
        if self._socket_of(eio_sid) is not None:
            return True
        manager = self._server.manager
        return any(manager.sid_from_eio_sid(eio_sid, name) for name in self._server.namespace_handlers if name != _NAMESPACE)

    def _close_engine(self, eio_sid: str) -> None:
        eio_socket = self._server.eio.sockets.get(eio_sid)
        if eio_socket is not None:
            # May wait for a store: not in the caller's time.
            self._server.start_background_task(eio_socket.close, wait=False)
