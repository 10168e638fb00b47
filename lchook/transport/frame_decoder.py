"""WebSocket frames: a client's taken apart, a server's put together. Bounded, and without I/O.

gevent-websocket (0.10.1) takes the mask off byte by byte in Python, and looks at a frame's size when it has read it: one of
10 MB holds up the whole process for 1.7 s.
"""

from __future__ import annotations

import struct

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
NORMAL, PROTOCOL_ERROR, INVALID_UTF8, MESSAGE_TOO_BIG = 1000, 1002, 1007, 1009
_MAX_CONTROL_BYTES = 125
# The first byte of a text that is not in fragments.
_WHOLE_TEXT = 0x80 | TEXT
# A fragment costs memory even where it is empty.
_FRAGMENT_BYTES = 64

# What a frame brought: its opcode, and the message's text (TEXT), bytes (BINARY, PING) or code (CLOSE). A CONTINUATION
# brought nothing whole yet.
Frame = tuple[int, "str | bytes | int"]
_INCOMPLETE: Frame = (CONTINUATION, b"")


class ProtocolError(Exception):
    """The client breaks the protocol; to be closed with this code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class FrameDecoder:
    """What a client sends, frame by frame. Messages are at most `max_bytes` long, fragments together."""

    __slots__ = ("_at", "_buffer", "_kind", "_max_bytes", "_pieces", "_size")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer: bytes | bytearray = b""
        # Up to here the buffer is used up.
        self._at = 0
        # Of a message in fragments.
        self._kind: int | None = None
        self._pieces: list[bytes] | None = None
        self._size = 0

    def feed(self, data: bytes) -> None:
        """What was received next."""
        if not self._buffer:
            self._buffer = data
            return
        if isinstance(self._buffer, bytes):
            self._buffer = bytearray(self._buffer[self._at :])
        else:
            del self._buffer[: self._at]
        self._at = 0
        self._buffer += data

    def next(self) -> Frame | None:
        """What the next frame brings; `None` until all of it was fed.

        :raises ProtocolError: where the client breaks the protocol, or its message is too long. A frame's head says so,
            before anything else of it is looked at or waited for.
        """
        buffer, at = self._buffer, self._at
        have = len(buffer) - at
        if have < 2:
            return None
        first, second = buffer[at], buffer[at + 1]
        opcode = first & 0x0F
        if first & 0x70 or not second & 0x80:
            # No extension was agreed on, and clients must mask.
            raise ProtocolError(PROTOCOL_ERROR)
        length, start = second & 0x7F, at + 2
        if opcode >= CLOSE and (length > _MAX_CONTROL_BYTES or not first & 0x80):
            raise ProtocolError(PROTOCOL_ERROR)
        if length >= 126:
            start += 2 if length == 126 else 8
            if len(buffer) < start:
                return None
            length = int.from_bytes(buffer[at + 2 : start], "big")
        if self._size + length > self._max_bytes:
            raise ProtocolError(MESSAGE_TOO_BIG)
        end = start + 4 + length
        if len(buffer) < end:
            return None
        payload = unmask(buffer[start : start + 4], buffer[start + 4 : end])
        if end == len(buffer):
            self._buffer, self._at = b"", 0
        else:
            self._at = end
        if first == _WHOLE_TEXT and self._kind is None:
            # As nearly all are.
            return TEXT, _text(payload)
        if opcode >= CLOSE:
            return self._control(opcode, payload)
        return self._fragment(opcode, payload, final=bool(first & 0x80))

    def _fragment(self, opcode: int, payload: bytes, *, final: bool) -> Frame:
        if opcode == CONTINUATION:
            if self._kind is None or self._pieces is None:
                raise ProtocolError(PROTOCOL_ERROR)
        elif opcode not in (TEXT, BINARY) or self._kind is not None:
            raise ProtocolError(PROTOCOL_ERROR)
        elif final:
            return opcode, _text(payload) if opcode == TEXT else payload
        else:
            self._kind, self._pieces = opcode, []
        self._pieces.append(payload)
        self._size += len(payload) + _FRAGMENT_BYTES
        if not final:
            return _INCOMPLETE
        kind, whole = self._kind, b"".join(self._pieces)
        self._kind, self._pieces, self._size = None, None, 0
        return kind, _text(whole) if kind == TEXT else whole

    def _control(self, opcode: int, payload: bytes) -> Frame:
        if opcode == CLOSE:
            code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else NORMAL
            return CLOSE, code if _is_valid_close_code(code) else PROTOCOL_ERROR
        if opcode == PING:
            return PING, payload
        if opcode == PONG:
            return _INCOMPLETE
        raise ProtocolError(PROTOCOL_ERROR)


def frame(opcode: int, payload: bytes) -> bytes:
    """A server's frame with a whole message."""
    length = len(payload)
    if length < 126:
        return bytes((0x80 | opcode, length)) + payload
    if length < 65536:
        return struct.pack("!BBH", 0x80 | opcode, 126, length) + payload
    return struct.pack("!BBQ", 0x80 | opcode, 127, length) + payload


def close_frame(code: int, reason: bytes = b"") -> bytes:
    """The frame that says that this is the end, and why."""
    return frame(CLOSE, struct.pack("!H", code) + reason)


def unmask(mask: bytes | bytearray, payload: bytes | bytearray) -> bytes:
    """The payload without its mask of four bytes, by one exclusive-or of two large integers."""
    length = len(payload)
    key = (mask * (length // 4 + 1))[:length]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(length, "big")


def _text(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError as error:
        raise ProtocolError(INVALID_UTF8) from error


def _is_valid_close_code(code: int) -> bool:
    """RFC 6455, 7.4: codes that a close frame may carry."""
    return 1000 <= code < 5000 and code not in (1004, 1005, 1006) and not 1012 <= code < 3000
