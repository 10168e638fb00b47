"""One HTTP connection of the gunicorn worker: its requests are read by our own reader, and answered by pywsgi.

Adds to gevent-websocket's handler: gunicorn's access log (left out by gevent-websocket 0.10.1), deadlines against clients
that trickle, bounds for bodies, refusals in words where pywsgi (gevent 26.9) writes traces, and a way to end connections
from this side.
"""

from __future__ import annotations

import contextlib
import io
import json
import socket
import time
from typing import Any

import gevent
from gevent import pywsgi
from geventwebsocket.handler import WebSocketHandler
from gunicorn.workers.ggevent import PyWSGIHandler

from lchook.core import events
from lchook.core.addresses import canonical
from lchook.logs import Log
from lchook.transport import handshake
from lchook.transport.body_stream import BodyStream
from lchook.transport.environ import environ_of, environ_of_refused
from lchook.transport.http_server import HttpOptions
from lchook.transport.request_parser import BadRequestError, Request, TooLongError
from lchook.transport.request_reader import RequestReader
from lchook.transport.websocket_offer import WebSocketOffer

log = Log(__name__)

# Of a body that is too large so much is read and dropped, so that its sender comes to read the answer.
_MAX_DROPPED_BYTES = 10_000_000
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Handler(WebSocketHandler, PyWSGIHandler):  # type: ignore[misc]  # neither has types
    """One connection. `OpenConnections` looks after its deadline."""

    is_idle = is_new = True
    deadline = float("inf")
    socket: Any
    rfile: RequestReader
    status: Any = None
    websocket: Any = None
    wsgi_input: Any = None
    _request: Request
    # The body, where it was read already.
    _body: bytes | None = None
    # A client that does not read in time is nothing unexpected.
    ignored_socket_errors = (*pywsgi.WSGIHandler.ignored_socket_errors, "timed out")

    def __init__(self, connection: Any, address: Any, server: Any) -> None:
        super().__init__(connection, address, server, rfile=RequestReader(connection))
        self.options: HttpOptions = server.options

    def handle(self) -> None:
        connections, reader = self.server.connections, self.rfile
        connections.add(self)
        # A bound for clients that do not read, or are gone without a word.
        self.socket.settimeout(self.options.timeouts.websocket_seconds)
        try:
            super().handle()
        except OSError:
            # It broke while a refusal was being sent.
            self.abort()
        finally:
            reader.close()
            connections.discard(self)

    def abort(self) -> None:
        """End the connection from this side."""
        with contextlib.suppress(OSError, AttributeError):
            self.socket.shutdown(socket.SHUT_RDWR)

    # Requests

    def handle_one_request(self) -> Any:
        """In place of pywsgi's, which leaves the reading to the parser for e-mail. Returns what that does: `None` where this
        was the last one, `True` where it was not, or an answer to be sent before the end."""
        reader, timeouts = self.rfile, self.options.timeouts
        if reader.closed:
            return None
        self.deadline = time.monotonic() + timeouts.idle_seconds
        self.is_idle = True
        try:
            if not reader.wait():
                return None
            self.is_idle = self.is_new = False
            self.deadline = time.monotonic() + timeouts.headers_seconds
            request = self._request = reader.head()
            self._body = None
            fast_path = self.options.fast_path
            if fast_path is not None and fast_path.is_for(request, self.options.max_body_bytes):
                self._receive_body(self.options.max_body_bytes)
                answer = fast_path.answer(request, self._body or b"", int(time.time()))
                if answer is not None:
                    self._send(answer)
                    return True
        except BadRequestError as error:
            return self._handle_client_error(error)
        except OSError:
            return None
        self.deadline = float("inf")
        self.command, self.path = request.method.decode("latin-1"), request.target.decode("latin-1")
        self.request_version = request.version.decode("latin-1")
        self.requestline = f"{self.command} {self.path} {self.request_version}"
        self.close_connection = not request.keep_alive
        self.environ = self.get_environ()
        self.application = self.server.application
        self.handle_one_response()
        return None if self.close_connection or reader.closed else True

    def _send(self, data: bytes) -> None:
        # gevent's sendall asks the system for the size of its buffer first.
        sent = self.socket.send(data)
        if sent < len(data):
            self.socket.sendall(data[sent:])

    def get_environ(self) -> dict[str, Any]:
        environ: dict[str, Any] = self.server.get_environ()
        environ.update(environ_of(self._request))
        if isinstance(self.client_address, tuple):
            environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = (str(part) for part in self.client_address[:2])
        environ["gunicorn.sock"] = self.socket
        environ["wsgi.input_terminated"] = True
        self.wsgi_input = _Rest(self)
        return environ

    def _receive_body(self, max_bytes: int) -> None:
        self.deadline = time.monotonic() + self.options.timeouts.body_seconds
        self._body = self.rfile.body(max_bytes)
        self.deadline = float("inf")

    def run_application(self) -> None:
        refusal = self._take_body_in()
        if refusal is None and self._request.asks_for_websocket:
            refusal = handshake.wrong_with(self._request)
            if refusal is None:
                self._offer_websocket()
                return
        if refusal is not None:
            self._refuse(*refusal)
        else:
            pywsgi.WSGIHandler.run_application(self)

    def _take_body_in(self) -> tuple[str, str] | None:
        """Take the body in; or tell with which status, in which words, to refuse the request.

        Of a body that is too large the application sees the length, or the beginning of one in chunks.
        """
        request, limit = self._request, self.options.max_body_bytes
        streams = self.options.streams
        if streams is not None and request.content_length and streams(request.method, request.target):
            expects = self.environ.get("HTTP_EXPECT", "").lower() == "100-continue"
            self.environ["wsgi.input"] = BodyStream(self, _CONTINUE if expects else b"")
            return None
        is_too_large = (request.content_length or 0) > limit
        if self._body is None and request.has_body and not is_too_large:
            try:
                if self.environ.get("HTTP_EXPECT", "").lower() == "100-continue" and not self.rfile.has_more:
                    self.socket.sendall(_CONTINUE)
                self._receive_body(limit)
            except (OSError, BadRequestError):
                return "400 Bad Request", "the body broke off, or is not what the headers say"
            finally:
                self.deadline = float("inf")
        body, self._body = self._body or b"", None
        if request.chunked:
            self.environ["CONTENT_LENGTH"] = str(len(body))
        self.environ["wsgi.input"] = io.BytesIO(body)
        return None

    def drop_body(self) -> None:
        """Read what is left of the request's body, and hang up where there is too much of it."""
        if self.rfile.has_all or self.rfile.closed:
            return
        self.deadline = time.monotonic() + self.options.timeouts.body_seconds
        try:
            if self.rfile.drop(_MAX_DROPPED_BYTES):
                return
        except (OSError, BadRequestError):
            pass
        self.close_connection = True

    # WebSockets

    def _offer_websocket(self) -> None:
        """Run the application on a WebSocket. One that does not use it (a foreign origin, an unknown session) answers in
        HTTP; gevent-websocket would have switched before asking."""
        # A client waits for the answer before it sends frames, so there is nothing left in here.
        self.rfile.close()
        websocket = WebSocketOffer(self.environ, self)
        self.environ.update({"wsgi.websocket": websocket, "wsgi.websocket_version": "13"})
        self.start_response("101 Switching Protocols", handshake.answer_to(self._request))
        answer: list[Any] = ["500 Internal Server Error", []]

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
            answer[:] = [status, headers]

        body = b""
        try:
            application: Any = getattr(self.application, "wsgi_app", self.application)
            body = b"".join(application(self.environ, start_response))
        finally:
            self.environ["wsgi.websocket"] = None
            if self.headers_sent:
                websocket.close()
            else:
                websocket.closed = True  # type: ignore[misc]
        if not self.headers_sent:
            self.status = None
            self.provided_content_length = self.provided_date = None
            self.start_response(*answer)
            self.result = [body]
            self.process_result()

    def open_websocket(self) -> None:
        """Answer that the protocol is switched, unless that is done."""
        if not self.headers_sent:
            self.write(b"")

    # Answers

    def _write_with_headers(self, data: bytes) -> None:
        """Head and body in one piece: pywsgi's way is a system call for each."""
        self.headers_sent = True
        is_last = self.server.connections.ending and self.code != 101
        if is_last and not any(name == b"Connection" for name, _ in self.response_headers):
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

    def _refuse(self, status: str, error: str) -> None:
        """Answer in place of the application, and hang up."""
        log.info(events.REQUEST_REFUSED, address=self._address(), reason=error)
        body = json.dumps({"error": error}).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), ("Connection", "close")]
        headers += self.options.cors_headers(self.environ)
        if status.startswith("426"):
            headers.append(("Sec-WebSocket-Version", "13"))
        self.close_connection = True
        self.start_response(status, headers)
        self.write(body)

    def _handle_client_error(self, error: Exception) -> tuple[str, bytes]:
        """The answer to what is no request. pywsgi would quote it, which may be the lost body of another one, and write a
        trace of some errors."""
        log.info(events.REQUEST_REFUSED, address=self._address(), reason=str(error), kind=type(error).__name__)
        body = json.dumps({"error": str(error)}).encode()
        status = "414 URI Too Long" if isinstance(error, TooLongError) else "400 Bad Request"
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), ("Connection", "close")]
        if isinstance(error, BadRequestError) and error.head:
            scheme = {"wsgi.url_scheme": self.server.environ["wsgi.url_scheme"]}
            headers += self.options.cors_headers(environ_of_refused(error.head) | scheme)
        head = "".join(f"{name}: {value}\r\n" for name, value in headers)
        return status[:3], f"HTTP/1.1 {status}\r\n{head}\r\n".encode("latin-1") + body

    def _log_error(self, kind: Any, error: BaseException, trace: Any) -> None:
        if not isinstance(error, gevent.GreenletExit):
            log.unexpected(events.ANSWERING_FAILED, error, address=self._address())

    def log_request(self) -> None:
        # There is no environ where already a connection's first request was not readable.
        if self.options.logs_access and self.environ is not None:
            self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in self._request.headers}
            PyWSGIHandler.log_request(self)

    def _address(self) -> str:
        peer = str(self.client_address[0]) if self.client_address else ""
        return canonical(peer) or peer


class _Rest:
    """What is left of a request's body, in place of pywsgi's Input, which would read it however long it is."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    def _discard(self) -> None:
        self._handler.drop_body()
