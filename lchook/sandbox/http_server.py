"""A small threaded HTTP/1.1 server on 127.0.0.1 that can also fail the way real peers do. Knows nothing of DMS.

Not werkzeug's: that one drops headers with an underscore, such as connection_id, and closes after every answer.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, cast

from requests.structures import CaseInsensitiveDict

HOST = "127.0.0.1"
LARGEST_BODY_BYTES = 20_000_000
_BACKLOG = 512
_JOIN_SECONDS = 5.0


class Exchange:
    """One request, and the means to answer it or not. Exactly one of its methods is to be called."""

    def __init__(self, handler: BaseHTTPRequestHandler, headers: CaseInsensitiveDict[str], body: bytes) -> None:
        self.method = handler.command
        self.path = handler.path
        self.headers = headers
        self.body = body
        self._handler = handler

    def answer(self, status: int, headers: Mapping[str, str], body: bytes, *, coded: bool = False) -> None:
        """:param coded: gzipped and in chunks, as a gateway may send on an answer."""
        try:
            reason = HTTPStatus(status).phrase
        except ValueError:
            reason = ""
        lines = [f"HTTP/1.1 {status} {reason}"]
        if coded:
            body = _in_chunks(gzip.compress(body))
            lines += ["Content-Encoding: gzip", "Transfer-Encoding: chunked"]
        else:
            lines.append(f"Content-Length: {len(body)}")
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if self._handler.close_connection:
            lines.append("Connection: close")
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        # In one piece: two would cost a second packet and system call.
        self._handler.wfile.write(head if self.method == "HEAD" else head + body)

    def hang_up(self) -> None:
        """Close the connection without an answer."""
        self._handler.close_connection = True

    def reset(self) -> None:
        """Make the peer see "connection reset by peer"."""
        # A linger time of zero makes the close that follows an RST.
        self._handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._handler.close_connection = True

    def garbage(self) -> None:
        """Answer with what is no HTTP."""
        self._handler.wfile.write(b"\x15\x03\x01\x00\x02\x02\x46 this is no HTTP\r\n\r\n")
        self._handler.close_connection = True


def _in_chunks(body: bytes) -> bytes:
    """In two, where there is enough for two."""
    middle = len(body) // 2
    pieces = [piece for piece in (body[:middle], body[middle:]) if piece]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


class HttpServer:
    """Serves each connection in a thread of its own, and can refuse connections for a while without losing its port."""

    def __init__(self, handle: Callable[[Exchange], None], *, port: int = 0) -> None:
        """Without network activity. :param port: 0 for any free one."""
        self._handle = handle
        self._port = port
        self._bound: socket.socket | None = None
        self._accepting: tuple[threading.Thread, threading.Event] | None = None
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._connections_lock = threading.Lock()
        self._state_lock = threading.RLock()

    @property
    def port(self) -> int:
        """0 before the start, unless one was asked for."""
        return self._port

    def start(self) -> None:
        """Bind and listen. :raises OSError: where the port is taken."""
        with self._state_lock:
            if self._bound is None:
                self._bind()
            self.listen()

    def listen(self) -> None:
        """Accept connections (again). Does nothing where it does so already, or is stopped."""
        with self._state_lock:
            if self._accepting or self._bound is None:
                return
            self._bound.listen(_BACKLOG)
            closing = threading.Event()
            thread = threading.Thread(target=self._accept, args=(self._bound, closing), name="sandbox", daemon=True)
            self._accepting = (thread, closing)
            thread.start()

    def refuse(self) -> None:
        """Close the listener and all connections. The port stays ours: bound, but not listened on, it refuses."""
        with self._state_lock:
            if self._accepting:
                self._close_listener()
                self._bind()

    def stop(self) -> None:
        """Close everything, and wait until the threads are gone."""
        with self._state_lock:
            if self._accepting:
                self._close_listener()
            if self._bound is not None:
                self._bound.close()
                self._bound = None
            with self._connections_lock:
                threads = list(self._connections.values())
        deadline = time.monotonic() + _JOIN_SECONDS
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))

    def _bind(self) -> None:
        deadline = time.monotonic() + 2.0
        while True:
            bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            try:
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                bound.bind((HOST, self._port))
            except OSError as error:
                bound.close()
                # The listener that was just closed may be a moment late in letting go.
                if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                self._bound = bound
                self._port = bound.getsockname()[1]
                return

    def _close_listener(self) -> None:
        if self._accepting is None:
            return
        thread, closing = self._accepting
        self._accepting = None
        self._bound = None
        closing.set()
        # Closing a socket does not wake the thread that waits in its accept(); a connection does.
        with contextlib.suppress(OSError):
            socket.create_connection((HOST, self._port), timeout=1.0).close()
        thread.join(_JOIN_SECONDS)
        with self._connections_lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket, closing: threading.Event) -> None:
        with listener:
            while not closing.is_set():
                try:
                    connection, _ = listener.accept()
                except OSError:
                    # Such as too many open files.
                    closing.wait(0.05)
                    continue
                if closing.is_set():
                    connection.close()
                    return
                thread = threading.Thread(target=self._serve, args=(connection,), name="sandbox", daemon=True)
                with self._connections_lock:
                    self._connections[connection] = thread
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            # OSError: the peer is gone, or stop() was called.
            with contextlib.suppress(OSError):
                _Handler(connection, self._handle)
        finally:
            with self._connections_lock:
                del self._connections[connection]
            connection.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(self, connection: socket.socket, handle: Callable[[Exchange], None]) -> None:
        self._handle_exchange = handle
        # The base class serves the whole connection in its constructor, and needs no server for it.
        super().__init__(connection, (HOST, 0), cast(Any, None))

    def serve(self) -> None:
        headers = CaseInsensitiveDict(self.headers.items())
        length_text = headers.get("Content-Length", "0")
        if "Transfer-Encoding" in headers or not (length_text.isascii() and length_text.isdigit()):
            self._refuse(headers, 411, b'{"error": "send a Content-Length"}')
            return
        length = int(length_text)
        if length > LARGEST_BODY_BYTES:
            self._refuse(headers, 413, b'{"error": "too large"}')
            return
        body = self.rfile.read(length) if length else b""
        if len(body) == length:
            self._handle_exchange(Exchange(self, headers, body))

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = serve  # noqa: N815 - the base class looks for these

    def _refuse(self, headers: CaseInsensitiveDict[str], status: int, body: bytes) -> None:
        self.close_connection = True
        Exchange(self, headers, b"").answer(status, {"Content-Type": "application/json"}, body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing: the wire log is what tells."""
