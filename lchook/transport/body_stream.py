"""A request's body, read while it comes in: for the few requests whose bodies are too large to be held."""

from __future__ import annotations

import time
from typing import Any

from lchook.transport.request_parser import BadRequestError

# A body may be as slow as that, besides the time that any body has. Slower ones would hold their place for hours.
_MIN_BYTES_A_SECOND = 8_000


class BodyStream:
    """`wsgi.input`. A body that breaks off ends early; whoever reads it knows how long it should be."""

    def __init__(self, handler: Any, before: bytes) -> None:
        """:param before: what is to be sent before the client sends its body; empty for nothing."""
        self._handler = handler
        self._before = before
        self._ahead = b""
        self._received = 0
        self._started = time.monotonic()

    def read(self, size: int = -1) -> bytes:
        """Some of it, up to so many bytes, as soon as there is any; empty at the end."""
        if not self._ahead:
            self._ahead = self._receive()
            self._received += len(self._ahead)
        data, self._ahead = (self._ahead, b"") if size < 0 else (self._ahead[:size], self._ahead[size:])
        return data

    def _receive(self) -> bytes:
        handler, reader = self._handler, self._handler.rfile
        if reader.has_all or reader.closed:
            return b""
        grace_seconds = handler.options.timeouts.body_seconds
        handler.deadline = self._started + grace_seconds + self._received / _MIN_BYTES_A_SECOND
        try:
            if self._before:
                before, self._before = self._before, b""
                if not reader.has_more:
                    handler.socket.sendall(before)
            return reader.piece()  # type: ignore[no-any-return]
        except (OSError, BadRequestError):
            handler.close_connection = True
            return b""
        finally:
            handler.deadline = float("inf")
