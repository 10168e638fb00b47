"""One HTTP connection of the gunicorn worker: pywsgi's handling with the slow and the lenient parts replaced.

Adds to gevent-websocket's handler: a strict and quick reading of headers, gunicorn's access log (left out by
gevent-websocket 0.10.1), deadlines against clients that trickle, bounds for bodies, refusals in words where pywsgi (gevent
26.9) writes traces, and a way to end connections from this side.
"""

from __future__ import annotations

import _socket
import contextlib
import functools
import http
import io
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import gevent
import geventwebsocket.handler
from gevent import pywsgi
from geventwebsocket.handler import WebSocketHandler
from gunicorn.workers.ggevent import PyWSGIHandler

from lchook.core.addresses import canonical
from lchook.logs import Log
from lchook.serving.frames import Frames
from lchook.serving.http_request import BadRequestError, Incoming, Post, RequestHeaders, post_ahead
from lchook.serving.served_websocket import ServedWebSocket
from lchook.serving.websocket import BoundedWebSocket
from lchook.web.webhook import TakePost

log = Log(__name__)

# gevent-websocket's handler takes the class from its own module.
geventwebsocket.handler.WebSocket = BoundedWebSocket

_RECEIVE_BYTES = 64 * 1024
# RFC 6455, 4.2.1: 16 bytes in base64.
_WEBSOCKET_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")
# Of a body that is too large so much is read and dropped, so that its sender comes to read the answer.
_MOST_DROPPED_BYTES = 10_000_000


class Connection(Protocol):
    """An open connection, with a greenlet of its own or without.

    :ivar deadline: when what the client is to send now must be there; seconds of the monotonic clock.
    :ivar is_idle: it waits for a request, and `is_new` for its first one.
    """

    deadline: float
    is_idle: bool
    is_new: bool

    def cut(self) -> None:
        """End the connection from this side."""


