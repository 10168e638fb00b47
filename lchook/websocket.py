"""Reading and writing WebSocket frames: bounded before they are read, fast, and fair to other connections.

gevent-websocket (0.10.1) reads a frame of any size into memory, then takes its mask off byte by byte in Python: one frame of
10 MB holds up the whole process for 1.7 s.
"""

from __future__ import annotations

import contextlib
import struct
import time
from typing import Any

import gevent
from gevent.lock import RLock
from geventwebsocket.exceptions import WebSocketError
from geventwebsocket.websocket import MSG_ALREADY_CLOSED, MSG_SOCKET_DEAD, WebSocket

from lchook.logs import Log

log = Log(__name__)

_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_PROTOCOL_ERROR, _NOT_UTF8, _TOO_BIG = 1002, 1007, 1009
_MOST_CONTROL_BYTES = 125
# A client that always has more to read would keep all others waiting: gevent only switches where it has to wait.
# A frame counts as so many bytes, besides its own.
_BYTES_IN_A_ROW = 64_000
_FRAME_BYTES = 2_000
# How long a client has to hang up after it was told that the connection is closed.
_HANG_UP_SECONDS = 5.0


class _ViolationError(Exception):
    """The client breaks the protocol; closed with this code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class BoundedWebSocket(WebSocket):  # type: ignore[misc]  # gevent-websocket has no types
    """A WebSocket whose messages are at most `max_bytes` long, fragments together. Larger ones close it with code 1009.

    It opens when the application first uses it, so that an application that does not want it can answer in HTTP.
    """

    __slots__ = ("_in_a_row", "_reading", "_writing")

    # Set by the worker from the settings.
    max_bytes = 1_000_000

    def __init__(self, environ: dict[str, Any], stream: Any, handler: Any) -> None:
        # Not the base class's: its UTF-8 validator, a table walk in Python, is of no use here.
        self.environ = environ  # type: ignore[misc]
        self.closed = False  # type: ignore[misc]
        self.stream = stream  # type: ignore[misc]
        self.raw_write = stream.write  # type: ignore[misc]
        self.raw_read = stream.read  # type: ignore[misc]
        self.handler = handler  # type: ignore[misc]
        # A pong must not come between the pieces of a message that another greenlet is sending.
        self._writing = RLock()
        self._reading = False
        self._in_a_row = 0

    def receive(self) -> str | bytes | None:
        """The next message, or `None` where the connection is closed or its client broke the protocol."""
        if self.closed:
            return None
        self._reading = True
        # For a whole message: those who only send pings, or a byte now and then, say nothing that anybody waits for.
        self.handler.deadline = time.monotonic() + self.handler.websocket_timeout_seconds
        try:
            self.handler.open_websocket()
            return self._next_message()
        except _ViolationError as violation:
            log.warning("a WebSocket is closed: its client broke the protocol", code=violation.code)
            self.close(violation.code)
        except UnicodeDecodeError:
            log.warning("a WebSocket is closed: its client sent text that is no UTF-8")
            self.close(_NOT_UTF8)
        except (OSError, ValueError):
            # Timed out, reset, or closed from this side while reading.
            self.close()
        finally:
            self._reading = False
            self.handler.deadline = float("inf")
        return None

    def send(self, message: str | bytes | bytearray, binary: bool | None = None) -> None:
        """Send one message in one frame.

        :raises WebSocketError: where the connection is closed.
        """
        if isinstance(message, str):
            self._write(_TEXT, message.encode())
        else:
            self._write(_BINARY, bytes(message))

    def close(self, code: int = 1000, message: str | bytes = b"") -> None:
        """Tell the client that this is the end. It has a few seconds to hang up."""
        if self.closed:
            return
        reason = message.encode() if isinstance(message, str) else bytes(message)
        with contextlib.suppress(WebSocketError):
            self._write(_CLOSE, struct.pack("!H", code) + reason)
        self.closed = True  # type: ignore[misc]
        if self._reading:
            # Somebody else's call. The one that reads would go on for as long as the client sends a byte now and then.
            self.handler.deadline = time.monotonic() + _HANG_UP_SECONDS

    def _next_message(self) -> str | bytes | None:
        pieces: list[bytes] = []
        size = 0
        kind = None
        while True:
            if self._in_a_row > _BYTES_IN_A_ROW:
                self._in_a_row = 0
                gevent.sleep(0)
            head = self._read(2)
            if head is None:
                return None
            first, second = head
            opcode = first & 0x0F
            if first & 0x70 or not second & 0x80:
                # No extension was agreed on, and clients must mask.
                raise _ViolationError(_PROTOCOL_ERROR)
            length = second & 0x7F
            if opcode >= _CLOSE and (length > _MOST_CONTROL_BYTES or not first & 0x80):
                raise _ViolationError(_PROTOCOL_ERROR)
            if length >= 126:
                extended = self._read(2 if length == 126 else 8)
                if extended is None:
                    return None
                length = int.from_bytes(extended, "big")
            if size + length > self.max_bytes:
                raise _ViolationError(_TOO_BIG)
            self._in_a_row += _FRAME_BYTES + length
            masked = self._read(4 + length)
            if masked is None:
                return None
            payload = unmask(masked[:4], masked[4:])

            if opcode >= _CLOSE:
                if self._control(opcode, payload):
                    return None
                continue
            if opcode == _CONTINUATION:
                if kind is None:
                    raise _ViolationError(_PROTOCOL_ERROR)
            elif opcode not in (_TEXT, _BINARY) or kind is not None:
                raise _ViolationError(_PROTOCOL_ERROR)
            else:
                kind = opcode
            if first & 0x80 and not pieces:
                return payload.decode() if kind == _TEXT else payload
            pieces.append(payload)
            # A fragment costs memory even where it is empty.
            size += length + 64
            if first & 0x80:
                whole = b"".join(pieces)
                return whole.decode() if kind == _TEXT else whole

    def _control(self, opcode: int, payload: bytes) -> bool:
        """Answer a control frame; tells whether the connection is closed."""
        if opcode == _CLOSE:
            code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1000
            self.close(code if self._is_valid_close_code(code) else _PROTOCOL_ERROR)
            return True
        if opcode == _PING:
            self._write(_PONG, payload)
        elif opcode != _PONG:
            raise _ViolationError(_PROTOCOL_ERROR)
        return False

    def _read(self, count: int) -> bytes | None:
        """Exactly so many bytes, or `None` where the connection ends before."""
        data: bytes = self.raw_read(count)
        return data if len(data) == count else None

    def _write(self, opcode: int, payload: bytes) -> None:
        if self.closed:
            raise WebSocketError(MSG_ALREADY_CLOSED)
        length = len(payload)
        if length < 126:
            head = struct.pack("!BB", 0x80 | opcode, length)
        elif length < 65536:
            head = struct.pack("!BBH", 0x80 | opcode, 126, length)
        else:
            head = struct.pack("!BBQ", 0x80 | opcode, 127, length)
        try:
            with self._writing:
                self.handler.open_websocket()
                self.raw_write(head + payload)
        except OSError as error:
            raise WebSocketError(MSG_SOCKET_DEAD) from error


def unmask(mask: bytes, payload: bytes) -> bytes:
    """The payload without its mask of four bytes, by one exclusive-or of two large integers."""
    length = len(payload)
    key = (mask * (length // 4 + 1))[:length]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(length, "big")
