"""What comes in over an HTTP connection: read in pieces of any size, and only plain posts go the short way."""

from __future__ import annotations

import io
from collections.abc import Iterable
from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from lchook.serving.http_request import BadRequestError, Incoming, Post, RequestHeaders, post_ahead

LINE = b"POST /webhook HTTP/1.1\r\n"
MOST = 1_000
BODY = b'{"customer_id": "c"}'
HEADERS = {
    "Host": "lch.example.com",
    "Content-Type": "application/json",
    "Authorization": "Bearer a.b.c",
    "Content-Length": str(len(BODY)),
}


def incoming(*pieces: bytes) -> Incoming:
    """A connection on which these pieces come in, and then its end."""
    rest = [piece for piece in pieces if piece]

    def receive(count: int) -> bytes:
        if not rest:
            return b""
        data, rest[0] = rest[0][:count], rest[0][count:]
        if not rest[0]:
            del rest[0]
        return data

    # With `pending`, as TLS has it, there is no loop to ask.
    return Incoming(SimpleNamespace(recv=receive, pending=lambda: 0))


def request(line: bytes = LINE, body: bytes = BODY, more: Iterable[str] = (), **changed: str | None) -> bytes:
    headers = {**HEADERS, **{name.replace("_", "-"): value for name, value in changed.items()}}
    lines = [f"{name}: {value}\r\n" for name, value in headers.items() if value is not None]
    return line + "".join([*lines, *more]).encode("latin-1") + b"\r\n" + body


def ahead(*pieces: bytes) -> Post | None:
    connection = incoming(*pieces)
    assert connection.wait()
    before = connection.ahead
    post = post_ahead(connection, LINE, MOST)
    # Whatever it is, the next to read it finds all of it.
    assert connection.ahead.startswith(before)
    return post


def test_a_plain_post_is_there_as_a_whole() -> None:
    wire = request()
    assert ahead(wire) == Post("Bearer a.b.c", BODY, len(wire))
    assert ahead(wire + wire) == Post("Bearer a.b.c", BODY, len(wire))


def test_its_body_may_come_later_and_in_pieces() -> None:
    wire = request()
    start = wire.index(b"\r\n\r\n") + 4
    assert ahead(wire[:start], wire[start : start + 3], wire[start + 3 :]) == Post("Bearer a.b.c", BODY, len(wire))


def test_names_of_headers_have_no_case_and_values_no_blanks_around_them() -> None:
    wire = request(Authorization=None, Content_Length=None, more=["aUTHORIZATION:\tBearer x \r\n", "content-length:20\r\n"])
    assert ahead(wire) == Post("Bearer x", BODY, len(wire))


def test_a_post_without_a_token_is_a_plain_post_and_one_that_keeps_the_connection_is_too() -> None:
    assert ahead(request(Authorization=None, Connection="Keep-Alive")) == Post(None, BODY, len(request()) + 24 - 29)


@pytest.mark.parametrize(
    "wire",
    [
        request(line=b"POST /webhook/ HTTP/1.1\r\n"),
        request(line=b"GET /webhook HTTP/1.1\r\n"),
        request(line=b"POST /webhook HTTP/1.0\r\n"),
        request(line=b"POST  /webhook HTTP/1.1\r\n"),
        request(line=b"POST /webhook HTTP/1.1\n"),
        LINE + b"\r\n",
        LINE[:-2],
        request(Content_Length=None),
        request(Content_Length="-1"),
        request(Content_Length="+20"),
        request(Content_Length="20, 20"),
        request(Content_Length="\xb2"),
        request(Content_Length="0" * 10),
        request(more=["Content-Length: 20\r\n"]),
        request(more=["content-length: 19\r\n"]),
        request(more=["Authorization: Bearer x\r\n"]),
        request(Content_Length=str(MOST + 1), body=b"x" * (MOST + 1)),
        request(Transfer_Encoding="chunked"),
        request(Expect="100-continue"),
        request(Connection="close"),
        request(Connection="Upgrade", Upgrade="websocket"),
        request(Upgrade="h2c"),
        request(more=["No colon\r\n"]),
        request(more=["Blank : x\r\n"]),
        request(more=[" folded\r\n"]),
        request(more=[": nameless\r\n"]),
        request(more=["X: a\nContent-Length: 3\r\n"]),
        request(more=["X: a\rb\r\n"]),
        request(more=["X: \0\r\n"]),
        request(more=[f"X-{number}: x\r\n" for number in range(100)]),
        request(more=[f"X: {'x' * 40_000}\r\n"]),
    ],
)
def test_whatever_is_unusual_is_left_for_the_wsgi_server(wire: bytes) -> None:
    assert ahead(wire) is None


@pytest.mark.parametrize("missing", [1, len(BODY), len(BODY) + 1, len(BODY) + 4, len(request()) - 10])
def test_what_breaks_off_is_left_for_the_wsgi_server_to_refuse(missing: int) -> None:
    assert ahead(request()[:-missing]) is None


@given(st.lists(st.sampled_from([*b"aA:\r\n\t \x00\xff-0", *b"Content-Length: 20\r\n"]), max_size=60).map(bytes))
def test_what_goes_the_short_way_the_strict_reader_takes_as_well(noise: bytes) -> None:
    wire = LINE + b"Content-Length: 2\r\n" + noise + b"\r\n\r\n" + b"{}"
    post = ahead(wire)
    if post is None:
        return
    headers = RequestHeaders.read(io.BytesIO(wire[len(LINE) :]))
    assert headers.all("content-length") == {"2"}
    assert post.authorization == headers.get("authorization")
    assert wire[post.size - 2 : post.size] == post.body


# As a file


@example(b"\0\n\0", [], 3)
@given(st.binary(max_size=200), st.lists(st.integers(1, 20), max_size=20), st.integers(1, 50))
def test_lines_and_blocks_come_out_whole_however_they_come_in(data: bytes, sizes: list[int], most: int) -> None:
    pieces, at = [], 0
    for size in sizes:
        pieces.append(data[at : at + size])
        at += size
    connection, file = incoming(*pieces, data[at:]), io.BytesIO(data)
    while expected := file.readline(most):
        assert connection.readline(most) == expected
        assert connection.read(3) == file.read(3)
    assert connection.readline(most) == b""
    assert not connection.wait()


def test_headers_are_read_from_it() -> None:
    connection = incoming(b"Host: a\r\nX: ", b"\xe5\r\n", b"\r\nrest")
    assert RequestHeaders.read(connection).items() == [("host", "a"), ("x", "å")]
    assert connection.read(10) == b"rest"


@pytest.mark.parametrize(
    "lines", [b"X\r\n\r\n", b"X y: z\r\n\r\n", b"X: \x01\r\n\r\n", b"X: y\r\n", b"X: " + b"y" * 40_000, b"X: y\r\n" * 102]
)
def test_headers_that_are_no_http_are_refused(lines: bytes) -> None:
    with pytest.raises(BadRequestError):
        RequestHeaders.read(incoming(lines))
