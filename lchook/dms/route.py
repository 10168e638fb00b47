"""The way to a server: directly, or through a proxy; with TLS, or without. Sends nothing but what opens the way."""

from __future__ import annotations

import errno
import os
import re
import select
import socket
import ssl
import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from requests.auth import _basic_auth_str

from lchook.dms.failures import ProxyRefusedError
from lchook.dms.first_to_connect import Attempt, first_to_connect
from lchook.dms.name_service import AddressInfo, NameService

# Of a proxy's answer.
_MAX_HEAD_BYTES = 64 * 1024
_UNDER_WAY = (errno.EINPROGRESS, errno.EWOULDBLOCK)


@dataclass(frozen=True, slots=True)
class Route:
    """From here to a URL's host."""

    scheme: str
    host: str
    port: int
    # The proxy's host and port, and what it is told of us, if anything.
    proxy: tuple[str, int] | None = None
    proxy_authorization: str | None = None

    @classmethod
    def to(cls, url: str, proxy: str | None = None) -> Route:
        """:param proxy: its URL, http only, with what it may carry of user and password."""
        scheme, host, port = _place(url)
        if proxy is None:
            return cls(scheme, host, port)
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        authorization = None
        if parts.username is not None:
            authorization = _basic_auth_str(unquote(parts.username), unquote(parts.password or ""))
        return cls(scheme, host, port, (parts.hostname or "", parts.port or 80), authorization)

    @property
    def first_hop(self) -> tuple[str, int]:
        """Whom to connect to: the proxy, or the host itself."""
        return self.proxy or (self.host, self.port)

    @property
    def has_tunnel(self) -> bool:
        """Whether the proxy passes bytes on, and does not read them."""
        return self.proxy is not None and self.scheme == "https"

    def open(self, names: NameService, context: ssl.SSLContext | None, *, within_seconds: float) -> socket.socket:
        """A connection on which HTTP may begin: TCP, tunnel and TLS are there. Non-blocking.

        :param context: for TLS with the host; None for none.
        :raises TimeoutError: where the time is over. :raises ProxyRefusedError, ssl.SSLError, OSError: likewise none.
        """
        hop, port = self.first_hop
        started = time.monotonic()
        infos = names.addresses(hop, port, within_seconds=within_seconds)
        try:
            connected = first_to_connect(
                infos, lambda info: self.attempt(info, context), within_seconds=within_seconds - (time.monotonic() - started)
            )
        except OSError:
            names.none_answered(hop, port)
            raise
        if connected.failed:
            failed = [(infos[place], error) for place, error in connected.failed.items()]
            names.answered(hop, infos[connected.place], failed)
        return connected.connection

    def attempt(self, info: AddressInfo, context: ssl.SSLContext | None) -> Attempt:
        """Open the way by one address."""
        family, kind, protocol, _, address = info
        connection = socket.socket(family, kind, protocol)
        try:
            connection.setblocking(False)
            code = connection.connect_ex(address)
            if code in _UNDER_WAY:
                yield connection.fileno(), select.POLLOUT
                code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, os.strerror(code))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.has_tunnel:
                yield from self._tunnel(connection)
            if context is not None:
                connection = context.wrap_socket(connection, server_hostname=self.host, do_handshake_on_connect=False)
                yield from _handshake(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _tunnel(self, connection: socket.socket) -> Generator[tuple[int, int], None, None]:
        target = f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
        if self.proxy_authorization is not None:
            lines.append(f"Proxy-Authorization: {self.proxy_authorization}")
        # A few hundred bytes: a new connection takes them at once.
        connection.send("\r\n".join((*lines, "\r\n")).encode("latin-1"))
        head = b""
        while b"\r\n\r\n" not in head:
            yield connection.fileno(), select.POLLIN
            data = connection.recv(4096)
            head += data
            if not data or len(head) > _MAX_HEAD_BYTES:
                raise ProxyRefusedError(_status(head))
        if not 200 <= _status(head) < 300:
            raise ProxyRefusedError(_status(head))
        if not head.endswith(b"\r\n\r\n"):
            # A server is silent until TLS begins: what came is not from one.
            raise ProxyRefusedError(0)


def _handshake(connection: Any) -> Generator[tuple[int, int], None, None]:
    while True:
        try:
            connection.do_handshake()
        except ssl.SSLWantReadError:
            yield connection.fileno(), select.POLLIN
        except ssl.SSLWantWriteError:
            yield connection.fileno(), select.POLLOUT
        else:
            return


def _status(head: bytes) -> int:
    """A proxy's status; 0 where it is none."""
    found = re.match(rb"HTTP/1\.[01] (\d{3})\b", head)
    return int(found[1]) if found else 0


def _place(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
