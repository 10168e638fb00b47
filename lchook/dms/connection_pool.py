"""A transport adapter for requests that costs a fifth of its own: kept connections, and httptools to read the answers.

Posts small bodies and reads small answers, directly or through an http proxy. Works with threads and, where sockets are
patched, greenlets. It never sends a request a second time, and tells a request that the server cannot have from one that
it may have: that decides whether a message may be repeated.
"""

from __future__ import annotations

import math
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import httptools
import requests
from requests.adapters import BaseAdapter
from requests.models import PreparedRequest, Response

from lchook.dms.failures import BundleError
from lchook.dms.name_service import NameService
from lchook.dms.route import Route
from lchook.dms.trust import trusting_context

# Connections kept open for later use, and for how long: servers commonly close them after 5 s or more. As many as a DMS that
# takes seconds to answer makes necessary: to open them all again would cost most when there is most to do.
_MAX_IDLE = 500
_IDLE_SECONDS = 30.0
_RECEIVE_BYTES = 16 * 1024
# Of an answer, no more than this is read, if nothing else is said.
_MAX_ANSWER_BYTES = 64 * 1024
_TCP_ESTABLISHED = 1
_TCP_INFO: int | None = getattr(socket, "TCP_INFO", None)


class NotSentError(requests.ConnectionError):
    """The server cannot have the request: there was no connection, or it broke before all of the request was sent."""


class _Connection:
    """An open connection: a socket, or what has its methods; what timeout that has; and since when it is idle."""

    __slots__ = ("since", "socket", "timeout")

    def __init__(self, connection: Any) -> None:
        self.socket = connection
        self.since = self.timeout = 0.0

    def close(self) -> None:
        self.socket.close()


class PooledAdapter(BaseAdapter):
    """See the module. Timeouts are seconds: to connect (TLS included), and for the whole answer."""

    def __init__(
        self,
        *,
        proxy: str | None = None,
        max_answer_bytes: int = _MAX_ANSWER_BYTES,
        lean: Callable[[socket.socket], Any] = lambda connection: connection,
    ) -> None:
        """:param proxy: the URL of an http proxy that all requests go through, whatever `send` is told of proxies.
        :param lean: makes of an open connection one with the same methods at a lower price.
        """
        super().__init__()
        self._max_answer_bytes = max_answer_bytes
        self._proxy = proxy
        self._lean = lean
        # By URL: the way, and the connections that are kept open there, which all URLs of one server share.
        self._places: dict[str, tuple[Route, deque[_Connection]]] = {}
        self._idle: dict[Route, deque[_Connection]] = {}
        self._names = NameService()
        self._contexts: dict[tuple[Any, Any], ssl.SSLContext] = {}

    def send(
        self,
        request: PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> Response:
        """:raises NotSentError: see there.
        :raises requests.ConnectTimeout, requests.exceptions.SSLError, requests.exceptions.ProxyError: likewise not sent.
        :raises requests.ReadTimeout, requests.ConnectionError: the server may have the request.
        """
        url, body = request.url or "", request.body or b""
        head = self.head(request.method or "", url, request.headers)
        wire = head + b"\r\n" + (body.encode() if isinstance(body, str) else body)
        answer = self.exchange(url, wire, timeout, verify, cert)
        response = Response()
        response.status_code = answer.status
        response.headers.update(answer.headers)
        response._content = bytes(answer.body)
        response.request = request
        response.url = url
        return response

    def exchange(self, url: str, wire: bytes, timeout: tuple[float, float], verify: bool | str, cert: Any) -> Answer:
        """Send a request, head and body, and read the answer. :raises: as `send`."""
        connect_seconds, read_seconds = timeout
        route, kept = self._place(url)
        connection = _still_open(kept) or self._connect(route, connect_seconds, verify, cert)
        keep = False
        try:
            deadline = time.monotonic() + read_seconds
            plain = connection.socket
            if connection.timeout != read_seconds:
                connection.timeout = read_seconds
                plain.settimeout(read_seconds)
            try:
                # gevent's sendall asks the system for the size of its buffer first.
                sent = plain.send(wire)
                if sent < len(wire):
                    plain.sendall(wire[sent:])
            except OSError as error:
                raise NotSentError("the connection broke") from error
            answer = _read_answer(connection, deadline, self._max_answer_bytes)
            keep = answer.complete and answer.keep_alive
        finally:
            if keep:
                _keep(kept, connection)
            else:
                connection.close()
        return answer

    def head(self, method: str, url: str, headers: Mapping[str, str]) -> bytes:
        """A request's lines up to its body, without the empty one at the end."""
        parts = urlsplit(url)
        host, target = parts.netloc.rpartition("@")[2], f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
        proxy_lines: list[str] = []
        if self._proxy is not None:
            # A proxy that does not only pass bytes on reads the whole address, and who we are.
            route, _ = self._place(url)
            if not route.has_tunnel:
                target = f"{route.scheme}://{host}{target}"
                if route.proxy_authorization is not None:
                    proxy_lines = [f"Proxy-Authorization: {route.proxy_authorization}"]
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join((*lines, *proxy_lines, "")).encode("latin-1")

    def close(self) -> None:
        """Close the connections that are kept."""
        for kept in self._idle.values():
            while kept:
                kept.pop().close()

    def _place(self, url: str) -> tuple[Route, deque[_Connection]]:
        place = self._places.get(url)
        if place is None:
            route = Route.to(url, self._proxy)
            place = self._places[url] = (route, self._idle.setdefault(route, deque()))
        return place

    def _connect(self, route: Route, timeout_seconds: float, verify: bool | str, cert: Any) -> _Connection:
        try:
            context = self._context(verify, cert) if route.scheme == "https" else None
            connection = route.open(self._names, context, within_seconds=timeout_seconds)
            return _Connection(self._lean(connection))
        except TimeoutError as error:
            raise requests.ConnectTimeout("no connection in time") from error
        except (ssl.SSLError, BundleError) as error:
            raise requests.exceptions.SSLError(error) from error
        except (OSError, UnicodeError) as error:
            failure = requests.exceptions.ProxyError if route.proxy else NotSentError
            raise failure("no connection") from error

    def _context(self, verify: bool | str, cert: Any) -> ssl.SSLContext:
        context = self._contexts.get((verify, cert))
        if context is None:
            context = self._contexts[(verify, cert)] = trusting_context(verify, cert)
        return context


class Answer:
    """An answer, and what httptools calls while it reads one. Names of headers are in small letters."""

    __slots__ = ("body", "complete", "keep_alive", "parser", "raw_headers", "status")

    def __init__(self) -> None:
        self.status = 0
        self.raw_headers: list[tuple[bytes, bytes]] = []
        self.body = bytearray()
        self.complete = False
        self.keep_alive = False
        self.parser = httptools.HttpResponseParser(self)

    @property
    def headers(self) -> dict[str, str]:
        """By name."""
        return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in self.raw_headers}

    def on_header(self, name: bytes, value: bytes) -> None:
        self.raw_headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.status = self.parser.get_status_code()
        self.keep_alive = self.parser.should_keep_alive()

    def on_body(self, piece: bytes) -> None:
        self.body += piece

    def on_message_complete(self) -> None:
        if self.status < 200:
            # An interim answer, such as 100: the real one follows.
            self.status, self.raw_headers = 0, []
        else:
            self.complete = True


