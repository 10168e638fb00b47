"""A transport adapter for requests that costs a fifth of its own: kept connections, and httptools to read the answers.

Posts small bodies and reads small answers, directly or through an http proxy. Works with threads and, where sockets are
patched, greenlets. It never sends a request a second time, and tells a request that the server cannot have from one that
it may have: that decides whether a message may be repeated.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections import deque
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


class NotSentError(requests.ConnectionError):
    """The server cannot have the request: there was no connection, or it broke before all of the request was sent."""


class PooledAdapter(BaseAdapter):
    """See the module. Timeouts are seconds: to connect (TLS included), and for the whole answer."""

    def __init__(self, *, proxy: str | None = None, max_answer_bytes: int = _MAX_ANSWER_BYTES) -> None:
        """:param proxy: the URL of an http proxy that all requests go through, whatever `send` is told of proxies."""
        super().__init__()
        self._max_answer_bytes = max_answer_bytes
        self._proxy = proxy
        self._routes: dict[str, Route] = {}
        self._names = NameService()
        self._idle: dict[tuple[str, str, int], deque[tuple[socket.socket, float]]] = {}
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
        connect_seconds, read_seconds = timeout
        url = request.url or ""
        parts = urlsplit(url)
        key = (str(parts.scheme), str(parts.hostname), parts.port or 0)
        wire = self._as_bytes(request, str(parts.netloc).rpartition("@")[2])

        connection = self._kept(key)
        if connection is None:
            connection = self._connect(self._route(url), connect_seconds, verify, cert)
        keep = False
        try:
            deadline = time.monotonic() + read_seconds
            connection.settimeout(read_seconds)
            try:
                connection.sendall(wire)
            except OSError as error:
                raise NotSentError("the connection broke") from error
            answer = _read_answer(connection, deadline, self._max_answer_bytes)
            keep = answer.complete and answer.keep_alive
        finally:
            if keep:
                self._keep(key, connection)
            else:
                connection.close()

        response = Response()
        response.status_code = answer.status
        response.headers.update(answer.headers)
        response._content = bytes(answer.body)
        response.request = request
        response.url = request.url or ""
        return response

    def close(self) -> None:
        """Close the connections that are kept."""
        for kept in self._idle.values():
            while kept:
                kept.pop()[0].close()

    def _as_bytes(self, request: PreparedRequest, host: str) -> bytes:
        lines = [f"{request.method} {request.path_url} HTTP/1.1", f"Host: {host}"]
        lines += [f"{name}: {value}" for name, value in request.headers.items()]
        if self._proxy is not None:
            # A proxy that does not only pass bytes on reads the whole address, and who we are.
            route = self._route(request.url or "")
            if not route.has_tunnel:
                lines[0] = f"{request.method} {route.scheme}://{host}{request.path_url} HTTP/1.1"
                if route.proxy_authorization is not None:
                    lines.append(f"Proxy-Authorization: {route.proxy_authorization}")
        body = request.body or b""
        return "\r\n".join((*lines, "\r\n")).encode("latin-1") + (body.encode() if isinstance(body, str) else body)

    def _route(self, url: str) -> Route:
        route = self._routes.get(url)
        if route is None:
            route = self._routes[url] = Route.to(url, self._proxy)
        return route

    def _kept(self, key: tuple[str, str, int]) -> socket.socket | None:
        kept = self._idle.get(key)
        while kept:
            try:
                connection, since = kept.pop()
            except IndexError:  # another thread was faster
                return None
            if time.monotonic() - since < _IDLE_SECONDS and _is_established(connection):
                return connection
            connection.close()
        return None

    def _keep(self, key: tuple[str, str, int], connection: socket.socket) -> None:
        kept = self._idle.setdefault(key, deque())
        kept.append((connection, time.monotonic()))
        if len(kept) > _MAX_IDLE:
            kept.popleft()[0].close()

    def _connect(self, route: Route, timeout_seconds: float, verify: bool | str, cert: Any) -> socket.socket:
        try:
            context = self._context(verify, cert) if route.scheme == "https" else None
            return route.open(self._names, context, within_seconds=timeout_seconds)
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


class _Answer:
    """What httptools calls while it reads an answer."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.complete = False
        self.keep_alive = False
        self.parser = httptools.HttpResponseParser(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1")] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.status = self.parser.get_status_code()
        self.keep_alive = self.parser.should_keep_alive()

    def on_body(self, piece: bytes) -> None:
        self.body += piece

    def on_message_complete(self) -> None:
        if self.status < 200:
            # An interim answer, such as 100: the real one follows.
            self.status = 0
            self.headers = {}
        else:
            self.complete = True


def _read_answer(connection: socket.socket, deadline: float, max_bytes: int) -> _Answer:
    """An answer, as far as it matters: its status is known, and its body is complete, or too long, or broken off."""
    answer = _Answer()
    while not answer.complete and len(answer.body) <= max_bytes:
        try:
            connection.settimeout(max(0.001, deadline - time.monotonic()))
            data = connection.recv(_RECEIVE_BYTES)
            if not data:
                raise ConnectionResetError("closed by the server")
            answer.parser.feed_data(data)
        except TimeoutError as error:
            if answer.status:
                break
            raise requests.ReadTimeout("no answer in time") from error
        except (OSError, httptools.HttpParserError) as error:
            if answer.status:
                break
            raise requests.ConnectionError("the connection broke, or the answer is no HTTP") from error
    return answer


def _is_established(connection: socket.socket) -> bool:
    """Has the server not closed it? Without a look, a message would be lost in a connection that has ended."""
    option = getattr(socket, "TCP_INFO", None)
    if option is None:
        # Not Linux: for development. The first byte of what Linux tells is the state.
        return True
    with contextlib.suppress(OSError):
        return connection.getsockopt(socket.IPPROTO_TCP, option, 1)[0] == _TCP_ESTABLISHED
    return False
