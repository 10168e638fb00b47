"""One HTTP connection of the gunicorn worker: its time limits, its bounds, and its turning into a WebSocket.

On top of gevent's pywsgi, which reads requests of any size for as long as they take and writes a trace for much that is
only a client's fault. Not on top of gevent-websocket's handler (0.10.1), which opens a WebSocket on any path before the
application is asked whether it wants it, fails on handshakes that are not right, and writes no access log.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import re
import socket
from typing import Any

import gevent
from geventwebsocket.websocket import Stream
from gunicorn.workers.ggevent import PyWSGIHandler

from lchook.logs import Log
from lchook.websocket import BoundedWebSocket

log = Log(__name__)

# RFC 9112, 5: anything else could be read in one way by a proxy and in another way by us.
_HEADER_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\0\r\n]*\r?\n")
_LINE_ENDS = (b"\r\n", b"\n", b"")
# RFC 6455, 4.2.1: 16 bytes in base64.
_WEBSOCKET_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")
_WEBSOCKET_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# Of a body that is too large so much is read and dropped, for so long, that its sender comes to read the answer.
_MOST_DROPPED_BYTES = 10_000_000
_DROPPING_SECONDS = 10.0


class _RefusedError(ValueError):
    """The request is not acceptable. The text says why, and quotes nothing of it. pywsgi takes a ValueError for a 400."""


class Handler(PyWSGIHandler):  # type: ignore[misc]  # gunicorn and gevent have no types
    """One connection."""

    # Connections of this process, one handler each; `idle` ones wait for a request.
    connections: set[Handler] = set()  # noqa: RUF012
    idle = False
    # How long a connection may wait for its next request, a request for its headers, and a body for its end.
    idle_seconds = 75.0
    headers_seconds = 20.0
    body_seconds = 30.0
    # Set by the worker from the settings. How long a client may leave a WebSocket silent, and anything unread.
    silence_seconds = 65.0
    most_body_bytes = 1_000_000

    # A client that does not read in time is nothing unexpected.
    ignored_socket_errors = (*PyWSGIHandler.ignored_socket_errors, "timed out")
    _is_websocket_open = False
    _is_first_request = True

    def handle(self) -> None:
        Handler.connections.add(self)
        # Also a bound for those who do not read, or are gone without a word. Waiting for a request has its own.
        self.socket.settimeout(self.silence_seconds)
        try:
            super().handle()
        except OSError:
            # It broke while an error was being answered.
            self.cut()
        finally:
            Handler.connections.discard(self)

    def cut(self) -> None:
        """End the connection from this side."""
        with contextlib.suppress(OSError, AttributeError):
            self.socket.shutdown(socket.SHUT_RDWR)

    # Requests

    def read_requestline(self) -> str:
        if not self._is_first_request:
            # A client that sends one request after the other, without waiting, would keep all others waiting.
            gevent.sleep(0)
        self._is_first_request = False
        self.idle = True
        line = ""
        # A timer for the whole line: a socket's timeout starts anew with every byte.
        with gevent.Timeout(self.idle_seconds, False):
            line = str(super().read_requestline())
        self.idle = False
        return line

    def read_request(self, raw_requestline: str) -> Any:
        with gevent.Timeout(self.headers_seconds, _RefusedError("the headers took too long")):
            return super().read_request(raw_requestline)

    def MessageClass(self, *_: Any) -> Any:  # noqa: N802  # pywsgi's name
        """The headers, parsed, if there is only one way to read them."""
        headers = super().MessageClass(_HeaderLines(self.rfile))
        lengths, encodings = headers.get_all("content-length", ()), headers.get_all("transfer-encoding", ())
        if len(lengths) + len(encodings) > 1:
            raise _RefusedError("the body's length is given more than once")
        if any(not (length.isascii() and length.isdigit()) for length in lengths):
            raise _RefusedError("Content-Length is no number")
        if any(encoding.lower() != "chunked" for encoding in encodings):
            raise _RefusedError("Transfer-Encoding must be chunked, or not be there")
        return headers

    def run_application(self) -> None:
        refusal = self._read_body()
        if refusal is not None:
            self._answer(*refusal)
        elif self.command == "GET" and self.environ.get("HTTP_UPGRADE", "").lower() == "websocket":
            self._run_with_websocket()
        else:
            super().run_application()

    def _read_body(self) -> tuple[str, str] | None:
        """Take the body in; or tell with which status, and which words, to refuse the request.

        Of a body that is too large the application only sees the length, or the beginning of one in chunks.
        """
        request = self.wsgi_input
        if not request.chunked_input and not self.content_length:
            return None
        body = b""
        try:
            with gevent.Timeout(self.body_seconds, _RefusedError()):
                if request.chunked_input:
                    body = request.read(self.most_body_bytes + 1)
                    self.environ["CONTENT_LENGTH"] = str(len(body))
                elif self.content_length <= self.most_body_bytes:
                    body = request.read()
        except _RefusedError:
            return "408 Request Timeout", "the body took too long"
        except OSError:
            return "400 Bad Request", "the body broke off"
        self.environ["wsgi.input"] = io.BytesIO(body)
        if int(self.environ["CONTENT_LENGTH"]) > self.most_body_bytes:
            self.wsgi_input = _Rest(self)
        return None

    # WebSockets

    def _run_with_websocket(self) -> None:
        wrong = self._wrong_with_handshake()
        if wrong:
            self._answer("400 Bad Request", wrong, [("Sec-WebSocket-Version", "13")])
            return
        websocket = BoundedWebSocket(self.environ, Stream(self), self)
        # Where python-engineio (4.15.1) looks for it.
        self.environ["wsgi.websocket"] = websocket
        try:
            super().run_application()
        finally:
            if self._is_websocket_open:
                websocket.close()
                self.close_connection = True
            self.environ["wsgi.websocket"] = None

    def open_websocket(self) -> None:
        """Say yes to the client, if that was not done yet. From now on there are frames on the connection."""
        if self._is_websocket_open:
            return
        self._is_websocket_open = True
        key = self.environ["HTTP_SEC_WEBSOCKET_KEY"].strip() + _WEBSOCKET_GUID
        accept = base64.b64encode(hashlib.sha1(key.encode(), usedforsecurity=False).digest()).decode()
        headers = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept)]
        self.start_response("101 Switching Protocols", headers)
        self.write(b"")

    def _wrong_with_handshake(self) -> str | None:
        if self.request_version != "HTTP/1.1":
            return "a WebSocket needs HTTP/1.1"
        if "upgrade" not in self.environ.get("HTTP_CONNECTION", "").lower():
            return "a WebSocket needs the header Connection: Upgrade"
        if self.environ.get("HTTP_SEC_WEBSOCKET_VERSION") != "13":
            return "Sec-WebSocket-Version must be 13"
        if not _WEBSOCKET_KEY.fullmatch(self.environ.get("HTTP_SEC_WEBSOCKET_KEY", "").strip()):
            return "Sec-WebSocket-Key must be 16 bytes in base64"
        return None

    # Answers and logs of our own

    def _answer(self, status: str, error: str, headers: list[tuple[str, str]] | None = None) -> None:
        """Answer in place of the application, and hang up."""
        body = json.dumps({"error": error}).encode()
        usual = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), ("Connection", "close")]
        self.wsgi_input = _Rest(self)
        self.start_response(status, usual + (headers or []))
        self.write(body)

    def log_request(self) -> None:
        # There is none where already the first request of a connection was not readable.
        if self.environ is not None:
            super().log_request()

    def _handle_client_error(self, error: Exception) -> tuple[str, bytes]:
        # pywsgi would quote the request, which may be the lost body of another one, and write a trace of some errors.
        reason = str(error) if isinstance(error, _RefusedError) else "the request is not readable"
        log.info("a request was refused", address=self._address(), reason=reason, kind=type(error).__name__)
        body = json.dumps({"error": reason}).encode()
        head = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        return "400", b"HTTP/1.1 400 Bad Request\r\n" + head.encode() + body

    def _log_error(self, kind: Any, error: BaseException, trace: Any) -> None:
        if not isinstance(error, gevent.GreenletExit):
            log.unexpected("answering a request failed", error, address=self._address())

    def _address(self) -> str:
        return str(self.client_address[0]) if self.client_address else ""


class _HeaderLines:
    """The lines of the headers, each of which must be one, in what `http.client` takes for a file.

    It (3.11) also begins a new line at a lone carriage return, and takes a line without a colon for the end of the headers:
    with either, a client could add headers that a proxy has not seen, or hide those that the proxy has set.
    """

    def __init__(self, lines: Any) -> None:
        self._lines = lines

    def readline(self, limit: int) -> bytes:
        line: bytes = self._lines.readline(limit)
        if line not in _LINE_ENDS and len(line) < limit and not _HEADER_LINE.fullmatch(line):
            raise _RefusedError("a header is not readable")
        return line


class _Rest:
    """What is left of a body that nobody wants, in place of pywsgi's Input, which would read it however long it is."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._input = handler.wsgi_input

    def _discard(self) -> None:
        left = _MOST_DROPPED_BYTES
        self._input.send_100_continue_enabled = False
        with gevent.Timeout(_DROPPING_SECONDS, False), contextlib.suppress(OSError):
            while left > 0 and self._input.position < (self._input.content_length or left):
                piece = self._input.read(min(65_536, left))
                if not piece and self._input.chunked_input:
                    return
                left -= len(piece)
                gevent.sleep(0)
            if self._input.content_length is not None and self._input.position >= self._input.content_length:
                return
        self._handler.close_connection = True
