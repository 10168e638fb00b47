"""Fetches a provider's key set by HTTP, on the same way out as posts to DMS: proxies, authorities, bounds on time and size.

PyJWT's own client (PyJWKClient, 2.15) is not used for it: it holds a lock while it fetches, so that whoever has an unknown
key waits for a slow provider one after the other; its time limit begins anew with each byte; and it knows no bound on the
size and nothing of REQUESTS_CA_BUNDLE.
"""

from __future__ import annotations

import requests
from urllib3.exceptions import HTTPError

from lchook.core.body_coding import BodyError, decompressed
from lchook.core.key_set import KeySet, KeySetError
from lchook.dms.failures import cause_in_words
from lchook.dms.way_out import WayOut, body_of

# With certificates beside the keys (x5c), large providers' sets have some 20 KB.
_MAX_BYTES = 512 * 1024
_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 5.0


class KeyFetch:
    """Fetches from one address. Call from anywhere; waits for seconds at most."""

    def __init__(self, url: str) -> None:
        """Without network activity."""
        self._url = url
        self._way = WayOut(url, max_connections=2, max_answer_bytes=_MAX_BYTES)

    def __call__(self) -> KeySet:
        """:raises KeySetError: saying why there is none."""
        try:
            return self._fetched()
        finally:
            # Until the next time nobody would keep them open.
            self._way.close()

    def _fetched(self) -> KeySet:
        request = requests.PreparedRequest()
        request.method, request.url = "GET", self._url
        request.headers = {"Accept": "application/json"}  # type: ignore[assignment]  # adapters only go through them
        try:
            response = self._way.send(request, (_CONNECT_SECONDS, _ANSWER_SECONDS))
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            why = cause_in_words(error)
            raise KeySetError(f"the identity provider gave no answer{f': {why}' if why else ''}") from error
        if response.status_code != 200:
            said = "a redirect, and none is followed" if 300 <= response.status_code < 400 else "and not 200"
            raise KeySetError(f"the identity provider answered with {response.status_code}, {said}")
        body = bytes(body_of(response, max_bytes=_MAX_BYTES, within_seconds=_ANSWER_SECONDS))
        coding = response.headers.get("Content-Encoding")
        try:
            return KeySet.from_json(decompressed(body, coding, max_bytes=_MAX_BYTES) if coding else body)
        except BodyError as error:
            raise KeySetError(str(error)) from error
