"""What comes in over an HTTP connection: bytes, and the heads of requests, read strictly and quickly. No answers."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import gevent
from gevent import get_hub

_READ = 1
_LEAST_RECEIVE_BYTES = 2 * 1024
_MOST_RECEIVE_BYTES = 64 * 1024
_STEPS_IN_A_ROW = 32
_MOST_HEADERS = 100
_MOST_HEADER_BYTES = 32 * 1024

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_BAD_IN_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
# All header lines of a request, up to the empty one.
_HEADERS = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\x00-\x08\x0a-\x1f\x7f]*\r\n){1,100}\r\n")
# Those that say how a post is to be read; and who sends it.
_THAT_COUNT = re.compile(
    rb"\n(authorization|content-(?:length|encoding|type(?=:[^\r]*charset))|transfer-encoding|connection|expect|upgrade):"
    rb"[ \t]*([^\r]*?)[ \t]*\r",
    re.IGNORECASE,
)
_UNUSUAL = frozenset({b"transfer-encoding", b"content-encoding", b"expect", b"upgrade"})
_IN_UTF_8 = re.compile(rb"charset=\"?utf-?8\"?$", re.IGNORECASE)


class BadRequestError(ValueError):
    """The request breaks HTTP. The text says how, and quotes nothing of it."""


class Post(NamedTuple):
    """A post that is there as a whole, and asks for nothing unusual. `size` is that of head and body, in bytes."""

    authorization: str | None
    body: bytes
    size: int


class RequestHeaders:
    """The headers of a request, as much of `http.client`'s interface as pywsgi and gunicorn use."""

    __slots__ = ("_first", "_pairs")
    status = ""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = pairs
        self._first = dict(reversed(pairs))

    @classmethod
    def read(cls, lines: Any) -> RequestHeaders:
        """Read header lines up to the empty one.

        :raises BadRequestError: where they are no HTTP, or too many, or too long.
        """
        pairs: list[tuple[str, str]] = []
        left = _MOST_HEADER_BYTES
        while True:
            line: bytes = lines.readline(left)
            if line in (b"\r\n", b"\n"):
                return cls(pairs)
            left -= len(line)
            if not line.endswith(b"\n"):
                raise BadRequestError("the headers end too early, or are too long")
            name, colon, value = line.rstrip(b"\r\n").partition(b":")
            if not colon or not _NAME.fullmatch(name) or _BAD_IN_VALUE.search(value):
                raise BadRequestError("a header is malformed")
            pairs.append((name.decode("latin-1").lower(), value.strip().decode("latin-1")))
            if len(pairs) > _MOST_HEADERS or left <= 0:
                raise BadRequestError("there are too many headers")

    def get(self, name: str, default: str | None = None) -> str | None:
        return self._first.get(name.lower(), default)

    getheader = get

    @property
    def typeheader(self) -> str | None:
        return self._first.get("content-type")

    def all(self, name: str) -> set[str]:
        """The different values of a header."""
        return {value for each, value in self._pairs if each == name}

    def items(self) -> list[tuple[str, str]]:
        return self._pairs


class Incoming:
    """Reads from a connection: as much of a buffered file as pywsgi uses, and a look ahead.

    A buffered file of the standard library's costs 8 KB a connection, and calls back into Python from C: what a greenlet has
    on C's stack while it waits is copied aside.
    """

    __slots__ = ("_receive", "_steps", "_watcher", "ahead", "closed")

    def __init__(self, connection: Any) -> None:
        """:ivar ahead: what has come in and is not read yet."""
        self._receive: Callable[[int], bytes] = connection.recv
        self.ahead = b""
        self.closed = False
        self._steps = 0
        # To wait first and then read is a system call less than to try. What TLS has unpacked, the loop does not see.
        self._watcher: Any = None if hasattr(connection, "pending") else get_hub().loop.io(connection.fileno(), _READ)

    def wait(self) -> bool:
        """Wait for the beginning of the next request; tells whether there is any."""
        if self.ahead:
            # A client that sends one request after the other without waiting would keep all others waiting: gevent only
            # switches where it has to wait.
            gevent.sleep(0)
            return True
        if self._watcher is not None:
            get_hub().wait(self._watcher)
        self.ahead = self._receive(_MOST_RECEIVE_BYTES)
        return bool(self.ahead)

    def wait_for(self, count: int) -> bool:
        """Wait until so many bytes are there; tells whether they are."""
        if len(self.ahead) < count:
            self.ahead = self._gather(count)
        return len(self.ahead) >= count

    def skip(self, count: int) -> None:
        """So many bytes are done with."""
        self.ahead = self.ahead[count:]

    def read(self, count: int) -> bytes:
        """So many bytes, or fewer where the connection ends before."""
        self._let_others_in()
        data = self.ahead if len(self.ahead) >= count else self._gather(count)
        self.ahead = data[count:]
        return data[:count]

    def readline(self, most: int) -> bytes:
        """Up to the end of a line, or so many bytes, or fewer where the connection ends before."""
        while (end := self.ahead.find(b"\n", 0, most) + 1) == 0:
            if len(self.ahead) >= most or not self.wait_for(len(self.ahead) + 1):
                break
        return self.read(min(end or most, len(self.ahead)))

    def _gather(self, count: int) -> bytes:
        """What is there, and what comes in until that is so many bytes, or more; fewer where the connection ends before."""
        pieces, missing = [self.ahead], count - len(self.ahead)
        while missing > 0:
            piece = self._receive(min(max(missing, _LEAST_RECEIVE_BYTES), _MOST_RECEIVE_BYTES))
            if not piece:
                break
            pieces.append(piece)
            missing -= len(piece)
            self._let_others_in()
        return b"".join(pieces)

    def _let_others_in(self) -> None:
        """A client that sends its bytes one by one, or in chunks of one, always has more to read, and would keep all others
        waiting."""
        self._steps += 1
        if self._steps % _STEPS_IN_A_ROW == 0:
            gevent.sleep(0)

    def close(self) -> None:
        """There is nothing more to read here."""
        self.closed = True
        self.ahead = b""
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None


def post_ahead(incoming: Incoming, request_line: bytes, most_body_bytes: int) -> Post | None:
    """The next request, whose beginning is there, if it is a post with this request line and nothing unusual about it.

    `None` for all others: with another path, malformed, large, in chunks, compressed, not in UTF-8, waiting to be asked for
    their body. They are left for the WSGI server to read, or to refuse.
    """
    data = incoming.ahead
    if not data.startswith(request_line):
        return None
    end = data.find(b"\r\n\r\n", 0, _MOST_HEADER_BYTES) + 4
    if end < 4 or not _HEADERS.fullmatch(data, len(request_line), end):
        return None
    # From the end of the request line on, so that each header has one before it.
    found = _THAT_COUNT.findall(data, len(request_line) - 1, end)
    headers: dict[bytes, bytes] = {name.lower(): value for name, value in found}
    if len(headers) < len(found) or not headers.keys().isdisjoint(_UNUSUAL):
        return None
    length = headers.get(b"content-length", b"")
    if headers.get(b"connection", b"keep-alive").lower() != b"keep-alive" or not length.isdigit() or len(length) > 9:
        return None
    if b"content-type" in headers and not _IN_UTF_8.search(headers[b"content-type"]):
        return None
    size = end + int(length)
    if int(length) > most_body_bytes or not incoming.wait_for(size):
        return None
    authorization = headers.get(b"authorization")
    return Post(authorization and authorization.decode("latin-1"), incoming.ahead[end:size], size)  # type: ignore[arg-type]
