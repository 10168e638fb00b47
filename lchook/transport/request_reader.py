"""Reads the requests of one connection: heads, bodies, and what is left of bodies that nobody wants. All that LCH serves
over HTTP under gunicorn is read here. Answers are others' work."""

from __future__ import annotations

import re
from typing import Any

from lchook.transport.incoming import Incoming
from lchook.transport.request_parser import END, MAX_LINE_BYTES, BadRequestError, Request, RequestParser, TooLongError

_MAX_HEAD_BYTES = 40 * 1024
# Of a body in chunks: sizes, extensions and trailers, besides eight times what they bring.
_MAX_CHUNK_BYTES = 64 * 1024
_BROKEN = "the body broke off, or is not what the headers say"
_BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")


class RequestReader:
    """The requests of one connection, one after the other. All of it raises `OSError` where the connection is broken."""

    __slots__ = ("_fed", "_incoming", "_missing", "_parser", "_request")

    def __init__(self, connection: Any) -> None:
        self._incoming = Incoming(connection)
        self._parser = RequestParser()
        self._request: Request
        # Of a body with a length; and what was fed of one in chunks.
        self._missing = self._fed = 0

    @property
    def closed(self) -> bool:
        return self._incoming.closed

    def wait(self) -> bool:
        """Wait for the beginning of the next request; tells whether there is any."""
        return self._incoming.wait()

    def head(self) -> Request:
        """Read the next request's head.

        :raises BadRequestError: where it is no HTTP, or has too many headers, or too long ones.
        """
        incoming, head = self._incoming, b""
        try:
            end = incoming.ahead.find(END, 0, _MAX_HEAD_BYTES) + len(END)
            if end < len(END):
                end = self._wait_for_head()
            head, incoming.ahead = incoming.ahead[:end], incoming.ahead[end:]
            self._request = request = self._parser.head(head)
        except BadRequestError as error:
            error.head = head or incoming.ahead
            raise
        self._missing, self._fed = request.content_length or 0, 0
        return request

    def _wait_for_head(self) -> int:
        """Wait for the end of a head that is not there as a whole; returns where that is."""
        incoming, seen = self._incoming, 0
        while True:
            data = incoming.ahead
            if _BARE_LINE_FEED.search(data, max(0, seen - 1)):
                # It would never end in the way that is waited for.
                raise BadRequestError("lines must end with carriage return and line feed")
            if len(data) >= MAX_LINE_BYTES and b"\r\n" not in data[:MAX_LINE_BYTES]:
                raise TooLongError("the request line is too long")
            if len(data) >= _MAX_HEAD_BYTES or not incoming.more():
                raise BadRequestError("the headers end too early, or are too long")
            seen = len(data)
            end = incoming.ahead.find(END, max(0, seen - len(END)), _MAX_HEAD_BYTES) + len(END)
            if end >= len(END):
                return end

    @property
    def has_more(self) -> bool:
        """Is there more than was read?"""
        return bool(self._incoming.ahead)

    @property
    def has_all(self) -> bool:
        """Has the latest request's body been read, or dropped?"""
        return self._parser.complete

    def body(self, max_bytes: int) -> bytes:
        """The latest request's body; of one that is longer, more than so many bytes of its beginning.

        :raises BadRequestError: where it breaks off, or is not what the head says.
        """
        while not self._parser.complete and self._parser.body_bytes <= max_bytes:
            self._read_some()
        return self._parser.body()

    def piece(self) -> bytes:
        """The next piece of the latest request's body, as soon as there is one; empty at its end.

        :raises BadRequestError: where it breaks off, or is not what the head says.
        """
        while not (piece := self._parser.piece()) and not self._parser.complete:
            self._read_some()
        return piece

    def drop(self, max_bytes: int) -> bool:
        """Read what is left of the body, so that its sender comes to read the answer; tells whether that is all of it."""
        until = self._parser.body_bytes + max_bytes
        self._parser.body()
        while not self._parser.complete and self._parser.body_bytes < until:
            self._read_some()
        return self._parser.complete

    def _read_some(self) -> None:
        incoming = self._incoming
        if self._request.chunked:
            fed = self._feed_chunks()
        else:
            fed = min(len(incoming.ahead), self._missing)
            if fed:
                self._parser.feed(incoming.take(fed))
                self._missing -= fed
        if not fed and not incoming.more(self._missing):
            raise BadRequestError(_BROKEN)

    def _feed_chunks(self) -> int:
        """Feed what is there, up to the body's end; returns how much that was."""
        incoming, data, at = self._incoming, self._incoming.ahead, 0
        while not self._parser.complete and (end := _up_to_empty_line(data, at)) > at:
            self._parser.feed(data[at:end])
            at = end
            incoming.let_others_in()
        incoming.ahead = data[at:]
        self._fed += at
        if self._fed > _MAX_CHUNK_BYTES + 8 * self._parser.body_bytes:
            raise BadRequestError(_BROKEN)
        return at

    def close(self) -> None:
        """There is nothing more to read here."""
        self._incoming.close()


def _up_to_empty_line(data: bytes, at: int) -> int:
    """Where the first empty line from here on ends. Where there is none, the end of the data, without what may be the
    beginning of one."""
    end = data.find(END, at)
    if end >= 0:
        return end + len(END)
    for size in (3, 2, 1):
        if data.endswith(END[:size], at):
            return len(data) - size
    return len(data)
