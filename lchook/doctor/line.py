"""The line to an address: through a proxy or not, with TLS or not. Plain sockets, so that each step fails on its own."""

from __future__ import annotations

import http.client
import socket
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

import requests
from requests.utils import DEFAULT_CA_BUNDLE_PATH, select_proxy

from lchook.dms.name_service import NameService
from lchook.dms.route import Route
from lchook.dms.trust import trusting_context


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
        return self.route.first_hop

    @property
    def route(self) -> Route:
        """The way there, as posts take it."""
        return Route.to(self.url, self.proxy)

    def open(self, context: ssl.SSLContext | None = None) -> socket.socket:
        """A connection on which TLS or HTTP may begin, to the first address that answers.

        :param context: for TLS; None for none.
        :raises OSError: (`ssl.SSLError` among them) where there is none.
        """
        connection = self.route.open(NameService(quiet=True), context, within_seconds=self.timeout_seconds)
        connection.settimeout(self.timeout_seconds)
        return connection

    def proxy_headers(self) -> dict[str, str]:
        """What the proxy asks for."""
        authorization = self.route.proxy_authorization
        return {} if authorization is None else {"Proxy-Authorization": authorization}

    def secured(self, context: ssl.SSLContext) -> ssl.SSLSocket:
        """:raises OSError: (`ssl.SSLError` among them) where there is no connection."""
        connection = self.open(context)
        assert isinstance(connection, ssl.SSLSocket)  # noqa: S101 - for mypy
        return connection

    def trusting_context(self) -> ssl.SSLContext:
        """Checks the certificate as LCH's posts do. :raises OSError: where the bundle cannot be read."""
        return trusting_context(self.authorities)

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
            answer = connection.getresponse()
            # Its head is all that is wanted, and it keeps the socket otherwise.
            answer.close()
            return answer
        finally:
            connection.close()
