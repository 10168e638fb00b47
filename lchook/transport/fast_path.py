"""Posts that are answered without WSGI: Flask's round, and WSGI's, cost more than the work.

For one path, and only for posts with nothing unusual about them. All others take the way through WSGI, which is the same to
the client.
"""

from __future__ import annotations

import functools
import http
import re
from collections.abc import Callable

from gevent.pywsgi import format_date_time

from lchook.transport.request_parser import Request

Headers = tuple[tuple[str, str], ...]
# Takes the header `Authorization` and the body; returns status, headers and body of the answer, or `None` where the request
# is to take the other way after all.
TakePost = Callable[[str | None, bytes], tuple[int, Headers, bytes] | None]

_UNUSUAL = frozenset({b"transfer-encoding", b"content-encoding", b"expect", b"upgrade"})
_IN_UTF_8 = re.compile(rb"charset=\"?utf-?8\"?$", re.IGNORECASE)


class FastPath:
    """The way of posts to one path."""

    def __init__(self, path: str, take_post: TakePost) -> None:
        self._path = path.encode()
        self._take_post = take_post

    def is_for(self, request: Request, max_bytes: int) -> bool:
        """Not one that is too large, in chunks, compressed, not in UTF-8, that waits to be asked for its body, or has a
        header twice."""
        fields, length = request.fields, request.content_length
        if request.target != self._path or request.method != b"POST" or length is None or length > max_bytes:
            return False
        if len(fields) < len(request.headers) or not _UNUSUAL.isdisjoint(fields) or not request.keep_alive:
            return False
        content_type = fields.get(b"content-type", b"")
        return b"charset" not in content_type.lower() or _IN_UTF_8.search(content_type) is not None

    def answer(self, request: Request, body: bytes, second: int) -> bytes | None:
        """The whole answer; `None` where the request is to take the other way after all.

        :param second: what the time is, in seconds since 1970.
        """
        answer = self._take_post(request.get(b"authorization"), body)
        if answer is None:
            return None
        status, headers, text = answer
        return _head(status, headers, second) + text


@functools.lru_cache(maxsize=20)
def _head(status: int, headers: Headers, second: int) -> bytes:
    """An answer's head at this time."""
    lines = [f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join((*lines, f"Date: {format_date_time(second).decode()}", "\r\n")).encode("latin-1")