class Handler(WebSocketHandler, PyWSGIHandler):  # type: ignore[misc]  # neither has types
    """One connection."""

    # All connections of this process. `Worker` looks after their deadlines.
    connections: set[Connection] = set()  # noqa: RUF012
    # The process ends: connections are closed after the answer, so that what follows goes to who takes over.
    ending = False
    is_idle = is_new = True
    _has_headers = False
    status: Any = None
    websocket: Any = None
    rfile: Any = None
    wsgi_input: Any = None
    content_length: Any = None
    # How long a connection may wait for its next request, a request for its headers, and a body for its end.
    idle_seconds = 75.0
    headers_seconds = 20.0
    body_seconds = 30.0
    deadline = float("inf")
    socket: Any
    # Set by the worker from the settings.
    websocket_timeout_seconds = 65.0
    most_body_bytes = 1_000_000
    logs_access = True
    # Posts to one path go another way than WSGI's, if they are as posts commonly are.
    post_line = b""
    take_post: TakePost | None = None
    # The headers without which a browser does not show its page a refusal.
    cors_headers: Callable[[dict[str, Any]], list[tuple[str, str]]] = staticmethod(lambda environ: [])
    # A client that does not read in time is nothing unexpected.
    ignored_socket_errors = (*pywsgi.WSGIHandler.ignored_socket_errors, "timed out")

    def __init__(self, connection: Any, address: Any, server: Any) -> None:
        super().__init__(connection, address, server, rfile=Incoming(connection))

    def log_request(self) -> None:
        # There is no environ where already a connection's first request was not readable.
        if self.logs_access and self.environ is not None:
            PyWSGIHandler.log_request(self)

    def handle(self) -> None:
        Handler.connections.add(self)
        # A bound for clients that do not read, or are gone without a word.
        self.socket.settimeout(self.websocket_timeout_seconds)
        incoming = self.rfile
        try:
            super().handle()
        except OSError:
            # It broke while a refusal was being sent.
            self.cut()
        finally:
            incoming.close()
            Handler.connections.discard(self)

    def handle_one_request(self) -> Any:
        if self.rfile.closed:
            return None
        self.deadline = time.monotonic() + self.idle_seconds
        self.is_idle = True
        try:
            if not self.rfile.wait():
                return None
            self.is_idle = self.is_new = False
            if self.take_post is not None and not self.logs_access:
                self.deadline = time.monotonic() + self.body_seconds
                post = post_ahead(self.rfile, self.post_line, self.most_body_bytes)
                self.deadline = float("inf")
                if post is not None and self._answer(post):
                    return True
        except OSError:
            return None
        self.deadline = time.monotonic() + self.headers_seconds
        return super().handle_one_request()

    def _answer(self, post: Post) -> bool:
        """Answer a post; tells whether it was."""
        answer = self.take_post(post.authorization, post.body)  # type: ignore[misc]
        if answer is None:
            return False
        status, headers, text = answer
        self.rfile.skip(post.size)
        data = _head(status, headers, int(time.time())) + text
        # gevent's sendall asks the system for the size of its buffer first.
        sent = self.socket.send(data)
        if sent < len(data):
            self.socket.sendall(data[sent:])
        return True

    def read_request(self, raw_requestline: str) -> bool:
        """Read the request's head. In place of pywsgi's, which leaves it to the parser for e-mail.

        :raises BadRequestError: where it is no HTTP/1.
        """
        self._has_headers = False
        self.requestline = raw_requestline.rstrip()
        words = self.requestline.split(" ")
        if len(words) != 3 or words[2] not in ("HTTP/1.1", "HTTP/1.0") or not words[1].isprintable():
            raise BadRequestError("the request line is malformed")
        self.command, self.path, self.request_version = words
        headers = self.headers = RequestHeaders.read(self.rfile)
        self._has_headers = True

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
        if Handler.ending and self.code != 101 and not any(name == b"Connection" for name, _ in self.response_headers):
            self.close_connection = True
            self.response_headers.append((b"Connection", b"close"))
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
        # A client waits for the answer before it sends frames, so there is nothing left in here.
        self.rfile.close()
        return super().upgrade_connection()

    def receive_some(self) -> bytes:
        """What the connection brings next; empty where it ends."""
        data: bytes = self.socket.recv(_RECEIVE_BYTES)
        return data

    def open_websocket(self) -> None:
        """Answer that the protocol is switched, unless that is done."""
        if not self.headers_sent:
            self.write(b"")

    def hand_over(
        self, frames: Frames, *, drained: Callable[[], None], gone: Callable[[ServedWebSocket], None]
    ) -> ServedWebSocket:
        """Have the event loop watch this connection's WebSocket. The handler has no more to do with it, and ends."""
        connection, pool = self.socket, self.server.pool
        # The operating system's socket: gevent's weighs more, and would wait.
        bare: Any = _socket.socket(connection.family, connection.type, connection.proto, connection.detach())
        bare.setblocking(False)
        self.socket = None

        def over(served: ServedWebSocket) -> None:
            Handler.connections.discard(served)
            pool.give_back()
            gone(served)

        served = ServedWebSocket(bare, frames, drained=drained, gone=over, patience_seconds=self.websocket_timeout_seconds)
        Handler.connections.add(served)
        pool.keep(gevent.getcurrent())
        return served

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
        headers += self.cors_headers(self.environ)
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
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), ("Connection", "close")]
        headers += self.cors_headers(self._environ_of_what_was_read())
        head = "".join(f"{name}: {value}\r\n" for name, value in headers)
        return "400", f"HTTP/1.1 400 Bad Request\r\n{head}\r\n".encode("latin-1") + body

    def _environ_of_what_was_read(self) -> dict[str, Any]:
        """What `cors_headers` asks for, of a request that is refused before it has an environ."""
        if not self._has_headers:
            return {}
        fields = {_environ_key(name): value for name, value in self.headers.items()}
        known: dict[str, Any] = {key: value for key, value in fields.items() if key is not None}
        path, scheme = self.path.partition("?")[0], self.server.environ["wsgi.url_scheme"]
        return {**known, "PATH_INFO": path, "REQUEST_METHOD": self.command, "wsgi.url_scheme": scheme}

    def _log_error(self, kind: Any, error: BaseException, trace: Any) -> None:
        if not isinstance(error, gevent.GreenletExit):
            log.unexpected("answering a request failed", error, address=self._address())

    def _address(self) -> str:
        peer = str(self.client_address[0]) if self.client_address else ""
        return canonical(peer) or peer


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


@functools.lru_cache(maxsize=20)
def _head(status: int, headers: tuple[tuple[str, str], ...], second: int) -> bytes:
    """An answer's head at this time."""
    lines = [f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join((*lines, f"Date: {pywsgi.format_date_time(second).decode()}", "\r\n")).encode("latin-1")


@functools.lru_cache(maxsize=500)
def _environ_key(name: str) -> str | None:
    if "_" in name or name in ("content-type", "content-length"):
        return None
    return "HTTP_" + name.replace("-", "_").upper()
