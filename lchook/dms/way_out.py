"""The way out to one URL: through which proxy, and whom to trust, as the environment says. Not what is asked there."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from requests.utils import select_proxy
from urllib3.exceptions import HTTPError

from lchook.dms.connection_pool import Answer, PooledAdapter
from lchook.dms.trust import trusting_context

_MAX_ANSWER_BYTES = 64 * 1024


class WayOut:
    """Sends requests. Safe to use from many greenlets or threads at once.

    Adapters are used without their Session: that would read the environment anew for every request, follow redirects with
    our token in hand, and let a .netrc file replace the Authorization header.
    """

    def __init__(
        self,
        url: str,
        *,
        max_connections: int,
        max_answer_bytes: int = _MAX_ANSWER_BYTES,
        lean: Callable[[socket.socket], Any] = lambda connection: connection,
    ) -> None:
        """Without network activity. Proxies and the CA bundle are taken from the environment, once, here.

        :param lean: see `PooledAdapter`.
        """
        environment = requests.Session().merge_environment_settings(url, {}, None, None, None)
        self._proxies, self._cert = environment["proxies"], environment["cert"]
        # A path to a CA bundle where the environment names one (REQUESTS_CA_BUNDLE); never False.
        self._verify = environment["verify"] or True
        self._url = url
        # The latest headers, and the beginning of requests that they make.
        self._head: tuple[Mapping[str, str], bytes] = ({}, b"")
        self._max_answer_bytes = max_answer_bytes
        proxy = select_proxy(url, self._proxies)
        self._adapter: BaseAdapter
        if proxy and "://" in proxy and not proxy.lower().startswith("http://"):
            self._adapter = _OtherProxyAdapter(self._verify, max_connections)
        else:
            self._adapter = PooledAdapter(proxy=proxy, max_answer_bytes=max_answer_bytes, lean=lean)

    def send(self, request: requests.PreparedRequest, timeout: tuple[float, float]) -> requests.Response:
        """:param timeout: seconds to connect, and for the answer. :raises: what the adapter does, see there."""
        return self._adapter.send(
            request, stream=True, timeout=timeout, verify=self._verify, cert=self._cert, proxies=self._proxies
        )

    def post(self, headers: Mapping[str, str], body: bytes, timeout: tuple[float, float]) -> Answer:
        """The answer to one post. Where the headers are those of last time, nothing is made of them anew.

        :param timeout: seconds to connect, and for the answer. :raises: what the adapter does, see there.
        """
        adapter = self._adapter
        if isinstance(adapter, PooledAdapter):
            known, head = self._head
            if known != headers:
                head = adapter.head("POST", self._url, headers)
                self._head = (headers, head)
            return adapter.exchange(
                self._url, b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body), timeout, self._verify, self._cert
            )
        request = requests.PreparedRequest()
        request.method, request.url, request.body = "POST", self._url, body
        # Adapters only go through them.
        request.headers = {**headers, "Content-Length": str(len(body))}  # type: ignore[assignment]
        response = self.send(request, timeout)
        answer = Answer()
        answer.status = response.status_code
        answer.raw_headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers.items()]
        answer.body += body_of(response, max_bytes=self._max_answer_bytes, within_seconds=timeout[1])
        return answer

    def close(self) -> None:
        """Close the connections that are kept for later requests."""
        self._adapter.close()


def body_of(response: requests.Response, *, max_bytes: int, within_seconds: float) -> bytes | bytearray:
    """An answer's body, read within bounds. Its status has been seen: an answer that breaks off still counts."""
    if response.raw is None:
        return response.content
    deadline = time.monotonic() + within_seconds
    read = bytearray()
    try:
        while len(read) <= max_bytes and time.monotonic() < deadline:
            piece = response.raw.read1(max_bytes)
            if not piece:
                response.raw.release_conn()
                break
            read += piece
        else:
            response.raw.close()
    except (HTTPError, OSError, ValueError):
        response.raw.close()
    return read


class _OtherProxyAdapter(HTTPAdapter):
    """For proxies that speak TLS or SOCKS: requests' own adapter, which keeps as many tunnels as may be under way."""

    def __init__(self, verify: bool | str, max_connections: int) -> None:
        self._verify = verify
        super().__init__(pool_maxsize=max_connections)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options, ssl_context=trusting_context(self._verify))

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        return super().proxy_manager_for(proxy, **options, ssl_context=trusting_context(self._verify))
