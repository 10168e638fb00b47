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

from engineio.packet import Packet as EnginePacket
from socketio import packet

from lchook.logs import Log
from lchook.messages import strict_json
from lchook.rates import Rates

log = Log(__name__)

_NAMESPACE = "/"
# An event in the default namespace, with attachments or without, that asks for an acknowledgement.
_EVENT_WITH_ID = re.compile(r"(?:2|5\d{1,15}-)(\d{1,15})\[")
# An acknowledgement in the default namespace.
_ACKNOWLEDGEMENT = re.compile(r"3(\d{1,15})\[")
_BINARY = ("5", "6")
_ACK = "3"
# Packets that wait to be sent to one client. Whoever lets more pile up does not read.
_MOST_UNSENT_PACKETS = 2_000
_UNKNOWN_TYPE = 99


def _tolerate_broken_packets() -> None:
    """Let a packet that the engine (4.15.1) cannot decode be one of an unknown type, which it passes over.

    Its exception would end the WebSocket's greenlet with a trace in the log, and leave writer and session behind.
    """
    decode = EnginePacket.decode

    def decode_anything(self: Any, encoded: Any) -> None:
        try:
            decode(self, encoded)
        except (ValueError, RecursionError):
            self.packet_type, self.data = _UNKNOWN_TYPE, None

    EnginePacket.decode = decode_anything


_tolerate_broken_packets()


class StrictJson:
    """The JSON module of the Socket.IO server: takes no NaN and no number that overflows."""

    loads = staticmethod(strict_json)
    dumps = staticmethod(json.dumps)
    JSONDecodeError = json.JSONDecodeError


class EngineGuard:
    """Stands between the engine and the Socket.IO server."""

    def __init__(
        self,
        server: Any,
        *,
        packet_rates: Rates,
        connect_timeout_seconds: float,
        refusal: Callable[[str], list[Any]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """:param server: python-socketio's server, initialised.
        :param refusal: the event (name, arguments) that tells a client in words what was wrong.
        """
        self._server = server
        self._rates = packet_rates
        self._connect_timeout_seconds = connect_timeout_seconds
        self._refusal = refusal
        self._clock = clock
        # Engine connections without a Socket.IO connection, oldest first.
        self._unfinished: OrderedDict[str, float] = OrderedDict()
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
            if self._socket_of(eio_sid) is None:
                self.counts["never_connected"] += 1
                log.info(f"an engine connection is closed: it did not connect within {self._connect_timeout_seconds:g} s")
                self._close_engine(eio_sid)

    def close(self, sid: str) -> None:
        """Close a socket so that its client connects again by itself."""
        eio_sid = self._server.manager.eio_sid_from_sid(sid, _NAMESPACE)
        if eio_sid is not None:
            self._close_engine(eio_sid)

    def unsent(self, sid: str) -> int:
        """How many packets wait to be sent to the client."""
        eio_socket = self._server.eio.sockets.get(self._server.manager.eio_sid_from_sid(sid, _NAMESPACE))
        return 0 if eio_socket is None else eio_socket.queue.qsize()

    def reads(self, sid: str) -> bool:
        """Does the client take what it is sent? One that lets too much pile up is closed."""
        eio_sid = self._server.manager.eio_sid_from_sid(sid, _NAMESPACE)
        eio_socket = self._server.eio.sockets.get(eio_sid)
        if eio_socket is None or eio_socket.queue.qsize() < _MOST_UNSENT_PACKETS:
            return True
        self.counts["not_reading"] += 1
        log.warning("the socket is closed: it does not read what it is sent", socket=sid)
        self._close_engine(eio_sid)
        return False

    def _connected(self, eio_sid: str, environ: dict[str, Any]) -> Any:
        self._unfinished[eio_sid] = self._clock()
        return self._server._handle_eio_connect(eio_sid, environ)

    def _disconnected(self, eio_sid: str, reason: str) -> None:
        self._unfinished.pop(eio_sid, None)
        self._rates.forget(eio_sid)
        self._server._handle_eio_disconnect(eio_sid, reason)

    def _message(self, eio_sid: str, data: Any) -> None:
        if not isinstance(data, str) or data[:1] in _BINARY:
            # LCH has no use for binary data, and python-socketio keeps all attachments that a client announces.
            self._refuse(eio_sid, data, "binary data is not accepted: send plain JSON")
            return
        acknowledged = _ACKNOWLEDGEMENT.match(data)
        if acknowledged:
            # The commonest packet, in the shortest way: what a client says with its acknowledgement is of no interest.
            sid = self._socket_of(eio_sid)
            if sid is not None:
                self._server.manager.trigger_callback(sid, int(acknowledged[1]), [])
            return
        if data[:1] != _ACK and not self._rates.allows(eio_sid):
            self.counts["packets_too_many"] += 1
            self._refuse(eio_sid, data, f"too many messages: at most {self._rates.per_second:g} a second, more in bursts")
            return
        try:
            self._server._handle_eio_message(eio_sid, data)
        except Exception as error:
            # Whatever it is, it came of this packet. The engine would log it with its trace and tell the client nothing.
            log.warning("a packet that is no Socket.IO", socket=self._socket_of(eio_sid), kind=type(error).__name__)
            self._refuse(eio_sid, data, "the packet is not readable: send Socket.IO with plain JSON, not nested too deeply")
        if eio_sid not in self._unfinished:
            if self._socket_of(eio_sid) is None and eio_sid in self._server.eio.sockets:
                # It left the namespace and stays on the line.
                self._unfinished[eio_sid] = self._clock()
        elif self._socket_of(eio_sid) is not None:
            del self._unfinished[eio_sid]

    def _refuse(self, eio_sid: str, data: Any, reason: str) -> None:
        self.counts["packets_refused"] += 1
        sid = self._socket_of(eio_sid)
        if sid is None or not self.reads(sid):
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

    def _close_engine(self, eio_sid: str) -> None:
        eio_socket = self._server.eio.sockets.get(eio_sid)
        if eio_socket is not None:
            # May wait for a store: not in the caller's time.
            self._server.start_background_task(eio_socket.close, wait=False)
