"""Bodies that are read while they come in: in whatever pieces, never as a whole, and not for ever."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

from lchook.transport.body_stream import BodyStream
from lchook.transport.http_server import HttpOptions
from tests.unit.test_request_reader import in_pieces, reader, request

LINE = b"PUT /files/a/b HTTP/1.1\r\n"
BODY = bytes(range(256)) * 40


class Handler(SimpleNamespace):
    """As much of a connection's handler as a body needs."""

    def __init__(self, wire: bytes, size: int) -> None:
        super().__init__(deadline=float("inf"), deadlines=[], close_connection=False, sent=b"")
        self.options = HttpOptions()
        self.rfile = reader(*in_pieces(wire, size))
        assert self.rfile.wait()
        self.rfile.head()
        self.socket = SimpleNamespace(sendall=lambda data: setattr(self, "sent", self.sent + data))

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "deadline" and value != float("inf"):
            self.deadlines.append(value)
        super().__setattr__(name, value)


def stream(body: bytes = BODY, *, size: int = 700, promised: int | None = None, before: bytes = b"") -> BodyStream:
    wire = request(LINE, body, Content_Length=str(len(body) if promised is None else promised))
    return BodyStream(Handler(wire, size), before)


def all_of(body: BodyStream, size: int = 1000) -> bytes:
    return b"".join(iter(lambda: body.read(size), b""))


def test_a_body_comes_in_pieces_of_at_most_what_was_asked_for() -> None:
    for size in (1, 700, 100_000):
        body, pieces = stream(size=size), []
        while piece := body.read(1000):
            pieces.append(piece)
        assert b"".join(pieces) == BODY
        assert max(map(len, pieces)) <= 1000
        assert body.read(1000) == b""


def test_a_body_that_breaks_off_ends_early_and_with_it_the_connection() -> None:
    body = stream(promised=len(BODY) + 1)
    assert all_of(body) == BODY
    assert body._handler.close_connection


def test_what_follows_a_body_is_left_for_the_next_request() -> None:
    following = request()
    wire = request(LINE, BODY, Content_Length=str(len(BODY))) + following
    handler = Handler(wire, 300)
    assert all_of(BodyStream(handler, b"")) == BODY
    assert handler.rfile.wait()
    assert handler.rfile.head().method == b"POST"


def test_a_client_that_waits_to_be_asked_is_asked_once() -> None:
    # The head alone comes first.
    head = request(LINE, b"", Content_Length=str(len(BODY)))
    body = BodyStream(Handler(head + BODY, len(head)), b"HTTP/1.1 100 Continue\r\n\r\n")
    assert all_of(body) == BODY
    assert body._handler.sent == b"HTTP/1.1 100 Continue\r\n\r\n"


def test_a_body_has_time_by_what_has_come_of_it() -> None:
    body, started = stream(size=1000), time.monotonic()
    all_of(body)
    first, last = body._handler.deadlines[0], body._handler.deadlines[-1]
    assert 29 < first - started < 31
    assert 0.9 < last - first < len(BODY) / 8_000 + 0.1
    assert body._handler.deadline == float("inf")


def test_what_is_not_read_can_be_dropped() -> None:
    body = stream()
    body.read(10)
    assert body._handler.rfile.drop(100_000)
    assert body._handler.rfile.has_all
