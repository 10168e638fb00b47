"""Engine.IO's WebSocket transport with one greenlet a connection.

python-engineio (4.15.1) has a second one wait for packets to send, for as long as the connection lasts: a third of what a
quiet client weighs. Here a greenlet is started where there is something to send, and ends when it is sent.

Replaces methods of the engine's socket when it is imported, under gevent only: threads would need locks. Knows nothing of
Socket.IO.
"""

from __future__ import annotations

from typing import Any

from engineio.exceptions import SocketIsClosedError, UnknownPacketError
from engineio.packet import NOOP, PING, PONG, UPGRADE, Packet
from engineio.socket import Socket

from lchook.logs import Log

log = Log(__name__)


def _websocket_handler(self: Any, ws: Any) -> list[bytes]:
    """Serve a WebSocket until it closes. In place of the engine's.

    :param ws: the engine's wrapper of the WebSocket: `wait`, `send`, `close`.
    """
    if self.server.async_mode != "gevent":
        rest: list[bytes] = _engines_handler(self, ws)
        return rest
    if self.connected:
        if not _upgrade(self, ws):
            return []
    else:
        self.connected = self.upgraded = True
    self.websocket = ws
    _write_soon(self)
    _read(self, ws)
    self.close(wait=False, abort=True, reason=self.server.reason.TRANSPORT_CLOSE)
    return []


def _upgrade(self: Any, ws: Any) -> bool:
    """A client that is connected by polling changes over; tells whether it did."""
    self.upgrading = True  # polling gives nothing out meanwhile
    probe = _next_packet(self, ws)
    if probe is not None and probe.packet_type == PING and probe.data == "probe":
        ws.send(Packet(PONG, data="probe").encode())
        self.queue.put(Packet(NOOP))  # ends the poll that waits
        answer = _next_packet(self, ws)
        self.upgraded = answer is not None and answer.packet_type == UPGRADE
    self.upgrading = False
    return bool(self.upgraded)


def _read(self: Any, ws: Any) -> None:
    while True:
        try:
            packet = _next_packet(self, ws)
            if packet is None:
                return
            self.receive(packet)
        except UnknownPacketError:
            continue
        except SocketIsClosedError:
            return
        except Exception:
            if not self.closed:
                log.exception("receiving failed; the connection is closed")
            return


def _next_packet(self: Any, ws: Any) -> Packet | None:
    data = ws.wait()
    if data is None or len(data) > self.server.max_http_buffer_size:
        return None
    return Packet(encoded_packet=data)


def _send(self: Any, packet: Any) -> None:
    """Put a packet in the queue, and have it written. In place of the engine's."""
    _engines_send(self, packet)
    _write_soon(self)


def _close(self: Any, wait: bool = True, abort: bool = False, reason: Any = None) -> None:
    """Close the connection. In place of the engine's, which leaves word in the queue."""
    _engines_close(self, wait=wait and not hasattr(self, "websocket"), abort=abort, reason=reason)
    _write_soon(self)


def _write_soon(self: Any) -> None:
    if hasattr(self, "websocket") and not getattr(self, "writing", False) and not self.queue.empty():
        self.writing = True
        self.server.start_background_task(_write, self)


def _write(self: Any) -> None:
    """Write what is in the queue, up to the word that the connection is closed."""
    try:
        while not self.queue.empty():
            packet = self.queue.get()
            self.queue.task_done()
            if packet is None:
                self.websocket.close()
                return  # with `writing` set: nothing is written any more
            self.websocket.send(packet.encode())
    except Exception as error:
        log.debug("a WebSocket cannot be written to", reason=error)
        self.websocket.close()
        return
    self.writing = False


_engines_handler, Socket._websocket_handler = Socket._websocket_handler, _websocket_handler
_engines_send, Socket.send = Socket.send, _send
_engines_close, Socket.close = Socket.close, _close
