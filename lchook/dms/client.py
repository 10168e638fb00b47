"""The HTTP client for DMS: one signed post, one answer. Knows nothing of order, retries or customers."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import requests
from urllib3.exceptions import HTTPError, MaxRetryError, NewConnectionError

from lchook.core.body_coding import BodyError, decompressed
from lchook.core.tokens import Tokens
from lchook.dms.connection_pool import NotSentError
from lchook.dms.failures import cause_in_words
from lchook.dms.way_out import WayOut

# Posts under way at once; more wait. Each is a file descriptor, and gunicorn.conf.py reckons with so many.
_MAX_POSTS = 1_500
# Of these, so many for what is worth little. And for how long it is tried, to connect and to be answered.
_MAX_BRIEF_POSTS = 300
_BRIEF_SECONDS = 2.0
# Of an answer, no more than this is read: LCH needs the status, and a few words where it is an error.
_MAX_ANSWER_BYTES = 64 * 1024

_MEANINGS = {
    400: "the token is good, but it does not take the message",
    401: "it does not believe the token: JWT_ISSUER, JWT_SECRET, or a clock",
    403: "the token is believed, but this connection may not post there",
    404: "nothing is at DMS_URL's path",
    405: "what is at DMS_URL takes no posts",
    407: "a proxy wants to know who we are",
    413: "a gateway before it takes no message of that size",
    415: "what is at DMS_URL takes no JSON",
    429: "it is asked too often",
}


class DmsError(Exception):
    """DMS gave no answer that counts.

    `possibly_delivered`: the message may have reached it all the same. `permanent`: the next try would fail in the same way.
    """

    def __init__(self, reason: str, *, possibly_delivered: bool, permanent: bool = False) -> None:
        super().__init__(reason)
        self.possibly_delivered = possibly_delivered
        self.permanent = permanent

    @property
    def detail(self) -> str:
        """Why, as far as the network told, for those who run LCH; may be empty."""
        return cause_in_words(self.__cause__)


class DmsAnswer(NamedTuple):
    """DMS's answer to a post: its status, the seconds to wait if it named any (`Retry-After`), what it said, cut short;
    where it sent us instead (`Location`)."""

    status: int
    retry_after: str | None
    text: str
    location: str | None = None

    @property
    def taken(self) -> bool:
        return 200 <= self.status < 300

    @property
    def meaning(self) -> str:
        """What a status that is not `taken` means here, for those who run LCH."""
        if 300 <= self.status < 400:
            return "it redirects, and LCH follows none with a token in hand"
        if self.status >= 500:
            return "it, or a gateway before it, is in trouble"
        return _MEANINGS.get(self.status, "which nobody expects")


class DmsClient:
    """Posts message bodies to DMS. Safe to use from many greenlets or threads at once."""

    def __init__(
        self,
        *,
        url: str,
        tokens: Tokens,
        token_ttl_seconds: int,
        connect_timeout_seconds: float,
        read_timeout_seconds: float,
        semaphore: Callable[[int], Any] = threading.BoundedSemaphore,
        lean: Callable[[socket.socket], Any] = lambda connection: connection,
    ) -> None:
        """Without network activity. Proxies and the CA bundle are taken from the environment, once, here.

        :param semaphore: how callers wait for each other. :param lean: see `PooledAdapter`.
        """
        self._tokens = tokens
        self._token_ttl_seconds = token_ttl_seconds
        self._timeout = (connect_timeout_seconds, read_timeout_seconds)
        self._posting = semaphore(_MAX_POSTS)
        self._posting_briefly = semaphore(_MAX_BRIEF_POSTS)
        self._url = url
        self._way = WayOut(url, max_connections=_MAX_POSTS, max_answer_bytes=_MAX_ANSWER_BYTES, lean=lean)

    def post(self, body: bytes) -> DmsAnswer:
        """Post one message, with a fresh token.

        :param body: the JSON of the message, UTF-8.
        :raises DmsError: where no HTTP answer came.
        """
        with self._posting:
            return self._post(body, self._timeout)

    def post_briefly(self, body: bytes) -> DmsAnswer:
        """As `post`, within a few seconds, and not at all where much is under way: nothing else has to wait for it.

        :raises DmsError: likewise.
        """
        connect_seconds, read_seconds = self._timeout
        with contextlib.ExitStack() as places:
            for semaphore in (self._posting_briefly, self._posting):
                if not semaphore.acquire(blocking=False):
                    raise DmsError("too much is under way to DMS", possibly_delivered=False)
                places.callback(semaphore.release)
            return self._post(body, (min(connect_seconds, _BRIEF_SECONDS), min(read_seconds, _BRIEF_SECONDS)))

    def close(self) -> None:
        """Close the connections that are kept for later posts."""
        self._way.close()

    def _post(self, body: bytes, timeout: tuple[float, float]) -> DmsAnswer:
        headers = {
            "Content-Type": "application/json",
            "connection_id": self._tokens.issuer,
            "Authorization": f"Bearer {self._tokens.sign(ttl_seconds=self._token_ttl_seconds)}",
        }
        try:
            answer = self._way.post(headers, body, timeout)
        except requests.ConnectTimeout as error:
            raise DmsError("no connection to DMS within the time allowed", possibly_delivered=False) from error
        except requests.ReadTimeout as error:
            raise DmsError("DMS did not answer in time; it may have the message", possibly_delivered=True) from error
        except requests.exceptions.SSLError as error:
            raise DmsError("DMS's certificate was not accepted", possibly_delivered=False, permanent=True) from error
        except requests.exceptions.ProxyError as error:
            raise DmsError("the proxy to DMS failed", possibly_delivered=False) from error
        except NotSentError as error:
            raise DmsError("no connection to DMS", possibly_delivered=False) from error
        except requests.ConnectionError as error:
            if _never_connected(error):
                raise DmsError("no connection to DMS", possibly_delivered=False) from error
            raise DmsError("the connection to DMS broke; it may have the message", possibly_delivered=True) from error
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            raise DmsError(f"posting to DMS failed ({type(error).__name__})", possibly_delivered=True) from error
        if answer.status < 300:
            # Of what went well nobody reads the words.
            return DmsAnswer(answer.status, None, "")
        headers = answer.headers
        words = _words(answer.body, headers.get("content-encoding"))
        return DmsAnswer(answer.status, headers.get("retry-after"), words, headers.get("location"))


def _words(body: bytes | bytearray, coding: str | None) -> str:
    """What a body says, cut short. Gateways compress what nobody asked them to; where that cannot be read, nothing."""
    if coding:
        try:
            body = decompressed(bytes(body), coding, max_bytes=_MAX_ANSWER_BYTES)
        except BodyError:
            return ""
    return body[:500].decode("utf-8", "replace")


def _never_connected(error: requests.ConnectionError) -> bool:
    cause = error.args[0] if error.args else None
    return isinstance(cause, MaxRetryError) and isinstance(cause.reason, NewConnectionError)
