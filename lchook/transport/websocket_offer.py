"""What a WebSocket's handshake ends in: gevent-websocket's object for the application, bounded.

An application that is called back has it served: see `served_websocket.py`.
"""

from __future__ import annotations

import _socket
import contextlib
import time
from collections.abc import Callable
from typing import Any

import gevent
from gevent.lock import RLock
from geventwebsocket.exceptions import WebSocketError
from geventwebsocket.websocket import MSG_ALREADY_CLOSED, MSG_SOCKET_DEAD, WebSocket

from lchook.core import events
from lchook.logs import Log
from lchook.transport.frame_decoder import (
    BINARY,
    CLOSE,
    CONTINUATION,
    NORMAL,
    PING,
    PONG,
    TEXT,
    FrameDecoder,
    ProtocolError,
    close_frame,
    frame,
)
from lchook.transport.served_websocket import HANG_UP_SECONDS, Message, ServedWebSocket

log = Log(__name__)

_RECEIVE_BYTES = 64 * 1024


class WebSocketOffer(WebSocket):  # type: ignore[misc]  # gevent-websocket has no types
    """What the handler makes of a handshake, and hands to the application.

    It opens when the application first uses it, so that an application that does not want it can answer in HTTP. `serve` is
    for one that is called back; `receive` for one that waits, and keeps the handler's greenlet.
    """

    __slots__ = ("_frames", "_writing")

    def __init__(self, environ: dict[str, Any], handler: Any) -> None:
        # Not the base class's: its UTF-8 validator, a table walk in Python, is of no use here.
        self.environ = environ  # type: ignore[misc]
        self.closed = False  # type: ignore[misc]
        self.handler = handler  # type: ignore[misc]
        self._frames = FrameDecoder(handler.options.max_body_bytes)
        # A pong must not come between the pieces of a message that another greenlet is sending.
        self._writing = RLock()

    @property
    def can_be_served(self) -> bool:
        """Not where this process itself speaks TLS: what is readable there is not what the loop sees."""
        return not hasattr(self.handler.socket, "pending")

    def serve(self, *, on_drain: Callable[[], None], on_close: Callable[[ServedWebSocket], None]) -> ServedWebSocket:
        """Have the event loop watch the connection. The handler has nothing more to do with it, and ends.

        :raises OSError: where the connection is broken.
        """
        handler = self.handler
        handler.open_websocket()
        self.closed = True  # type: ignore[misc]
        connection, slots, connections = handler.socket, handler.server.pool, handler.server.connections
        # The operating system's socket: gevent's weighs more, and would wait.
        bare: Any = _socket.socket(connection.family, connection.type, connection.proto, connection.detach())
        bare.setblocking(False)
        handler.socket = None

        def closed(served: ServedWebSocket) -> None:
            connections.discard(served)
            slots.release()
            on_close(served)

        seconds = handler.options.timeouts.websocket_seconds
        served = ServedWebSocket(bare, self._frames, on_drain=on_drain, on_close=closed, timeout_seconds=seconds)
        connections.add(served)
        slots.retain(gevent.getcurrent())
        return served

    def receive(self) -> Message | None:
        """The next message, or `None` where the connection is closed or its client broke the protocol."""
        if self.closed:
            return None
        self.handler.deadline = time.monotonic() + self.handler.options.timeouts.websocket_seconds
        try:
            self.handler.open_websocket()
            return self._next_message()
        except ProtocolError as error:
            log.warning(events.PROTOCOL_BROKEN, code=error.code)
            self.close(error.code)
        except (OSError, ValueError):
            # Timed out, reset, or closed from this side while reading.
            self.close()
        finally:
            self.handler.deadline = float("inf")
        return None

    def send(self, message: str | bytes | bytearray, binary: bool | None = None) -> None:
        """Send one message in one frame.

        :raises WebSocketError: where the connection is closed.
        """
        self._write(frame(TEXT, message.encode()) if isinstance(message, str) else frame(BINARY, bytes(message)))

    def close(self, code: int = NORMAL, message: str | bytes = b"") -> None:
        """Tell the client that this is the end."""
        if self.closed:
            return
        with contextlib.suppress(WebSocketError):
            self._write(close_frame(code, message.encode() if isinstance(message, str) else bytes(message)))
        self.closed = True  # type: ignore[misc]
        self.handler.deadline = time.monotonic() + HANG_UP_SECONDS

    def _next_message(self) -> Message | None:
        while True:
            received = self._frames.next()
            if received is None:
                data = self.handler.socket.recv(_RECEIVE_BYTES)
                if not data:
                    return None
                self._frames.feed(data)
                continue
            opcode, payload = received
            if opcode == PING:
                self._write(frame(PONG, payload))  # type: ignore[arg-type]
            elif opcode == CLOSE:
                self.close(payload)  # type: ignore[arg-type]
                return None
            elif opcode != CONTINUATION:
                return payload  # type: ignore[return-value]

    def _write(self, data: bytes) -> None:
        if self.closed:
            raise WebSocketError(MSG_ALREADY_CLOSED)
        try:
            with self._writing:
                self.handler.open_websocket()
                self.handler.socket.sendall(data)
        except OSError as error:
            raise WebSocketError(MSG_SOCKET_DEAD) from error