def _read_answer(connection: _Connection, deadline: float, max_bytes: int) -> Answer:
    """An answer, as far as it matters: its status is known, and its body is complete, or too long, or broken off."""
    answer, plain = Answer(), connection.socket
    try:
        while True:
            data = plain.recv(_RECEIVE_BYTES)
            if not data:
                raise ConnectionResetError("closed by the server")
            answer.parser.feed_data(data)
            if answer.complete or len(answer.body) > max_bytes:
                return answer
            left_seconds = deadline - time.monotonic()
            if left_seconds <= 0:
                raise TimeoutError
            # Tenths of a second: where timers are shared, there should not be too many.
            connection.timeout = math.ceil(10 * left_seconds) / 10
            plain.settimeout(connection.timeout)
    except TimeoutError as error:
        if not answer.status:
            raise requests.ReadTimeout("no answer in time") from error
    except (OSError, httptools.HttpParserError) as error:
        if not answer.status:
            raise requests.ConnectionError("the connection broke, or the answer is no HTTP") from error
    return answer


def _still_open(kept: deque[_Connection]) -> _Connection | None:
    """The connection that was used last, if the server has not closed it."""
    while kept:
        try:
            connection = kept.pop()
        except IndexError:  # another thread was faster
            return None
        if time.monotonic() - connection.since < _IDLE_SECONDS and _is_established(connection.socket):
            return connection
        connection.close()
    return None


def _keep(kept: deque[_Connection], connection: _Connection) -> None:
    connection.since = time.monotonic()
    kept.append(connection)
    if len(kept) > _MAX_IDLE:
        kept.popleft().close()


def _is_established(connection: socket.socket) -> bool:
    """Has the server not closed it? Without a look, a message would be lost in a connection that has ended."""
    if _TCP_INFO is None:
        # Not Linux: for development. The first byte of what Linux tells is the state.
        return True
    try:
        return connection.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, 1)[0] == _TCP_ESTABLISHED
    except OSError:
        return False
