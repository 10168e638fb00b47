"""Engine.IO's WebSocket transport without a greenlet for each connection, and the way to it from polling.

python-engineio (4.15.1) has one wait for the next packet to read, and one for the next to write, for as long as the
connection lasts. Here the WebSocket calls back with each packet, and packets are written where they are sent; the engine's
queue is for those that the client does not take at once.

A handshake proves nothing: a proxy may answer it, and swallow all that follows. Polling goes on until the client says that
it changes over, for which it has a few seconds.

Replaces methods of the engine's socket when it is imported. Knows nothing of Socket.IO.
"""

from __future__ import annotations

import contextlib
import socket
import time
from functools import partial
from typing import Any

import gevent
from engineio.exceptions import SocketIsClosedError, UnknownPacketError
from engineio.packet import NOOP, PONG, Packet
from engineio.socket import Socket

from lchook.logs import Log

log = Log(__name__)

_PROBE, _UPGRADE, _MESSAGE = "2probe", "5", "4"
# How long a client has to ask whether its WebSocket works, and then to change over.
_UPGRADE_SECONDS = 10.0
# A client that is told that its WebSocket works waits for its poll to end before it changes over.
_LEAST_POLL_SECONDS = 0.1


def _websocket_handler(self: Any, ws: Any) -> list[bytes]:
    """Serve a WebSocket. In place of the engine's, which returns when it is closed.

    :param ws: the engine's wrapper of the WebSocket.
    """
    websocket: Any = getattr(ws, "_sock", None)
    if self.server.async_mode != "gevent" or not getattr(websocket, "can_be_served", False):
        if self.connected:
            if not _changes_over(self, ws):
                _hang_up(ws)
                return []
            # The engine takes it for the session's first connection: it would not bound its waiting for the probe.
            self.connected = False
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
        self.upgrading, self.candidate = False, served
        served.deadline = time.monotonic() + _UPGRADE_SECONDS
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
    served.deadline = time.monotonic() + _UPGRADE_SECONDS
    _write(served, Packet(PONG, data="probe"))
    _end_poll(self)


def _take_upgrade(self: Any, served: Any, data: str | bytes) -> None:
    """It changes over."""
    if data != _UPGRADE or not _may_change_over(self, served):
        served.close()
        return
    self.upgrading, self.candidate = False, None
    _change_over(self, served)


def _changes_over(self: Any, ws: Any) -> bool:
    """Wait for the client to change over to a WebSocket that is read by waiting; tells whether it did."""
    self.upgrading, self.candidate = False, ws
    try:
        if _receive_in_time(ws) != _PROBE or not _may_change_over(self, ws):
            return False
        ws.send(Packet(PONG, data="probe").encode())
        _end_poll(self)
        if _receive_in_time(ws) != _UPGRADE or not _may_change_over(self, ws):
            return False
        self.upgraded = True
        return True
    except OSError:
        return False
    finally:
        if self.candidate is ws:
            self.upgrading, self.candidate = False, None


def _receive_in_time(ws: Any) -> Any:
    threads_own = getattr(ws, "ws", None)
    if threads_own is not None:
        # simple-websocket's, which also raises where the connection is closed.
        with contextlib.suppress(Exception):
            return threads_own.receive(timeout=_UPGRADE_SECONDS)
        return None
    with gevent.Timeout(_UPGRADE_SECONDS, False):
        return ws.wait()


def _hang_up(ws: Any) -> None:
    with contextlib.suppress(OSError):
        ws.close()
    threads_own = getattr(ws, "ws", None)
    if threads_own is not None:
        # simple-websocket only says that it is closed, and reads on until the client hangs up.
        with contextlib.suppress(OSError):
            threads_own.sock.shutdown(socket.SHUT_RDWR)


def _end_poll(self: Any) -> None:
    """The WebSocket works: end the poll that waits, and soon those that follow, so that the client can change over."""
    self.upgrading, self.probed_at = True, time.monotonic()
    self.queue.put(Packet(NOOP))
    # The poll has its turn to take it.
    self.server.sleep(0)


def _handle_get_request(self: Any, environ: dict[str, Any], start_response: Any) -> Any:
    """A poll, or a handshake. Between probe and change the engine would answer each poll at once with nothing in it: to a
    client that is not told that its WebSocket works, again and again."""
    if not self.upgrading or environ.get("HTTP_UPGRADE"):
        return _engines_get(self, environ, start_response)
    now = time.monotonic()
    # The longer it takes, the less likely is the change.
    until = now + max(_LEAST_POLL_SECONDS, now - self.probed_at)
    while self.upgrading and self.queue.empty() and time.monotonic() < until:
        self.server.sleep(_LEAST_POLL_SECONDS / 5)
    packets: list[Any] = []
    with contextlib.suppress(self.server.get_queue_empty_exception()):
        while not self.upgraded:
            packet = self.queue.get(block=False)
            self.queue.task_done()
            if packet is None:
                # The session is closed; the writer of a WebSocket, or the next poll, is to know.
                self.queue.put(None)
                break
            packets.append(packet)
    return packets or [Packet(NOOP)]


def _may_change_over(self: Any, served: Any) -> bool:
    """Not where the session has ended, or another WebSocket of the same session came first, or later."""
    return not self.closed and not self.upgraded and getattr(self, "candidate", None) is served


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
    candidate, self.candidate = getattr(self, "candidate", None), None
    if candidate is not None:
        with contextlib.suppress(OSError):
            candidate.close()
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
_engines_get, Socket.handle_get_request = Socket.handle_get_request, _handle_get_request
