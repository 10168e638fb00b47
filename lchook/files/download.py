"""Fetching a file from its source: from an address that was judged, within bounds of time and size, no further.

The name is resolved once; the connection goes to an address of the answer, so that it cannot be another one a moment later.
TLS is checked against the name. Proxies of the environment are not used: they would resolve the name themselves.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable
from http.client import HTTPException
from urllib.parse import urljoin

from urllib3 import BaseHTTPResponse
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from lchook.core.fetch_rules import AttachmentHosts, Source
from lchook.dms.failures import cause_in_words
from lchook.dms.name_service import NameService
from lchook.dms.trust import trusting_context

# For the connection, and for each piece.
_CONNECT_SECONDS = 10.0
_TOTAL_SECONDS = 60.0
_PIECE_BYTES = 64 * 1024
_MAX_REDIRECTS = 3
_MAX_ADDRESSES = 4
_REDIRECTS = (301, 302, 303, 307, 308)


class DownloadError(Exception):
    """The file cannot be had. `is_final`: nor would it be at another try."""

    def __init__(self, words: str, *, is_final: bool) -> None:
        self.is_final = is_final
        super().__init__(words)


class Downloads:
    """Downloads from the hosts that may be asked."""

    def __init__(self, hosts: AttachmentHosts, *, max_bytes: int, names: NameService | None = None) -> None:
        self.hosts = hosts
        self._max_bytes = max_bytes
        self._names = names or NameService(quiet=True)

    def download(self, url: str, write: Callable[[bytes], None]) -> None:
        """Hand the file's bytes on as they come.

        :raises DownloadError: where it cannot be had, is too large or takes too long.
        """
        until = time.monotonic() + _TOTAL_SECONDS
        for _ in range(_MAX_REDIRECTS + 1):
            source = self.hosts.source(url)
            if source is None:
                raise DownloadError("it leads to a host that is not in ATTACHMENT_HOSTS", is_final=True)
            location = self._get(source, until, write)
            if location is None:
                return
            url = urljoin(f"{source.scheme}://{source.authority}{source.target}", location)
        raise DownloadError("it is redirected too often", is_final=True)

    def _get(self, source: Source, until: float, write: Callable[[bytes], None]) -> str | None:
        """Returns where it is redirected to, if it is."""
        failure = "no address"
        for address in self._addresses(source):
            connection = self._connection(source, address)
            # A timeout of a socket begins anew with every byte.
            timer = threading.Timer(max(0.0, until - time.monotonic()), _cut, (connection,))
            timer.daemon = True
            timer.start()
            try:
                try:
                    connection.request(
                        "GET", source.target, headers=_headers(source), preload_content=False, decode_content=False
                    )
                    response = connection.getresponse()
                except (HTTPError, HTTPException, OSError, ValueError) as error:
                    failure = cause_in_words(error) or type(error).__name__
                    continue
                return self._read(response, until, write)
            except (HTTPError, HTTPException, OSError) as error:
                raise DownloadError(f"it broke off ({type(error).__name__})", is_final=False) from error
            finally:
                timer.cancel()
                connection.close()
        raise DownloadError(failure, is_final=False)

    def _read(self, response: BaseHTTPResponse, until: float, write: Callable[[bytes], None]) -> str | None:
        if response.status in _REDIRECTS and "Location" in response.headers:
            return response.headers["Location"]
        if response.status != 200:
            is_final = response.status < 500 and response.status not in (408, 425, 429)
            raise DownloadError(f"its host answers {response.status}", is_final=is_final)
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise DownloadError("it comes compressed, though it was asked for plain", is_final=True)
        length = response.headers.get("Content-Length", "")
        expected = int(length) if length.isascii() and length.isdigit() else None
        if expected is not None and expected > self._max_bytes:
            raise DownloadError("it is larger than MAX_FILE_BYTES", is_final=True)
        size = 0
        # What has come, however little: a source that trickles is not waited for longer than the others.
        while piece := response.read1(_PIECE_BYTES):
            size += len(piece)
            if size > self._max_bytes:
                raise DownloadError("it is larger than MAX_FILE_BYTES", is_final=True)
            if time.monotonic() > until:
                raise DownloadError(f"it took longer than {_TOTAL_SECONDS:g} s", is_final=False)
            write(piece)
        # What is cut for its slowness, or has no length, ends like what is complete.
        if time.monotonic() > until:
            raise DownloadError(f"it took longer than {_TOTAL_SECONDS:g} s", is_final=False)
        if not size:
            raise DownloadError("it is empty", is_final=False)
        if expected is not None and size != expected:
            raise DownloadError("it broke off", is_final=False)
        return None

    def _addresses(self, source: Source) -> list[str]:
        try:
            found = self._names.addresses(source.host, source.port, within_seconds=_CONNECT_SECONDS)
        except OSError as error:
            raise DownloadError(f"its host's name: {error}", is_final=False) from error
        addresses = [str(info[4][0]) for info in found]
        allowed = [address for address in addresses if self.hosts.may_connect(source, address)]
        if not allowed:
            raise DownloadError("its host's name leads to an address that is not public", is_final=True)
        return allowed[:_MAX_ADDRESSES]

    def _connection(self, source: Source, address: str) -> HTTPConnection:
        if source.scheme == "http":
            return HTTPConnection(address, source.port, timeout=_CONNECT_SECONDS)
        bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        return HTTPSConnection(
            address,
            source.port,
            timeout=_CONNECT_SECONDS,
            ssl_context=trusting_context(bundle),
            server_hostname=source.host,
            assert_hostname=source.host,
        )


def _headers(source: Source) -> dict[str, str]:
    return {"Host": source.authority, "Accept-Encoding": "identity", "User-Agent": "LCH", "Connection": "close"}


def _cut(connection: HTTPConnection) -> None:
    """Whoever reads from it, now or later, finds the end."""
    with contextlib.suppress(OSError, AttributeError):
        connection.sock.shutdown(socket.SHUT_RDWR)
