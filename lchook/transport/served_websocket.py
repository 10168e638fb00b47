"""WebSockets: fair to other connections, and without a greenlet while nothing happens on them.

A greenlet that waits for the next message is most of what a quiet connection weighs, and of what its next message costs. So
after the handshake the event loop watches the socket, and a greenlet of the pool handles what comes. Writing never waits.

Knows nothing of Engine.IO.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from typing import Any

import gevent
from gevent import get_hub
from geventwebsocket.exceptions import WebSocketError
from geventwebsocket.websocket import MSG_ALREADY_CLOSED, MSG_SOCKET_DEAD

from lchook.core import events
from lchook.logs import Log
from lchook.transport.frame_decoder import (
    BINARY,
    CLOSE,
    NORMAL,
    PING,
    PONG,
    TEXT,
    FrameDecoder,
    ProtocolError,
    close_frame,
    frame,
)
from lchook.transport.greenlet_pool import greenlets

log = Log(__name__)

_READ, _WRITE = 1, 2
_MIN_RECEIVE_BYTES = 2 * 1024
_MAX_RECEIVE_BYTES = 64 * 1024
# A client that always has more to read would keep all others waiting: so many frames, then they have their turn.
_FRAMES_IN_A_ROW = 32
# How long a client has to hang up after it was told that the connection is closed.
HANG_UP_SECONDS = 5.0

Message = str | bytes


class ServedWebSocket:
    """An open WebSocket that the event loop watches.

    :ivar on_message: what is done with a message, in a greenlet of the pool; one after the other.
    :ivar deadline: when the client must have sent its next whole message (seconds of the monotonic clock). Those who only
        send pings, or a byte now and then, say nothing that anybody waits for; and those who do not read what they are sent
        need not be waited for. Whoever watches the deadline calls `abort`.
    """

    # It waits for no request.
    is_idle = is_new = False

    __slots__ = (
        "_ended",
        "_frames",
        "_handling",
        "_on_close",
        "_on_drain",
        "_reading",
        "_receive_bytes",
        "_send_buffer",
        "_socket",
        "_timeout_seconds",
        "_writing",
        "closed",
        "deadline",
        "on_message",
    )

    def __init__(
        self,
        connection: socket.socket,
        frames: FrameDecoder,
        *,
        on_drain: Callable[[], None],
        on_close: Callable[[ServedWebSocket], None],
        timeout_seconds: float,
    ) -> None:
        """`on_message` is to be set before anything else happens.

        :param connection: the operating system's socket, which does not wait; this closes it at the end.
        :param on_drain: called when a client that did not take all at once has taken it.
        :param on_close: called with this at the end, once.
        :param timeout_seconds: how long a whole message may be waited for.
        """
        self.on_message: Callable[[Message], None] = _nothing
        self._on_drain = on_drain
        self._on_close = on_close
        self._timeout_seconds = timeout_seconds
        self._socket = connection
        self._frames = frames
        self._receive_bytes = _MIN_RECEIVE_BYTES
        self._send_buffer: bytearray | None = None
        self._handling = False
        self._ended = False
        self.closed = False
        self.deadline = time.monotonic() + timeout_seconds
        self._writing: Any = None
        self._reading = get_hub().loop.io(connection.fileno(), _READ)
        self._reading.start(self._readable)

    @property
    def writable(self) -> bool:
        """Has the client taken all that it was sent, and was `on_drain` called? Before that, what is sent would overtake
        what others keep until then."""
        return self._send_buffer is None

    def send(self, message: Message) -> None:
        """Send one message. Does not wait: what the client does not take now is kept. Ask `writable` before.

        :raises WebSocketError: where the connection is closed.
        """
        if self.closed:
            raise WebSocketError(MSG_ALREADY_CLOSED)
        self._write(frame(TEXT, message.encode()) if isinstance(message, str) else frame(BINARY, message))

    def close(self, code: int = NORMAL) -> None:
        """Tell the client that this is the end. It has a few seconds to hang up."""
        if self.closed:
            return
        with contextlib.suppress(WebSocketError):
            self._write(close_frame(code))
        self.closed = True
        self.deadline = time.monotonic() + HANG_UP_SECONDS

    def abort(self) -> None:
        """End the connection now."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    # Reading

    def _readable(self) -> None:
        if self._handling:
            # Somebody is at it, and waits for something. Nobody looks until they are done: the loop would call all the time.
            self._reading.stop()
            return
        self._handling = True
        greenlets.start_now(self._read)

    def _read(self) -> None:
        try:
            if not self._read_some():
                self._end()
        except ProtocolError as error:
            log.warning(events.PROTOCOL_BROKEN, code=error.code)
            self.close(error.code)
            self._end()
        except Exception:
            log.exception(events.WEBSOCKET_FAILED)
            self._end()
        finally:
            self._handling = False
            if not self._ended and not self._reading.active:
                self._reading.start(self._readable)

    def _read_some(self) -> bool:
        """Handle what is there; tells whether more may come."""
        try:
            data = self._socket.recv(self._receive_bytes)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not data:
            return False
        self._receive_bytes = _MIN_RECEIVE_BYTES if len(data) < self._receive_bytes else _MAX_RECEIVE_BYTES
        frames = self._frames
        frames.feed(data)
        in_a_row = 0
        while (received := frames.next()) is not None:
            opcode, payload = received
            if opcode in (TEXT, BINARY):
                if not self.closed:
                    if self._send_buffer is None:
                        self.deadline = time.monotonic() + self._timeout_seconds
                    self.on_message(payload)  # type: ignore[arg-type]  # of these two opcodes it is no number
                if self.closed and self._send_buffer is None:
                    return False
            elif opcode == PING and not self.closed and self._send_buffer is None:
                with contextlib.suppress(WebSocketError):
                    self._write(frame(PONG, payload))  # type: ignore[arg-type]
            elif opcode == CLOSE:
                self.close(payload)  # type: ignore[arg-type]
                return False
            in_a_row += 1
            if in_a_row % _FRAMES_IN_A_ROW == 0:
                gevent.sleep(0)
        return True

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = self.closed = True
        for watcher in (self._reading, self._writing):
            if watcher is not None:
                watcher.stop()
                watcher.close()
        with contextlib.suppress(OSError):
            # With something left to read, a close would take back what was sent last.
            self._socket.recv(_MAX_RECEIVE_BYTES)
        self._socket.close()
        on_close = self._on_close
        # Nothing is left to be collected.
        self.on_message = self._on_drain = self._on_close = _nothing
        self._frames, self._send_buffer = FrameDecoder(0), None
        on_close(self)

    # Writing

    def _write(self, data: bytes) -> None:
        if self._send_buffer is not None:
            # Only the close comes here: for all else, `writable` is asked.
            self._send_buffer += data
            return
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self.abort()
            raise WebSocketError(MSG_SOCKET_DEAD) from error
        if sent < len(data):
            self._send_buffer = bytearray(data[sent:])
            self._writing = self._writing or get_hub().loop.io(self._socket.fileno(), _WRITE)
            self._writing.start(self._writable)

    def _writable(self) -> None:
        try:
            del self._send_buffer[: self._socket.send(self._send_buffer)]  # type: ignore[union-attr,arg-type]
        except BlockingIOError:
            return
        except OSError:
            self._send_buffer = bytearray()
            self.abort()
        if not self._send_buffer:
            self._writing.stop()
            greenlets.start(self._drain)

    def _drain(self) -> None:
        if self._ended:
            return
        if self._send_buffer:
            # The connection was closed meanwhile, and that is still to be said.
            self._writing.start(self._writable)
            return
        self._send_buffer = None
        self._on_drain()


def _nothing(*_: object) -> None:
    """What is done for a connection that is gone."""
