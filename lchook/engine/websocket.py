"""Engine.IO's WebSocket transport without a greenlet for each connection.

python-engineio (4.15.1) has one wait for the next packet to read, and one for the next to write, for as long as the
connection lasts. Here the WebSocket calls back with each packet, and packets are written where they are sent; the engine's
queue is for those that the client does not take at once.

Replaces methods of the engine's socket when it is imported, under gevent only. Knows nothing of Socket.IO.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from engineio.exceptions import SocketIsClosedError, UnknownPacketError
from engineio.packet import NOOP, PONG, Packet
from engineio.socket import Socket

from lchook.logs import Log

log = Log(__name__)

_PROBE, _UPGRADE, _MESSAGE = "2probe", "5", "4"


def _websocket_handler(self: Any, ws: Any) -> list[bytes]:
    """Serve a WebSocket. In place of the engine's, which returns when it is closed.

    :param ws: the engine's wrapper of the WebSocket.
    """
    websocket: Any = getattr(ws, "_sock", None)
    if self.server.async_mode != "gevent" or not getattr(websocket, "can_be_served", False):
        rest: list[bytes] = _engines_handler(self, ws)
        return rest
    changes_over = self.connected
    self.connected = True
    try:
        served = websocket.serve(drained=partial(_write_waiting, self), gone=partial(_gone, self))
    except OSError:
        if not changes_over:
            self.close(wait=False, abort=True, reason=self.server.reason.TRANSPORT_CLOSE)
        return []
    if changes_over:
        self.upgrading = True  # polling gives nothing out meanwhile
        self.candidate = served
        served.take = partial(_take_probe, self, served)
    else:
        _change_over(self, served)
    return []


def is_free(eio_socket: Any) -> bool:
    """Is there a WebSocket that has taken all that it was sent? Then nothing waits in the queue."""
    websocket = getattr(eio_socket, "websocket", None)
    return websocket is not None and websocket.is_free


def _take_probe(self: Any, served: Any, data: str | bytes) -> None:
    """A client that is connected by polling asks whether the WebSocket works."""
    if data != _PROBE or not _may_change_over(self, served):
        served.close()
        return
    served.take = partial(_take_upgrade, self, served)
    _write(served, Packet(PONG, data="probe"))
    # For the poll that waits: it has its turn to take it.
    self.queue.put(Packet(NOOP))
    self.server.sleep(0)


def _take_upgrade(self: Any, served: Any, data: str | bytes) -> None:
    """It changes over."""
    if data != _UPGRADE or not _may_change_over(self, served):
        served.close()
        return
    self.upgrading, self.candidate = False, None
    _change_over(self, served)


def _may_change_over(self: Any, served: Any) -> bool:
    """Not where the session has ended, or another WebSocket of the same session came first, or later."""
    return not self.closed and not self.upgraded and self.candidate is served


def _change_over(self: Any, served: Any) -> None:
    """From now on this is the session's connection."""
    self.upgraded = True
    self.websocket = served
    served.take = partial(_take, self, served)
    _write_waiting(self)


def _take(self: Any, served: Any, data: str | bytes) -> None:
    """Take a packet."""
    if self.closed:
        # Nobody is there any more to clean up after what it would leave behind.
        served.close()
        return
    try:
        if isinstance(data, str) and data[:1] == _MESSAGE and data[1:2].isnumeric():
            # As nearly all are: Socket.IO's packets begin with a number, and what does the engine does not look into.
            self.server.handlers["message"](self.sid, data[1:])
            return
        self.receive(Packet(encoded_packet=data))
    except UnknownPacketError:
        return
    except SocketIsClosedError:
        served.close()
    except Exception:
        if not self.closed:
            log.exception("receiving failed; the connection is closed")
        served.close()


def _gone(self: Any, served: Any) -> None:
    """A WebSocket is closed, by whomever. If it was not the session's own, the client stays with what it has."""
    if getattr(self, "websocket", None) is served:
        self.close(wait=False, abort=True, reason=self.server.reason.TRANSPORT_CLOSE)
    elif getattr(self, "candidate", None) is served:
        self.upgrading, self.candidate = False, None


def _send(self: Any, packet: Any) -> None:
    """Send a packet. In place of the engine's, which leaves it in the queue."""
    websocket = getattr(self, "websocket", None)
    if websocket is None or not websocket.is_free:
        _engines_send(self, packet)
    elif self.check_ping_timeout():
        _write(websocket, packet)


def _close(self: Any, wait: bool = True, abort: bool = False, reason: Any = None) -> None:
    """Close the connection. In place of the engine's, which leaves word in the queue."""
    _engines_close(self, wait=wait and not hasattr(self, "websocket"), abort=abort, reason=reason)
    _write_waiting(self)


def _write_waiting(self: Any) -> None:
    """Write what is in the queue, up to the word that the connection is closed, as far as the client takes it."""
    websocket = getattr(self, "websocket", None)
    while websocket is not None and websocket.is_free and not self.queue.empty():
        packet = self.queue.get()
        self.queue.task_done()
        if packet is None:
            websocket.close()
        else:
            _write(websocket, packet)


def _write(websocket: Any, packet: Any) -> None:
    try:
        websocket.send(packet.encode())
    except OSError as error:
        log.debug("a WebSocket cannot be written to", reason=error)


_engines_handler, Socket._websocket_handler = Socket._websocket_handler, _websocket_handler
_engines_send, Socket.send = Socket.send, _send
_engines_close, Socket.close = Socket.close, _close
