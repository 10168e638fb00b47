"""A transport adapter for requests that costs a fifth of its own: kept connections, and httptools to read the answers.

Posts small bodies and reads small answers; speaks to no proxy. Works with threads and, where sockets are patched, greenlets.
It never sends a request a second time, and tells a request that the server cannot have from one that it may have: that
decides whether a message may be repeated.
"""

from __future__ import annotations

import contextlib
import os
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
from requests.utils import DEFAULT_CA_BUNDLE_PATH

# Connections kept open for later use, and for how long: servers commonly close them after 5 s or more. As many as a DMS that
# takes seconds to answer makes necessary: to open them all again would cost most when there is most to do.
_MOST_IDLE = 500
_IDLE_SECONDS = 30.0
# How long a host's addresses are believed, unless none of them answers. To ask takes a thread, under gevent, and holds up
# everybody for a moment.
_ADDRESS_SECONDS = 10.0
_RECEIVE_BYTES = 16 * 1024
# Of an answer, no more than this is read.
_MOST_ANSWER_BYTES = 64 * 1024
_TCP_ESTABLISHED = 1


class NotSentError(requests.ConnectionError):
    """The server cannot have the request: there was no connection, or it broke before all of the request was sent."""


class PooledAdapter(BaseAdapter):
    """See the module. Timeouts are seconds: to connect (TLS included), and for the whole answer."""

    def __init__(self) -> None:
        super().__init__()
        self._idle: dict[tuple[str, str, int], deque[tuple[socket.socket, float]]] = {}
        self._contexts: dict[tuple[Any, Any], ssl.SSLContext] = {}
        # Until when they are believed, and what `getaddrinfo` said.
        self._addresses: dict[tuple[str, int], tuple[float, list[Any]]] = {}

    def send(
        self,
        request: PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> Response:
        """:raises NotSentError: see there. :raises requests.ConnectTimeout, requests.exceptions.SSLError: likewise not sent.
        :raises requests.ReadTimeout, requests.ConnectionError: the server may have the request.
        """
        connect_seconds, read_seconds = timeout
        parts = urlsplit(request.url or "")
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        key = (str(parts.scheme), str(host), port)
        wire = self._as_bytes(request, str(parts.netloc).rpartition("@")[2])

        connection = self._kept(key)
        if connection is None:
            context = self._context(verify, cert) if parts.scheme == "https" else None
            connection = self._connect(host, port, connect_seconds, context)
        keep = False
        try:
            deadline = time.monotonic() + read_seconds
            connection.settimeout(read_seconds)
            try:
                connection.sendall(wire)
            except OSError as error:
                raise NotSentError("the connection broke") from error
            answer = _read_answer(connection, deadline)
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
        body = request.body or b""
        return "\r\n".join((*lines, "\r\n")).encode("latin-1") + (body.encode() if isinstance(body, str) else body)

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
        if len(kept) > _MOST_IDLE:
            kept.popleft()[0].close()

    def _connect(self, host: str, port: int, timeout_seconds: float, context: ssl.SSLContext | None) -> socket.socket:
        deadline = time.monotonic() + timeout_seconds
        try:
            connection = self._reach(host, port, timeout_seconds)
        except TimeoutError as error:
            raise requests.ConnectTimeout("no connection in time") from error
        except (OSError, UnicodeError) as error:
            raise NotSentError("no connection") from error
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if context is not None:
                connection.settimeout(max(0.001, deadline - time.monotonic()))
                return context.wrap_socket(connection, server_hostname=host)
        except TimeoutError as error:
            connection.close()
            raise requests.ConnectTimeout("no TLS connection in time") from error
        except (ssl.SSLError, ssl.CertificateError) as error:
            connection.close()
            raise requests.exceptions.SSLError(error) from error
        except OSError as error:
            connection.close()
            raise NotSentError("the connection broke during the TLS handshake") from error
        return connection

    def _reach(self, host: str, port: int, timeout_seconds: float) -> socket.socket:
        """A connection to the first of the host's addresses that answers, each within this time.

        :raises OSError: that of the last.
        """
        until, addresses = self._addresses.get((host, port), (0.0, []))
        if time.monotonic() >= until:
            addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            self._addresses[host, port] = time.monotonic() + _ADDRESS_SECONDS, addresses
        failure = OSError("the host has no address")
        for family, kind, protocol, _, address in addresses:
            connection = None
            try:
                connection = socket.socket(family, kind, protocol)
                connection.settimeout(timeout_seconds)
                connection.connect(address)
                return connection
            except OSError as error:
                failure = error
                if connection is not None:
                    connection.close()
        self._addresses.pop((host, port), None)
        raise failure

    def _context(self, verify: bool | str, cert: Any) -> ssl.SSLContext:
        context = self._contexts.get((verify, cert))
        if context is None:
            bundle = DEFAULT_CA_BUNDLE_PATH if verify is True else str(verify)
            folder = os.path.isdir(bundle)
            context = ssl.create_default_context(cafile=None if folder else bundle, capath=bundle if folder else None)
            if cert:
                context.load_cert_chain(*((cert,) if isinstance(cert, str) else cert))
            self._contexts[(verify, cert)] = context
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


def _read_answer(connection: socket.socket, deadline: float) -> _Answer:
    """An answer, as far as it matters: its status is known, and its body is complete, or too long, or broken off."""
    answer = _Answer()
    while not answer.complete and len(answer.body) <= _MOST_ANSWER_BYTES:
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
