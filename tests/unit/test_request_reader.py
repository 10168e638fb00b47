"""Requests as they come in over a connection: in pieces of any size, one after the other, and only those that are HTTP/1."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lchook.transport.environ import environ_of
from lchook.transport.fast_path import FastPath
from lchook.transport.request_parser import BadRequestError, Request
from lchook.transport.request_reader import RequestReader

LINE = b"POST /webhook HTTP/1.1\r\n"
MAX_BYTES = 1_000
BODY = b'{"customer_id": "c"}'
HEADERS = {
    "Host": "lch.example.com",
    "Content-Type": "application/json",
    "Authorization": "Bearer a.b.c",
    "Content-Length": str(len(BODY)),
}
CHUNKED = LINE + b"Transfer-Encoding: chunked\r\n\r\n"


def reader(*pieces: bytes) -> RequestReader:
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
    return RequestReader(SimpleNamespace(recv=receive, pending=lambda: 0))


def in_pieces(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def request(line: bytes = LINE, body: bytes = BODY, more: Iterable[str] = (), **changed: str | None) -> bytes:
    headers = {**HEADERS, **{name.replace("_", "-"): value for name, value in changed.items()}}
    lines = [f"{name}: {value}\r\n" for name, value in headers.items() if value is not None]
    return line + "".join([*lines, *more]).encode("latin-1") + b"\r\n" + body


def read(wire: bytes, *, size: int = 100_000) -> tuple[Request, bytes, RequestReader]:
    """The first request of what comes in in pieces of that size, and its body."""
    connection = reader(*in_pieces(wire, size))
    assert connection.wait()
    head = connection.head()
    return head, connection.body(MAX_BYTES), connection


sizes = pytest.mark.parametrize("size", [1, 2, 3, 7, 10_000])


@sizes
def test_requests_come_out_whole_one_after_the_other(size: int) -> None:
    chunks = b"3;x=y\r\n{\r\n\r\n1\r\n\r\r\n5\r\n\n\r\n\r}\r\n0\r\nTrailer: x\r\n\r\n"
    wire = (
        request()
        + b"GET /?a=%20 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
        + CHUNKED
        + chunks
        + request(body=b"[" * len(BODY))
    )
    connection = reader(*in_pieces(wire, size))
    seen = []
    while connection.wait():
        head = connection.head()
        seen.append((head.method, head.target, head.version, head.keep_alive, connection.body(MAX_BYTES)))
        assert connection.has_all
    assert seen == [
        (b"POST", b"/webhook", b"HTTP/1.1", True, BODY),
        (b"GET", b"/?a=%20", b"HTTP/1.0", True, b""),
        (b"POST", b"/webhook", b"HTTP/1.1", True, b"{\r\n\r\n\r\n\r}"),
        (b"POST", b"/webhook", b"HTTP/1.1", True, b"[" * len(BODY)),
    ]


def test_names_of_headers_have_no_case_and_values_no_blanks_around_them() -> None:
    wire = request(
        Authorization=None, Content_Length=None, more=["aUTHORIZATION:\tBearer x \t\r\n", "content-length:20 \r\n"]
    )
    head, body, _ = read(wire)
    assert (head.get(b"authorization"), head.content_length, body) == ("Bearer x", 20, BODY)


def test_wsgi_sees_what_was_read() -> None:
    more = ["Cookie: a=1\r\n", "cookie: b=2\r\n", "X-A: 1\r\n", "x-a: \xe5\r\n", "X_A: no\r\n", "Content-Type: second\r\n"]
    head, _, _ = read(request(line=b"POST /a%20b%2F%c3%a5?c=%20&d HTTP/1.1\r\n", more=more))
    assert environ_of(head) == {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a b/\xc3\xa5",
        "QUERY_STRING": "c=%20&d",
        "RAW_URI": "/a%20b%2F%c3%a5?c=%20&d",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": "20",
        "HTTP_HOST": "lch.example.com",
        "HTTP_AUTHORIZATION": "Bearer a.b.c",
        "HTTP_COOKIE": "a=1; b=2",
        "HTTP_X_A": "1,\xe5",
    }


REFUSED = {
    "two blanks before the path": request(line=b"POST  /webhook HTTP/1.1\r\n"),
    "two blanks after the path": request(line=b"POST /webhook  HTTP/1.1\r\n"),
    "a blank in the path": request(line=b"POST /web hook HTTP/1.1\r\n"),
    "a tab": request(line=b"POST\t/webhook HTTP/1.1\r\n"),
    "an empty line before": b"\r\n" + request(),
    "two empty lines before": b"\r\n\r\n" + request(),
    "HTTP/2.0": request(line=b"POST /webhook HTTP/2.0\r\n"),
    "HTTP/1.2": request(line=b"POST /webhook HTTP/1.2\r\n"),
    "HTTP/0.9": b"GET /webhook\r\n\r\n",
    "HTTP/0.9 with its number": b"GET /webhook HTTP/0.9\r\n\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a method that is none": request(line=b"\x1b[31m /webhook HTTP/1.1\r\n"),
    "CONNECT": b"CONNECT example.com:443 HTTP/1.1\r\n\r\n",
    "a line feed alone after the request line": request(line=b"POST /webhook HTTP/1.1\n"),
    "line feeds alone": request().replace(b"\r\n", b"\n"),
    "a line feed alone in the end": request()[: -len(BODY) - 2] + b"\n",
    "a negative length": request(Content_Length="-1"),
    "a length with a sign": request(Content_Length="+20"),
    "two lengths in one": request(Content_Length="20, 20"),
    "a length that is no ASCII": request(Content_Length="\xb2"),
    "an empty length": request(Content_Length=""),
    "a length of many digits": request(Content_Length="9" * 30),
    "a length twice": request(more=["Content-Length: 20\r\n"]),
    "two lengths": request(more=["content-length: 19\r\n"]),
    "a length and chunks": request(Transfer_Encoding="chunked"),
    "chunks and a length": CHUNKED[:-2] + b"Content-Length: 2\r\n\r\n0\r\n\r\n",
    "chunks twice": CHUNKED[:-2] + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a coding before chunks": request(Content_Length=None, Transfer_Encoding="gzip, chunked"),
    "a coding in place of chunks": request(Content_Length=None, Transfer_Encoding="xchunked"),
    "identity": request(Content_Length=None, Transfer_Encoding="identity"),
    "chunks in HTTP/1.0": CHUNKED.replace(b"HTTP/1.1", b"HTTP/1.0") + b"0\r\n\r\n",
    "a header without a colon": request(more=["No colon\r\n"]),
    "a blank before the colon": request(more=["Blank : x\r\n"]),
    "a folded header": request(more=["X: y\r\n", " folded\r\n"]),
    "a header without a name": request(more=[": nameless\r\n"]),
    "a name that is none": request(more=["X y: z\r\n"]),
    "a line feed in a value": request(more=["X: a\nContent-Length: 3\r\n"]),
    "a carriage return in a value": request(more=["X: a\rb\r\n"]),
    "a null byte": request(more=["X: \0\r\n"]),
    "an escape sequence": request(more=["X: \x1b[31m\r\n"]),
    "too many headers": request(more=[f"X-{number}: x\r\n" for number in range(100)]),
    "a header that is too long": request(more=[f"X: {'x' * 45_000}\r\n"]),
    "a path that is too long": request(line=b"POST /" + b"x" * 9_000 + b" HTTP/1.1\r\n"),
    "a path that is much too long": request(line=b"POST /" + b"x" * 70_000 + b" HTTP/1.1\r\n"),
    "a path that is no ASCII": request(line=b"POST /\xc3\xa5 HTTP/1.1\r\n"),
    "headers that break off": request()[: -len(BODY) - 2],
    "a body that breaks off": request()[:-1],
    "no body": request()[: -len(BODY)],
    "no chunks": CHUNKED,
    "chunks that break off": CHUNKED + b"2\r\n{}\r\n0\r\n",
    "a chunk's size that is none": CHUNKED + b"no chunk\r\n",
    "a chunk's size with a sign": CHUNKED + b"-1\r\n{}\r\n0\r\n\r\n",
    "a chunk's size with 0x": CHUNKED + b"0x2\r\n{}\r\n0\r\n\r\n",
    "a chunk's size that no memory holds": CHUNKED + b"fffffffffffffffff\r\n",
    "a chunk that is longer than it says": CHUNKED + b"2\r\n{}}\r\n0\r\n\r\n",
    "line feeds alone between chunks": CHUNKED + b"2\n{}\n0\n\n",
    "an extension without end": CHUNKED + b"1;" + b"x" * 100_000,
    "trailers without end": CHUNKED + b"0\r\n" + b"X: y\r\n" * 20_000,
}


@sizes
@pytest.mark.parametrize("name", REFUSED)
def test_what_breaks_http_or_could_be_read_in_two_ways_is_refused(name: str, size: int) -> None:
    wire = REFUSED[name]
    if len(wire) > 5_000:
        size *= 1_000
    with pytest.raises(BadRequestError) as refusal:
        read(wire, size=size)
    assert "\x1b" not in str(refusal.value)
    assert "webhook" not in str(refusal.value)


@pytest.mark.parametrize("chunked", [True, False])
@sizes
def test_of_a_body_that_is_too_large_the_beginning_is_kept_and_the_rest_dropped(size: int, chunked: bool) -> None:
    body = b"x\r\n\r\n" * 1_000
    wire = CHUNKED + b"1388\r\n" + body + b"\r\n0\r\n\r\n" if chunked else request(Content_Length="5000", body=body)
    _, beginning, connection = read(wire + request(), size=size)
    assert MAX_BYTES < len(beginning) <= len(body)
    assert body.startswith(beginning)
    assert connection.has_all or connection.drop(10_000)
    assert connection.wait()
    connection.head()
    assert connection.body(MAX_BYTES) == BODY


def test_not_more_is_dropped_than_one_is_ready_to_read() -> None:
    _, _, connection = read(request(Content_Length="900000", body=b"x" * 900_000), size=1_000)
    assert not connection.drop(10_000)
    assert not connection.has_all


@pytest.mark.parametrize("upgrade", ["h2c", "websocket", "TLS/1.0"])
@pytest.mark.parametrize("chunked", [True, False])
@sizes
def test_a_post_that_offers_another_protocol_is_read_as_if_it_did_not(size: int, chunked: bool, upgrade: str) -> None:
    """Java's own HTTP client offers h2c with each first request."""
    more = ["Connection: Upgrade, HTTP2-Settings\r\n", f"Upgrade: {upgrade}\r\n", "HTTP2-Settings: AAEAAEAA\r\n"]
    wire = request(more=more)
    if chunked:
        wire = request(Content_Length=None, Transfer_Encoding="chunked", more=more, body=b"14\r\n" + BODY + b"\r\n0\r\n\r\n")
    head, body, connection = read(wire + request(), size=size)
    assert body == BODY
    assert head.keep_alive
    assert head.get(b"upgrade") is None
    assert not head.asks_for_websocket
    assert connection.wait()
    connection.head()
    assert connection.body(MAX_BYTES) == BODY


