"""HTTP/1 requests, taken apart by httptools. Without I/O.

httptools (0.9.0, llhttp) refuses what could be read in two ways, but for a few things that are checked here: other versions
of HTTP, blanks in the request line, codings before `chunked`. It cannot be stopped at a request's end, so it is fed up to
there: heads and bodies in chunks end with an empty line, others after their length.
"""

from __future__ import annotations

import functools

import httptools

END = b"\r\n\r\n"
MAX_LINE_BYTES = 8 * 1024
_MAX_HEADERS = 100


class BadRequestError(ValueError):
    """The request breaks HTTP. The text says how, and quotes nothing of it.

    :ivar head: what was read of it, where its head is what is wrong.
    """

    head = b""


class TooLongError(BadRequestError):
    """The request line is too long."""


class Request:
    """A request's head.

    :ivar headers: names in small letters, in the order in which they came.
    :ivar fields: the same by name; where a name came twice, the last.
    :ivar content_length: of the body; `None` where the head does not tell, or there is none.
    """

    __slots__ = ("chunked", "content_length", "fields", "headers", "keep_alive", "method", "target", "version")

    def __init__(self, method: bytes, target: bytes, version: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        self.method = method
        self.target = target
        self.version = version
        self.headers = headers
        self.fields = fields = dict(headers)
        coding = fields.get(b"transfer-encoding")
        if coding is not None and coding.lower() != b"chunked":
            raise BadRequestError("the Transfer-Encoding is not acceptable")
        if coding is not None and version == b"HTTP/1.0":
            raise BadRequestError("HTTP/1.0 has no Transfer-Encoding")
        self.chunked = coding is not None
        length = fields.get(b"content-length")
        self.content_length = None if length is None else int(length)
        self.keep_alive = False

    @property
    def has_body(self) -> bool:
        return self.chunked or bool(self.content_length)

    @property
    def asks_for_websocket(self) -> bool:
        return self.method == b"GET" and self.fields.get(b"upgrade", b"").lower() == b"websocket"

    def get(self, name: bytes) -> str | None:
        """A header's value."""
        value = self.fields.get(name)
        return None if value is None else value.decode("latin-1")


class RequestParser:
    """The requests of one connection, one after the other.

    :ivar complete: the request whose head was fed last is there as a whole.
    """

    __slots__ = ("_body", "_headers", "_in_head", "_keep_alive", "_keeps_body", "_parser", "body_bytes", "complete")

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._begin()

    def _begin(self) -> None:
        self._headers: list[tuple[bytes, bytes]] = []
        self._in_head = True
        self._keep_alive = False
        self._keeps_body = True
        self._body: list[bytes] = []
        self.body_bytes = 0
        self.complete = False

    def head(self, data: bytes) -> Request:
        """The next request.

        :param data: all up to the first empty line, which is its end.
        :raises BadRequestError: where it is no HTTP/1.
        """
        self._begin()
        line_end = data.index(b"\r\n")
        if line_end >= MAX_LINE_BYTES:
            raise TooLongError("the request line is too long")
        words = data[:line_end].split(b" ")
        if len(words) != 3 or words[2] not in (b"HTTP/1.1", b"HTTP/1.0"):
            raise BadRequestError("the request line is malformed")
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            return self._other_protocol(words)
        except httptools.HttpParserError as error:
            raise _bad_request(error, "the head of the request is malformed") from error
        if self._in_head:
            raise BadRequestError("the head of the request is malformed")
        request = Request(words[0], words[1], words[2], self._in_small_letters())
        request.keep_alive = self._keep_alive
        return request

    def _other_protocol(self, words: list[bytes]) -> Request:
        """Of all other protocols only a WebSocket is served; for the parser, what follows is no HTTP any more."""
        all_headers = self._in_small_letters()
        request = Request(words[0], words[1], words[2], all_headers)
        if request.asks_for_websocket and not request.has_body:
            return request
        headers = [(name, value) for name, value in all_headers if name != b"upgrade"]
        if len(headers) == len(all_headers):
            raise BadRequestError("CONNECT is for proxies")
        # As if it had not asked.
        self._parser = httptools.HttpRequestParser(self)
        return self.head(b"\r\n".join([b" ".join(words), *(b": ".join(header) for header in headers)]) + END)

    def _in_small_letters(self) -> list[tuple[bytes, bytes]]:
        """The head's headers. What follows a body in chunks is none of them, and dropped."""
        headers, self._headers = self._headers, []
        if len(headers) > _MAX_HEADERS:
            raise BadRequestError("there are too many headers")
        return [(_lower(name), value.strip()) for name, value in headers]

    def feed(self, data: bytes) -> None:
        """Of the body: no more than its length, or up to the next empty line.

        :raises BadRequestError: where it is not what the head says.
        """
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise _bad_request(error, "the body broke off, or is not what the headers say") from error

    def body(self) -> bytes:
        """What was fed of it up to now. What is fed from now on is dropped."""
        pieces, self._body, self._keeps_body = self._body, [], False
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def piece(self) -> bytes:
        """What was fed of it since the last piece."""
        pieces, self._body = self._body, []
        return b"".join(pieces)

    # What httptools calls

    def on_message_begin(self) -> None:
        if self.complete:
            raise BadRequestError("a request begins within another")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        # Only now: at the request's end, which may be here, the parser forgets it.
        self._keep_alive = self._parser.should_keep_alive()

    def on_body(self, piece: bytes) -> None:
        self.body_bytes += len(piece)
        if self._keeps_body:
            self._body.append(piece)

    def on_message_complete(self) -> None:
        self.complete = True


def _bad_request(error: httptools.HttpParserError, text: str) -> BadRequestError:
    """What one of the callbacks raised, or what httptools found."""
    found = error.__context__
    return found if isinstance(found, BadRequestError) else BadRequestError(text)


@functools.lru_cache(maxsize=500)
def _lower(name: bytes) -> bytes:
    return name.lower()
