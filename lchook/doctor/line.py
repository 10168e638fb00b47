"""The line to an address: through a proxy or not, with TLS or not. Plain sockets, so that each step fails on its own."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

import requests
from requests.utils import DEFAULT_CA_BUNDLE_PATH, select_proxy


@dataclass(frozen=True, slots=True)
class Line:
    """Where an address is, and how LCH gets there: as requests, and so `dms.py`, understands the environment."""

    url: str
    scheme: str
    host: str
    port: int
    # The proxy's address, with what it may carry of user and password; None for none.
    proxy: str | None
    # The file or folder of the authorities that are trusted.
    authorities: str
    timeout_seconds: float

    @classmethod
    def to(cls, url: str, *, timeout_seconds: float) -> Line:
        """Without network activity."""
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        with requests.Session() as session:
            environment = session.merge_environment_settings(url, {}, None, None, None)
        authorities = environment["verify"] if isinstance(environment["verify"], str) else DEFAULT_CA_BUNDLE_PATH
        proxy = select_proxy(url, environment["proxies"])
        if proxy and "://" not in proxy:
            proxy = f"http://{proxy}"
        return cls(url, parts.scheme, parts.hostname or "", port, proxy, authorities, timeout_seconds)

    @property
    def first_hop(self) -> tuple[str, int]:
        """Whom to connect to: the proxy, or the address itself."""
        if self.proxy is None:
            return self.host, self.port
        parts = urlsplit(self.proxy)
        return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)

    def open(self) -> socket.socket:
        """A connection on which TLS or HTTP may begin.

        :raises OSError: where there is none. :raises http.client.HTTPException: where the proxy speaks no HTTP.
        """
        if self.proxy is None or self.scheme == "http":
            return socket.create_connection(self.first_hop, timeout=self.timeout_seconds)
        tunnel = http.client.HTTPConnection(*self.first_hop, timeout=self.timeout_seconds)
        tunnel.set_tunnel(self.host, self.port, headers=self.proxy_headers())
        tunnel.connect()
        assert tunnel.sock is not None  # noqa: S101 - for mypy
        return tunnel.sock

    def proxy_headers(self) -> dict[str, str]:
        """What the proxy asks for."""
        parts = urlsplit(self.proxy or "")
        if parts.username is None:
            return {}
        user, password = unquote(parts.username), unquote(parts.password or "")
        return {"Proxy-Authorization": requests.auth._basic_auth_str(user, password)}

    def secured(self, context: ssl.SSLContext) -> ssl.SSLSocket:
        """:raises OSError: (`ssl.SSLError` among them) where there is no connection."""
        connection = self.open()
        try:
            return context.wrap_socket(connection, server_hostname=self.host)
        except BaseException:
            connection.close()
            raise

    def trusting_context(self) -> ssl.SSLContext:
        """Checks the certificate as LCH's posts do."""
        folder = os.path.isdir(self.authorities)
        return ssl.create_default_context(
            cafile=None if folder else self.authorities, capath=self.authorities if folder else None
        )

    def request(
        self, method: str, context: ssl.SSLContext | None, headers: dict[str, str] | None = None
    ) -> http.client.HTTPResponse:
        """The head of the answer to a request without a token; the connection is closed.

        :raises OSError: where there is none. :raises http.client.HTTPException: where it is no HTTP.
        """
        connection = http.client.HTTPConnection(self.host, self.port, timeout=self.timeout_seconds)
        connection.sock = self.open() if context is None else self.secured(context)
        parts = urlsplit(self.url)
        all_headers = {"Host": parts.netloc.rpartition("@")[2], "User-Agent": "lch-doctor", "Connection": "close"}
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if self.proxy and self.scheme == "http":
            path = self.url
            all_headers.update(self.proxy_headers())
        try:
            connection.request(method, path, headers={**all_headers, **(headers or {})})
            return connection.getresponse()
        finally:
            connection.close()
