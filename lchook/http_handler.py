"""One HTTP connection of the gunicorn worker: pywsgi's handling with the slow and the lenient parts replaced.

Adds to gevent-websocket's handler: a strict and quick reading of headers, gunicorn's access log (left out by
gevent-websocket 0.10.1), deadlines against clients that trickle, bounds for bodies, refusals in words where pywsgi (gevent
26.9) writes traces, and a way to end connections from this side.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import re
import socket
import time
from collections.abc import Iterator
from typing import Any

import gevent
import geventwebsocket.handler
from gevent import pywsgi
from geventwebsocket.handler import WebSocketHandler
from gunicorn.workers.ggevent import PyWSGIHandler

from lchook.logs import Log
from lchook.websocket import BoundedWebSocket

log = Log(__name__)

# gevent-websocket's handler takes the class from its own module.
geventwebsocket.handler.WebSocket = BoundedWebSocket

_LEAST_RECEIVE_BYTES = 2048
_MOST_RECEIVE_BYTES = 64 * 1024
_MOST_HEADERS = 100
_MOST_HEADER_BYTES = 32 * 1024

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_BAD_IN_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
# RFC 6455, 4.2.1: 16 bytes in base64.
_WEBSOCKET_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")
# Of a body that is too large so much is read and dropped, so that its sender comes to read the answer.
_MOST_DROPPED_BYTES = 10_000_000


class BadRequestError(ValueError):
    """The request breaks HTTP. The text says how, and quotes nothing of it."""


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


class FrameReader:
    """Reads from a socket what WebSocket frames need.

    A buffered file of the standard library's costs 8 KB a connection, and calls back into Python from C: what a greenlet has
    on C's stack while it waits is copied aside.
    """

    __slots__ = ("_left", "_receive")

    def __init__(self, connection: Any) -> None:
        self._receive = connection.recv
        self._left = b""

    def read(self, count: int) -> bytes:
        """So many bytes, or fewer where the connection ends before."""
        data = self._left
        if len(data) < count:
            pieces, missing = [data], count - len(data)
            while missing > 0:
                piece = self._receive(min(max(missing, _LEAST_RECEIVE_BYTES), _MOST_RECEIVE_BYTES))
                if not piece:
                    break
                pieces.append(piece)
                missing -= len(piece)
            data = b"".join(pieces)
        self._left = data[count:]
        return data[:count]

    def close(self) -> None:
        self._left = b""

    @property
    def closed(self) -> bool:
        """pywsgi asks before it reads the next request; there is none after a WebSocket."""
        return True


class Handler(WebSocketHandler, PyWSGIHandler):  # type: ignore[misc]  # neither has types
    """One connection."""

    # Connections of this process, one handler each; `idle` ones wait for a request.
    connections: set[Handler] = set()  # noqa: RUF012
    idle = False
    status: Any = None
    websocket: Any = None
    rfile: Any = None
    wsgi_input: Any = None
    content_length: Any = None
    # How long a connection may wait for its next request, a request for its headers, and a body for its end.
    idle_seconds = 75.0
    headers_seconds = 20.0
    body_seconds = 30.0
    # When what the client is to send now must be there; seconds of the monotonic clock. `Worker` looks.
    deadline = float("inf")
    # Set by the worker from the settings.
    websocket_timeout_seconds = 65.0
    most_body_bytes = 1_000_000
    logs_access = True
    # A client that does not read in time is nothing unexpected.
    ignored_socket_errors = (*pywsgi.WSGIHandler.ignored_socket_errors, "timed out")
    _requests = 0

    def log_request(self) -> None:
        # There is no environ where already a connection's first request was not readable.
        if self.logs_access and self.environ is not None:
            PyWSGIHandler.log_request(self)

    def handle(self) -> None:
        Handler.connections.add(self)
        # A bound for clients that do not read, or are gone without a word.
        self.socket.settimeout(self.websocket_timeout_seconds)
        try:
            super().handle()
        except OSError:
            # It broke while a refusal was being sent.
            self.cut()
        finally:
            Handler.connections.discard(self)

    def read_requestline(self) -> str:
        self._requests += 1
        if self._requests > 1:
            # A client that sends one request after the other without waiting would keep all others waiting: gevent only
            # switches where it has to wait.
            gevent.sleep(0)
        self.idle = True
        self.deadline = time.monotonic() + self.idle_seconds
        line = str(super().read_requestline())
        self.idle = False
        return line

    def read_request(self, raw_requestline: str) -> bool:
        """Read the request's head. In place of pywsgi's, which leaves it to the parser for e-mail.

        :raises BadRequestError: where it is no HTTP/1.
        """
        self.deadline = time.monotonic() + self.headers_seconds
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
        refusal = self._read_body() or self._wrong_with_handshake()
        if refusal is not None:
            self._refuse(*refusal)
            return
        self.result = self.upgrade_websocket()
        if self.websocket is not None:
            self.run_websocket()
        else:
            pywsgi.WSGIHandler.run_application(self)

    def _read_body(self) -> tuple[str, str] | None:
        """Take the body in; or tell with which status, in which words, to refuse the request.

        Of a body that is too large the application sees the length, or the beginning of one in chunks.
        """
        self.deadline = float("inf")
        chunked = self.wsgi_input.chunked_input
        if not chunked and not self.content_length:
            return None
        body = b""
        self.deadline = time.monotonic() + self.body_seconds
        try:
            if chunked:
                body = self.wsgi_input.read(self.most_body_bytes + 1)
                self.environ["CONTENT_LENGTH"] = str(len(body))
            elif self.content_length <= self.most_body_bytes:
                body = self.wsgi_input.read()
        except (OSError, ValueError):
            # A ValueError of pywsgi's: the size of a chunk is no number.
            return "400 Bad Request", "the body broke off, or is not what the headers say"
        finally:
            self.deadline = float("inf")
        self.environ["wsgi.input"] = io.BytesIO(body)
        if int(self.environ["CONTENT_LENGTH"]) > self.most_body_bytes:
            self.wsgi_input = _Rest(self)
        return None

    def _wrong_with_handshake(self) -> tuple[str, str] | None:
        """With which status, in which words, to refuse the request, if it asks for a WebSocket and does so in a wrong way.

        gevent-websocket fails at most of that.
        """
        if self.command != "GET" or self.environ.get("HTTP_UPGRADE", "").lower() != "websocket":
            return None
        if self.request_version != "HTTP/1.1" or "upgrade" not in self.environ.get("HTTP_CONNECTION", "").lower():
            return "400 Bad Request", "a WebSocket needs HTTP/1.1 and the header Connection: Upgrade"
        if self.environ.get("HTTP_SEC_WEBSOCKET_VERSION") != "13":
            return "426 Upgrade Required", "Sec-WebSocket-Version must be 13"
        if not _WEBSOCKET_KEY.fullmatch(self.environ.get("HTTP_SEC_WEBSOCKET_KEY", "")):
            return "400 Bad Request", "Sec-WebSocket-Key must be 16 bytes in base64"
        return None

    def _write_with_headers(self, data: bytes) -> None:
        """Head and body in one piece: pywsgi's way is a system call for each."""
        self.headers_sent = True
        self.finalize_headers()
        head = [b"HTTP/1.1 ", self.status, b"\r\n"]
        for name, value in self.response_headers:
            head += (name, b": ", value, b"\r\n")
        head.append(b"\r\n")
        if data and self.response_use_chunked:
            head += (b"%x\r\n" % len(data), data, b"\r\n")
        elif data:
            head.append(data)
        self._sendall(b"".join(head))

    def upgrade_connection(self) -> Any:
        # A client waits for the answer before it sends frames, so there is nothing left in the old one.
        self.rfile.close()
        self.rfile = FrameReader(self.socket)
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
            application: Any = getattr(self.application, "wsgi_app", self.application)
            pieces = application(self.environ, start_response)
            body = b"".join(pieces)
        finally:
            websocket, self.websocket = self.websocket, None
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

    # Refusals and errors, in words to the client and in one line to the log

    def _refuse(self, status: str, error: str) -> None:
        """Answer in place of the application, and hang up."""
        log.info("a request was refused", address=self._address(), reason=error)
        body = json.dumps({"error": error}).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), ("Connection", "close")]
        if status.startswith("426"):
            headers.append(("Sec-WebSocket-Version", "13"))
        if not isinstance(self.wsgi_input, _Rest):
            self.wsgi_input = _Rest(self)
        self.close_connection = True
        self.start_response(status, headers)
        self.write(body)

    def _handle_client_error(self, error: Exception) -> tuple[str, bytes]:
        # pywsgi would quote the request, which may be the lost body of another one, and write a trace of some errors.
        reason = str(error) if isinstance(error, BadRequestError) else "the request is not readable"
        log.info("a request was refused", address=self._address(), reason=reason, kind=type(error).__name__)
        body = json.dumps({"error": reason}).encode()
        head = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        return "400", b"HTTP/1.1 400 Bad Request\r\n" + head.encode() + body

    def _log_error(self, kind: Any, error: BaseException, trace: Any) -> None:
        if not isinstance(error, gevent.GreenletExit):
            log.unexpected("answering a request failed", error, address=self._address())

    def _address(self) -> str:
        return str(self.client_address[0]) if self.client_address else ""


class _Rest:
    """What is left of a body that nobody wants, in place of pywsgi's Input, which would read it however long it is."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._input: Any = handler.wsgi_input

    def _discard(self) -> None:
        # `Worker` cuts the connection when this is over.
        self._handler.deadline = time.monotonic() + self._handler.body_seconds
        left = _MOST_DROPPED_BYTES
        self._input.send_100_continue_enabled = False
        with contextlib.suppress(OSError, ValueError):
            while left > 0:
                piece = self._input.read(65_536)
                if not piece:
                    return
                left -= len(piece)
                gevent.sleep(0)
        self._handler.close_connection = True


@functools.lru_cache(maxsize=500)
def _environ_key(name: str) -> str | None:
    if "_" in name or name in ("content-type", "content-length"):
        return None
    return "HTTP_" + name.replace("-", "_").upper()
