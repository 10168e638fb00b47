"""Which bodies a live LCH takes. Whatever comes, it is answered in words, and the process lives."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.support.hooks import Hook, text_body
from tests.support.jwts import mint

LARGEST = 1_000_000


@pytest.fixture
def unharmed(hook: Hook, customer: str) -> Iterator[None]:
    """After the test, the same worker still serves."""
    yield
    assert hook.works_for(customer)
    assert hook.server.log.count("Booting worker") == 1


pytestmark = pytest.mark.usefixtures("unharmed")

MALFORMED = [
    pytest.param(b"", id="empty"),
    pytest.param(b"{", id="cut short"),
    pytest.param(b"customer_id=c1", id="a form"),
    pytest.param(b'{"customer_id": "\xff\xfe"}', id="no UTF-8"),
    pytest.param(b"\x00" * 100, id="zeros"),
    pytest.param(b"null", id="null"),
    pytest.param(b"[{}]", id="a list"),
    pytest.param(b'"c1"', id="a string"),
    pytest.param(b'{"type": "text"}', id="no customer_id"),
    pytest.param(b'{"customer_id": true}', id="boolean customer_id"),
    pytest.param(b'{"customer_id": null}', id="null customer_id"),
    pytest.param(b'{"customer_id": "c1", "x": NaN}', id="NaN"),
    pytest.param(b'{"customer_id": "c1", "x": 1e999}', id="1e999"),
    pytest.param(b'{"customer_id": "c1", "x": ' + b"7" * 10_000 + b"}", id="a number without end"),
    pytest.param(b'{"customer_id": "c1", "x": ' + b"[" * 300_000, id="nested without end"),
    pytest.param(b'{"customer_id": "c1", "x": ' + b"[" * 500 + b"]" * 500 + b"}", id="nested deeply"),
]


@pytest.mark.parametrize("chunked", [False, True], ids=["whole", "chunked"])
@pytest.mark.parametrize("body", MALFORMED)
def test_what_is_no_message_is_answered_400_in_words(hook: Hook, body: bytes, chunked: bool) -> None:
    response = hook.post_raw(iter([body[:10], body[10:]]) if chunked else body, token=mint())

    assert response.status_code == 400
    assert response.headers["Content-Type"] == "application/json"
    assert set(response.json()) == {"error"}


@pytest.mark.parametrize("chunked", [False, True], ids=["whole", "chunked"])
def test_the_largest_body_is_taken_and_a_larger_one_answered_413(hook: Hook, customer: str, chunked: bool) -> None:
    body = json.dumps(text_body(customer)).encode().ljust(LARGEST)

    def sent(raw: bytes) -> object:
        return (raw[start : start + 65536] for start in range(0, len(raw), 65536)) if chunked else raw

    assert hook.post_raw(sent(body), token=mint()).status_code == 200
    response = hook.post_raw(sent(body + b" "), token=mint())
    assert response.status_code == 413
    assert set(response.json()) == {"error"}


@pytest.mark.parametrize(
    "request_text",
    [
        pytest.param("POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{", id="body breaks off"),
        pytest.param("POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", id="negative length"),
        pytest.param("POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n", id="length no number"),
        pytest.param(
            "POST /webhook HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n", id="broken chunks"
        ),
        pytest.param("garbage\r\n\r\n", id="no HTTP"),
        pytest.param("POST /webhook HTTP/1.1\r\n" + "X: y\r\n" * 20_000, id="headers without end"),
    ],
)
@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
def test_what_is_no_request_harms_nobody(hook: Hook, request_text: str, signed: bool) -> None:
    address = urlsplit(hook.url)
    if signed:
        request_text = request_text.replace("Host: x\r\n", f"Host: x\r\nAuthorization: Bearer {mint()}\r\n")
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        answer = b""
        # The server may hang up before it has all of it.
        with contextlib.suppress(OSError):
            connection.sendall(request_text.encode())
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(65536)

    assert not answer.startswith((b"HTTP/1.1 2", b"HTTP/1.1 5"))


def test_a_customer_nobody_has_heard_of_is_answered_200(hook: Hook, customer: str) -> None:
    assert hook.webhook(customer).status_code == 200
