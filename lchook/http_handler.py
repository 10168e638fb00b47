"""One HTTP connection of the gunicorn worker: pywsgi's handling with the slow and the lenient parts replaced.

Adds to gevent-websocket's handler: a strict and quick reading of headers, gunicorn's access log (left out by
gevent-websocket 0.10.1), deadlines against clients that trickle, and a way to end connections from this side.
"""

from __future__ import annotations

import contextlib
import functools
import io
import re
import socket
import time
from collections.abc import Iterator
from typing import Any

import geventwebsocket.handler
from gevent import pywsgi
from geventwebsocket.handler import WebSocketHandler
from gunicorn.workers.ggevent import PyWSGIHandler

from lchook.websocket import BoundedWebSocket

# gevent-websocket's handler takes the class from its own module.
geventwebsocket.handler.WebSocket = BoundedWebSocket

# How long a connection may wait for its next request, a request for its headers, and a body for its end.
_IDLE_SECONDS = 75.0
_HEADERS_SECONDS = 20.0
_BODY_SECONDS = 30.0
_MOST_HEADERS = 100
_MOST_HEADER_BYTES = 32 * 1024

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_BAD_IN_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class BadRequestError(ValueError):
    """The request breaks HTTP. pywsgi answers a ValueError with 400, and logs its text."""


class RequestHeaders:
    """The headers of a request, as much of `http.client`'s interface as pywsgi and gunicorn use."""

    __slots__ = ("_first", "_pairs")
    status = ""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = pairs
        self._first = dict(reversed(pairs))

    @classmethod
    def read(cls, lines: Any) -> RequestHeaders:
        """Read header lines up to the empty one.

        :raises BadRequestError: where they are no HTTP, or too many, or too long.
        """
        pairs: list[tuple[str, str]] = []
        left = _MOST_HEADER_BYTES
        while True:
            line: bytes = lines.readline(left)
            if line in (b"\r\n", b"\n"):
                return cls(pairs)
            left -= len(line)
            if not line.endswith(b"\n"):
                raise BadRequestError("the headers end too early, or are too long")
            name, colon, value = line.rstrip(b"\r\n").partition(b":")
            if not colon or not _NAME.fullmatch(name) or _BAD_IN_VALUE.search(value):
                raise BadRequestError("a header is malformed")
            pairs.append((name.decode("latin-1").lower(), value.strip().decode("latin-1")))
            if len(pairs) > _MOST_HEADERS or left <= 0:
                raise BadRequestError("there are too many headers")

    def get(self, name: str, default: str | None = None) -> str | None:
        return self._first.get(name.lower(), default)

    getheader = get

    @property
    def typeheader(self) -> str | None:
        return self._first.get("content-type")

    def all(self, name: str) -> set[str]:
        """The different values of a header."""
        return {value for each, value in self._pairs if each == name}

    def items(self) -> list[tuple[str, str]]:
        return self._pairs


class Handler(WebSocketHandler, PyWSGIHandler):  # type: ignore[misc]  # neither has types
    """One connection."""

    # Connections of this process, one handler each; `idle` ones wait for a request.
    connections: set[Handler] = set()  # noqa: RUF012
    idle = False
    # When what the client is to send now must be there; seconds of the monotonic clock. `Worker` looks.
    deadline = float("inf")
    # Set by the worker from the settings.
    websocket_timeout_seconds = 65.0
    most_body_bytes = 1_000_000
    logs_access = True

    def log_request(self) -> None:
        if self.logs_access:
            PyWSGIHandler.log_request(self)

    def handle(self) -> None:
        Handler.connections.add(self)
        try:
            super().handle()
        finally:
            Handler.connections.discard(self)

    def read_requestline(self) -> str:
        self.idle = True
        self.deadline = time.monotonic() + _IDLE_SECONDS
        line = str(super().read_requestline())
        self.idle = False
        return line

    def read_request(self, raw_requestline: str) -> bool:
        """Read the request's head. In place of pywsgi's, which leaves it to the parser for e-mail.

        :raises BadRequestError: where it is no HTTP/1.
        """
        self.deadline = time.monotonic() + _HEADERS_SECONDS
        self.requestline = raw_requestline.rstrip()
        words = self.requestline.split(" ")
        if len(words) != 3 or words[2] not in ("HTTP/1.1", "HTTP/1.0") or not words[1].isprintable():
            raise BadRequestError("the request line is malformed")
        self.command, self.path, self.request_version = words
        headers = self.headers = RequestHeaders.read(self.rfile)

        coding = headers.get("transfer-encoding")
        lengths = headers.all("content-length")
        if coding is not None and (coding.lower() != "chunked" or lengths):
            raise BadRequestError("the Transfer-Encoding is not acceptable")
        if len(lengths) > 1 or not all(length.isascii() and length.isdigit() for length in lengths):
            raise BadRequestError("the Content-Length is not acceptable")
        self.content_length = int(lengths.pop()) if lengths else None

        connection = (headers.get("connection") or "").lower()
        self.close_connection = connection == "close" or (self.request_version == "HTTP/1.0" and connection != "keep-alive")
        return True

    def _headers(self) -> Iterator[tuple[str, str]]:
        """What pywsgi's `get_environ` takes headers from. An underscore could pass for a hyphen: such names do not count."""
        for name, value in self.headers.items():
            key = _environ_key(name)
            if key is not None:
                yield key, value

    def run_application(self) -> None:
        self.deadline = float("inf")
        if self.content_length and self.content_length <= self.most_body_bytes:
            self.deadline = time.monotonic() + _BODY_SECONDS
            body = self.wsgi_input.read()
            self.deadline = float("inf")
            self.environ["wsgi.input"] = io.BytesIO(body)
        self.result = self.upgrade_websocket()
        if getattr(self, "websocket", None) is not None:
            self.run_websocket()
        elif self.status:
            # The upgrade was asked for in a wrong way.
            self.result = self.result or []
            self.process_result()
        else:
            pywsgi.WSGIHandler.run_application(self)

    def upgrade_connection(self) -> Any:
        # A client whose connection died without a word is noticed by the heartbeat, but its greenlet would go on reading.
        # It also bounds how long a client may leave unread what it is sent.
        self.socket.settimeout(self.websocket_timeout_seconds)
        return super().upgrade_connection()

    def open_websocket(self) -> None:
        """Answer that the protocol is switched, unless that is done."""
        if not self.headers_sent:
            self.write(b"")

    def run_websocket(self) -> None:
        """Run the application on the WebSocket. One that does not use it (a foreign origin, an unknown session) answers in
        HTTP; gevent-websocket would have switched before asking."""
        answer: list[Any] = ["500 Internal Server Error", []]

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
            answer[:] = [status, headers]

        body = b""
        try:
            body = b"".join(self.application(self.environ, start_response))
        finally:
            websocket: Any = self.websocket
            self.websocket = None
            self.environ["wsgi.websocket"] = None
            if self.headers_sent:
                websocket.close()
            else:
                websocket.closed = True
        if not self.headers_sent:
            self.status = None
            self.provided_content_length = self.provided_date = None
            self.start_response(*answer)
            self.result = [body]
            self.process_result()

    def cut(self) -> None:
        """End the connection from this side."""
        with contextlib.suppress(OSError, AttributeError):
            self.socket.shutdown(socket.SHUT_RDWR)


@functools.lru_cache(maxsize=500)
def _environ_key(name: str) -> str | None:
    if "_" in name or name in ("content-type", "content-length"):
        return None
    return "HTTP_" + name.replace("-", "_").upper()
