"""python-engineio (4.15.1) for clients that do not keep to its protocol: what they send ends no greenlet, waits for nothing,
and leaves nothing behind.

Replaces methods of its classes when it is imported. Knows nothing of Socket.IO.
"""

from __future__ import annotations

import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

from engineio import Server
from engineio.exceptions import ContentTooLongError, EngineIOError, UnknownPacketError
from engineio.packet import PING, UPGRADE, Packet
from engineio.payload import Payload
from engineio.socket import Socket

_UNKNOWN_TYPE = 99
# A request may hold thousands of packets, and others wait while they are handled.
_PACKETS_IN_A_ROW = 50
_RETRY_AFTER_SECONDS = 2


def _decode(self: Any, encoded: Any) -> None:
    """A packet that cannot be decoded is one of an unknown type, which a WebSocket passes over.

    The engine's exception would end the WebSocket's greenlet with a trace in the log, and leave writer and session behind.
    """
    try:
        _decode_packet(self, encoded)
    except (ValueError, RecursionError):
        self.packet_type, self.data = _UNKNOWN_TYPE, None


def _receive(self: Any, packet: Any) -> None:
    """An upgrade is received where it is waited for, and never here.

    The engine would answer each with a packet, and keep them all for a client that does not read.
    """
    if packet.packet_type == UPGRADE:
        raise UnknownPacketError
    _receive_packet(self, packet)


def _handle_post_request(self: Any, environ: dict[str, Any]) -> None:
    """A polling request with packets.

    :raises EngineIOError: for one that is not readable; the client is answered 400. The engine would say 200, and log it.
    """
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if length > self.server.max_http_buffer_size:
        raise ContentTooLongError
    try:
        packets = Payload(encoded_payload=environ["wsgi.input"].read(length).decode()).packets
    except (ValueError, KeyError) as error:
        raise EngineIOError("no readable payload") from error
    for number, packet in enumerate(packets, start=1):
        self.receive(packet)
        if number % _PACKETS_IN_A_ROW == 0:
            self.server.sleep(0)


def _close(self: Any, wait: bool = True, abort: bool = False, reason: Any = None) -> None:
    """Close a session, and forget it now. The engine does so some time later, and until then a client that goes on sending
    makes it fail with a KeyError and a 500."""
    _close_session(self, wait=wait, abort=abort, reason=reason)
    if self.closed:
        self.server.sockets.pop(self.sid, None)


def _disconnect(self: Any, sid: str | None = None) -> None:
    """Close a session without waiting for its client to take what is left: one that does not would hold up the request."""
    if sid is None:
        _disconnect_all(self)
        return
    socket = self.sockets.pop(sid, None)
    if socket is not None:
        socket.close(wait=False, reason=self.reason.SERVER_DISCONNECT)


class Busy(str):
    """In these words a connection is refused for now. For what is returned to the engine's "connect"."""

    __slots__ = ()


def _unauthorized(self: Any, message: Any = None) -> dict[str, Any]:
    """The answer to a handshake that is refused. A client that comes too often is to come again, a little later."""
    answer: dict[str, Any] = _refuse_handshake(self, message)
    if isinstance(message, Busy):
        answer["status"] = "429 TOO MANY REQUESTS"
        answer["headers"].append(("Retry-After", str(_RETRY_AFTER_SECONDS)))
    return answer


class Pings:
    """When which connection is to be pinged, and to have answered.

    The engine has a greenlet sleep for each, and those weigh; and it looks at each in turn, the oftener, the more there are.
    """

    def __init__(self) -> None:
        # All wait equally long, so they come due in the order in which they were put in, for each server.
        self._waiting: dict[float, deque[tuple[float, Any]]] = {}
        self._owing: dict[float, deque[tuple[float, float, Any]]] = {}

    def schedule(self, socket: Any) -> None:
        """Ping the connection after its server's ping interval. In place of `engineio.socket.Socket.schedule_ping`, which is
        called when a pong comes."""
        if not socket.last_ping:
            return
        # Which ping it was that was answered, the engine forgets.
        socket.answered_ping = socket.last_ping
        socket.last_ping = None
        interval = socket.server.ping_interval
        socket.next_ping_at = time.monotonic() + interval
        self._waiting.setdefault(interval, deque()).append((socket.next_ping_at, weakref.ref(socket)))
        if socket.when_answered:
            all_answered, socket.when_answered = socket.when_answered, ()
            for answered in all_answered:
                answered()

    def ask(self, socket: Any, *, timeout_seconds: float, answered: Callable[[], object] | None = None) -> None:
        """Ping the connection now, and close it if it has not answered in that time; one that owes an answer already is
        not sent another ping.

        :param answered: called when it does.
        """
        if socket.closing or socket.closed:
            return
        if answered is not None:
            socket.when_answered += (answered,)
        if socket.asked is not None and socket.asked == socket.last_ping:
            return
        if socket.last_ping is None:
            # In place of the one that it waits for.
            socket.next_ping_at = None
            self._send(socket)
        socket.asked = socket.last_ping
        self._expect(socket, timeout_seconds)

    def tick(self) -> None:
        """Ping those who are due, and close those who have not answered in time."""
        now = time.monotonic()
        for waiting in list(self._waiting.values()):
            while waiting and waiting[0][0] <= now:
                due, reference = waiting.popleft()
                socket = reference()
                if socket is not None and socket.next_ping_at == due and not socket.closing and not socket.closed:
                    self._send(socket)
                    self._expect(socket, socket.server.ping_timeout)
        for owing in list(self._owing.values()):
            while owing and owing[0][0] <= now:
                _, pinged_at, reference = owing.popleft()
                socket = reference()
                if socket is not None and socket.last_ping == pinged_at and not socket.closing and not socket.closed:
                    # May wait for a store, and the other pings must not.
                    reason = socket.server.reason.PING_TIMEOUT
                    socket.server.start_background_task(socket.close, wait=False, reason=reason)

    def _send(self, socket: Any) -> None:
        socket.last_ping = time.time()
        socket.send(Packet(PING))

    def _expect(self, socket: Any, seconds: float) -> None:
        """The answer to its latest ping, within that time."""
        due = time.monotonic() + seconds
        self._owing.setdefault(seconds, deque()).append((due, socket.last_ping, weakref.ref(socket)))


pings = Pings()

# When the next ping is due, the ping for whose answer `Pings.ask` waits, and who is to know of it.
Socket.next_ping_at = Socket.asked = None
Socket.when_answered = ()
Socket.schedule_ping = lambda self: pings.schedule(self)
_decode_packet, Packet.decode = Packet.decode, _decode
_receive_packet, Socket.receive = Socket.receive, _receive
_close_session, Socket.close = Socket.close, _close
_refuse_handshake, Server._unauthorized = Server._unauthorized, _unauthorized
_disconnect_all, Server.disconnect = Server.disconnect, _disconnect
Socket.handle_post_request = _handle_post_request