def test_a_handshake_is_a_request_without_a_body() -> None:
    wire = b"GET /socket.io/ HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n"
    head, body, connection = read(wire)
    assert head.asks_for_websocket
    assert (body, connection.has_all) == (b"", True)


# The short way


FAST = FastPath("/webhook", lambda authorization, body: None)


def is_fast(wire: bytes) -> bool:
    connection = reader(wire)
    assert connection.wait()
    return FAST.is_for(connection.head(), MAX_BYTES)


@pytest.mark.parametrize(
    "wire",
    [
        request(),
        request(Authorization=None),
        request(Connection="Keep-Alive"),
        request(Content_Type=None),
        request(Content_Type="application/json; charset=UTF-8"),
        request(Content_Type='application/json;charset="utf8"'),
        request(Content_Length="0"),
    ],
)
def test_a_plain_post_goes_the_fast_path(wire: bytes) -> None:
    assert is_fast(wire)


@pytest.mark.parametrize(
    "wire",
    [
        request(line=b"POST /webhook/ HTTP/1.1\r\n"),
        request(line=b"POST /webhook?a HTTP/1.1\r\n"),
        request(line=b"GET /webhook HTTP/1.1\r\n"),
        request(line=b"POST /webhook HTTP/1.0\r\n"),
        request(Content_Length=None),
        request(Content_Length=str(MAX_BYTES + 1)),
        request(more=["Authorization: Bearer x\r\n"]),
        request(Content_Length=None, Transfer_Encoding="chunked"),
        request(Content_Encoding="gzip"),
        request(Content_Type="application/json; charset=latin-1"),
        request(Content_Type="application/json; charset=utf-16"),
        request(Expect="100-continue"),
        request(Connection="close"),
        request(Upgrade="h2c"),
    ],
)
def test_whatever_is_unusual_takes_the_way_through_wsgi(wire: bytes) -> None:
    assert not is_fast(wire)


def test_the_answer_is_a_whole_one() -> None:
    heard = []

    def take(authorization: str | None, body: bytes) -> tuple[int, tuple[tuple[str, str], ...], bytes]:
        heard.append((authorization, body))
        return 401, (("Content-Length", "2"), ("WWW-Authenticate", "Bearer")), b"no"

    head, body, _ = read(request())
    answer = FastPath("/webhook", take).answer(head, body, 0)
    assert answer == (
        b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\nWWW-Authenticate: Bearer\r\n"
        b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\nno"
    )
    assert heard == [("Bearer a.b.c", BODY)]


# Anything


@given(
    st.lists(st.sampled_from([*b"aA:\r\n\t \x00\xff-0", *b"Content-Length: 20\r\n"]), max_size=60).map(bytes),
    st.integers(1, 70),
)
def test_however_it_is_cut_the_same_is_read(noise: bytes, size: int) -> None:
    wire = LINE + b"Content-Length: 2\r\n" + noise + b"\r\n\r\n" + b"{}"

    def outcome(size: int) -> object:
        try:
            head, body, _ = read(wire, size=size)
        except BadRequestError:
            return None
        return head.headers, body

    assert outcome(size) == outcome(100_000)
