"""What protects LCH below Socket.IO's events: packets that are none, floods, clients that never join, clients that do not
read.

Knows our server and its sessions, and nothing of chats.
"""

from __future__ import annotations

import re
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from socketio import packet

from lchook.core import events
from lchook.core.addresses import network
from lchook.core.rate_limiter import RateLimiter
from lchook.logs import Log
from lchook.transport.engine_server import Busy

if TYPE_CHECKING:
    from lchook.transport.server import Server

log = Log(__name__)

_NAMESPACE = "/"
# An event in the default namespace, with attachments or without, that asks for an acknowledgement.
_EVENT_WITH_ID = re.compile(r"(?:2|5\d{1,15}-)(\d{1,15})\[")
_BINARY = ("5", "6")
# Packets that wait to be sent to one client. Whoever lets more pile up does not read.
_MAX_UNSENT_PACKETS = 2_000
# A Socket.IO packet that asks to join a namespace.
_CONNECT = "0"
_TOO_MANY = Busy("too many connections from your address: try again in a few seconds")
# Refusals come in hundreds, and one line is as good.
_LOG_AGAIN_SECONDS = 10.0


class Guard:
    """Decides what of all that comes in the server is to see."""

    def __init__(
        self,
        *,
        packet_rates: RateLimiter,
        connection_rates: RateLimiter,
        connect_timeout_seconds: float,
        refusal: Callable[[str], list[Any]],
        on_connection: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """:param connection_rates: of connections, by address. Clients try again by themselves where the engine's handshake
            is refused, or its connection closed; refused one level higher, they never do.
        :param refusal: the event (name, arguments) that tells a client in words what was wrong.
        :param on_connection: called with each connection.
        """
        self._server: Server
        self._rates = packet_rates
        self._connection_rates = connection_rates
        self._connect_timeout_seconds = connect_timeout_seconds
        self._refusal = refusal
        self._on_connection = on_connection
        self._clock = clock
        # Engine sessions without a Socket.IO connection, oldest first.
        self._unfinished: OrderedDict[str, float] = OrderedDict()
        # Those that are being closed because they do not read.
        self._not_reading: set[str] = set()
        # Those that have sent what is no Socket.IO: it is logged once each.
        self._sent_rubbish: set[str] = set()
        self._silent_until = 0.0
        self.counts: Counter[str] = Counter()

    def protect(self, server: Server) -> None:
        """To be called once, with the server that asks."""
        self._server = server

    def tick(self) -> None:
        """Close engine sessions that have no Socket.IO connection after their time."""
        before = self._clock() - self._connect_timeout_seconds
        while self._unfinished:
            eio_sid, since = next(iter(self._unfinished.items()))
            if since > before:
                return
            del self._unfinished[eio_sid]
            session = self._server.eio.sockets.get(eio_sid)
            if session is not None and not self._is_connected(eio_sid):
                self.counts["never_connected"] += 1
                log.info(events.NEVER_CONNECTED, seconds=self._connect_timeout_seconds)
                session.close_soon()

    def accepts_writes(self, session: Any) -> bool:
        """Does the client take what it is sent? One that lets too much pile up is closed."""
        if session is None or session.writable or session.queue.qsize() < _MAX_UNSENT_PACKETS:
            return True
        if session.sid in self._not_reading:
            return False
        self._not_reading.add(session.sid)
        self.counts["not_reading"] += 1
        log.warning(events.NOT_READING, socket=self._socket_of(session.sid))
        session.close_soon()
        return False

    # What the server asks and tells

    def connects(self, eio_sid: str, environ: dict[str, Any]) -> Busy | None:
        """An engine session opens. Returns the words with which it is refused, if it is."""
        self._on_connection()
        if not self._may_connect(environ):
            return _TOO_MANY
        self._unfinished[eio_sid] = self._clock()
        return None

    def accepts_packet(self, eio_sid: str, session: Any, data: Any) -> bool:
        """Is the server to see this packet? If not, its sender is told."""
        if not isinstance(data, str) or data[:1] in _BINARY:
            # LCH has no use for binary data, and python-socketio keeps all attachments that a client announces.
            self._refuse(eio_sid, session, data, "binary data is not accepted: send plain JSON")
            return False
        if not self._rates.allows(eio_sid):
            self.counts["packets_too_many"] += 1
            self._refuse(
                eio_sid, session, data, f"too many messages: at most {self._rates.per_second:g} a second, more in bursts"
            )
            return False
        if data[:1] == _CONNECT and session is not None and not self._may_join(session):
            session.close_soon()
            return False
        return True

    def unreadable(self, eio_sid: str, session: Any, data: str, error: Exception) -> None:
        """The server could make nothing of this packet."""
        if eio_sid not in self._sent_rubbish and eio_sid in self._server.eio.sockets:
            self._sent_rubbish.add(eio_sid)
            log.warning(events.PACKET_UNREADABLE, socket=self._socket_of(eio_sid), kind=type(error).__name__)
        reason = "the packet is not readable: send Socket.IO with plain JSON, not nested too deeply"
        self._refuse(eio_sid, session, data, reason)

    def packet_done(self, eio_sid: str) -> None:
        """The server has seen a packet, after which the client may have joined, or left."""
        if eio_sid not in self._unfinished:
            if not self._is_connected(eio_sid) and eio_sid in self._server.eio.sockets:
                # It left the namespace and stays on the line.
                self._unfinished[eio_sid] = self._clock()
        elif self._is_connected(eio_sid):
            del self._unfinished[eio_sid]

    def disconnected(self, eio_sid: str) -> None:
        """An engine session ends."""
        self._unfinished.pop(eio_sid, None)
        self._rates.forget(eio_sid)
        self._sent_rubbish.discard(eio_sid)
        self._not_reading.discard(eio_sid)

    def _may_connect(self, environ: dict[str, Any]) -> bool:
        address = environ.get("REMOTE_ADDR") or ""
        if self._connection_rates.allows(network(address)):
            return True
        self.counts["connections_too_many"] += 1
        if self._clock() >= self._silent_until:
            self._silent_until = self._clock() + _LOG_AGAIN_SECONDS
            log.warning(events.CONNECTIONS_TOO_MANY, address=address)
        return False

    def _may_join(self, session: Any) -> bool:
        """Its first request to join came with the connection. Those who leave and join, again and again, count as others."""
        if session.has_joined:
            return self._may_connect(self._server.environ.get(session.sid, {}))
        session.has_joined = True
        return True

    def _refuse(self, eio_sid: str, session: Any, data: Any, reason: str) -> None:
        self.counts["packets_refused"] += 1
        if self._socket_of(eio_sid) is None or not self.accepts_writes(session):
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
