"""HTTP that trickles, lies about its length, or can be read in two ways."""

from __future__ import annotations

import contextlib
import json
import time

import pytest
import requests

from tests.security.attacker import WEBSOCKET, Connection, Process, event, open_session, wait_until_closed, waiting_messages
from tests.support.clients import text_message
from tests.support.hooks import Hook, text_body
from tests.support.jwts import mint

LARGEST = 1_000_000


def post(*headers: str, body: str = "", signed: bool = False) -> str:
    """A request to the webhook, letter by letter."""
    lines = ["POST /webhook HTTP/1.1", "Host: hook", *headers]
    if signed:
        lines.append(f"Authorization: Bearer {mint()}")
    return "\r\n".join(lines) + "\r\n\r\n" + body


def test_who_trickles_is_cut_off(attacked: Hook) -> None:
    def connection(first: str = "") -> Connection:
        return Connection(attacked).send(first)

    wait_until_closed(
        {
            "nothing": (connection(), b""),
            "a request line": (connection("GET /web"), b"x"),
            "headers": (connection("GET /webhook HTTP/1.1\r\nHost: hook\r\nX-A: "), b"x"),
            "many headers": (connection("GET /webhook HTTP/1.1\r\nHost: hook\r\n"), b"X: y\r\n"),
            "headers that stop": (connection("GET /webhook HTTP/1.1\r\nHost: hook\r\n"), b""),
            "a body": (connection(post("Content-Length: 10000")), b"x"),
            "a body that stops": (connection(post("Content-Length: 10000", body="{")), b""),
            "a signed body": (connection(post("Content-Length: 10000", signed=True)), b"x"),
            "a body too large": (connection(post("Content-Length: 100000000")), b"x"),
            "chunks": (connection(post("Transfer-Encoding: chunked")), b"1\r\nx\r\n"),
            "a chunk's size": (connection(post("Transfer-Encoding: chunked")), b"0"),
            "a polling request": (connection(post("Content-Length: 10000").replace("/webhook", "/socket.io/?EIO=4")), b"x"),
            "idle after a request": (connection("GET /webhook HTTP/1.1\r\nHost: hook\r\n\r\n"), b""),
        },
        within=10,
    )


def test_a_chunk_whose_size_breaks_off_is_no_error_of_ours(attacked: Hook) -> None:
    for size in ("", "0", "f", "-", "0;x=y", "0" * 30):
        with Connection(attacked) as connection:
            connection.send(post("Transfer-Encoding: chunked", body=size)).shut_down_sending()
            assert connection.receive_all().startswith(b"HTTP/1.1 400 ")
    assert "answering a request failed" not in attacked.server.log


def test_a_body_too_large_with_a_handshake_that_is_wrong_is_refused_like_any_other(attacked: Hook) -> None:
    request = f"GET {WEBSOCKET} HTTP/1.1\r\nHost: hook\r\nUpgrade: websocket\r\nContent-Length: {LARGEST + 1}\r\n\r\n"
    with Connection(attacked) as connection:
        connection.send(request, b"x" * (LARGEST + 1))
        assert connection.receive_all().startswith(b"HTTP/1.1 400 ")
    assert "answering a request failed" not in attacked.server.log


def test_a_body_without_end_is_cut_off_and_takes_no_memory(attacked: Hook) -> None:
    process = Process(attacked)
    before = process.megabytes
    started = time.monotonic()
    with Connection(attacked) as connection:
        connection.send(post("Transfer-Encoding: chunked", signed=True))
        with pytest.raises(OSError):  # noqa: PT011, PT012 - reset, or a broken pipe, some time
            for _ in range(1000):
                connection.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        assert time.monotonic() - started < 10
    assert process.megabytes < before + 15


def test_a_response_that_is_not_read_is_given_up_and_what_it_held_is_kept(attacked: Hook, customer: str) -> None:
    address = open_session(attacked)
    process = Process(attacked)
    requests.post(address, data=event("clientMessage", text_message(customer)), timeout=10)
    attacked.dms.wait_for(lambda body: body["customer_id"] == customer)
    # More than the system takes into its buffers.
    for number in range(12):
        assert attacked.webhook(customer, f"{number} " + "x" * 900_000, message_id=number).status_code == 200
    with Connection(attacked, small_buffers=True) as connection:
        connection.request("GET", address.removeprefix(attacked.url))
        connection.wait_until_given_up(process, within=10)
    assert waiting_messages(attacked, customer, 12) == [str(number) for number in range(12)]


AMBIGUOUS = {
    "a length and chunks": post("Content-Length: 5", "Transfer-Encoding: chunked", body="2\r\n{}\r\n0\r\n\r\n"),
    "chunks and a length": post("Transfer-Encoding: chunked", "Content-Length: 5", body="2\r\n{}\r\n0\r\n\r\n"),
    "two lengths": post("Content-Length: 2", "Content-Length: 12", body="{}"),
    "two lengths in one": post("Content-Length: 2, 12", body="{}"),
    "a length with a sign": post("Content-Length: +2", body="{}"),
    "a length with an underscore": post("Content-Length: 1_0", body="{}" * 5),
    "a length in Arabic digits": post("Content-Length: \xd9\xa2", body="{}"),
    "a negative length": post("Content-Length: -1"),
    "a length of 5,000 digits": post("Content-Length: " + "9" * 5_000),
    "an encoding that is not chunked": post("Transfer-Encoding: gzip, chunked", body="2\r\n{}\r\n0\r\n\r\n"),
    "an encoding that looks like chunked": post("Transfer-Encoding: xchunked", "Content-Length: 2", body="{}"),
    "a space before the colon": post("Content-Length : 2", body="{}"),
    "a lone carriage return": post("X-A: b\rContent-Length: 2", body="{}"),
    "a folded header": post("X-A: b\r\n Content-Length: 2", body="{}"),
    "a header without a colon": post("X-A", "Content-Length: 2", body="{}"),
    "a header without a name": post(": x", "Content-Length: 2", body="{}"),
    "a null byte": post("X-A: \0", "Content-Length: 2", body="{}"),
    "an escape sequence": post("User-Agent: \x1b[31mred", "Content-Length: 2", body="{}"),
    "HTTP/0.9": "GET /webhook\r\n\r\n",
    "HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/1.1 with spaces": "GET /web hook HTTP/1.1\r\nHost: hook\r\n\r\n",
    "too many headers": "GET /webhook HTTP/1.1\r\n" + "X: y\r\n" * 200 + "\r\n",
    "a header of 70 KB": "GET /webhook HTTP/1.1\r\nX: " + "y" * 70_000 + "\r\n\r\n",
    "a path of 70 KB": "GET /" + "y" * 70_000 + " HTTP/1.1\r\nHost: hook\r\n\r\n",
    "TLS": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "broken chunks": post("Transfer-Encoding: chunked", body="no chunk\r\n"),
    "a chunk of 2^70 bytes": post("Transfer-Encoding: chunked", body="fffffffffffffffff\r\n"),
    "a negative chunk": post("Transfer-Encoding: chunked", body="-1\r\n{}\r\n0\r\n\r\n"),
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_what_could_be_read_in_two_ways_is_refused_and_the_connection_closed(attacked: Hook, name: str) -> None:
    follow_up = "GET /webhook HTTP/1.1\r\nHost: smuggled\r\n\r\n"
    with Connection(attacked) as connection:
        with contextlib.suppress(ConnectionError):
            connection.send(AMBIGUOUS[name], follow_up)
        answer = connection.receive_all(timeout_seconds=6)
    # What is much too long is not read to its end, and then the answer may be lost.
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 414 ")) or (not answer and "70 KB" in name), answer
    assert answer.count(b"HTTP/1.1 ") <= 1
    assert "Traceback" not in attacked.server.log


def test_a_body_longer_than_it_said_is_no_second_request_by_accident(attacked: Hook, customer: str) -> None:
    body = json.dumps(text_body(customer))
    with Connection(attacked) as connection:
        answer = connection.send(post(f"Content-Length: {len(body)}", body=body + "{}\r\n\r\n", signed=True)).receive_all()
    assert answer.count(b"HTTP/1.1 ") == 2
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 400 " in answer


def test_a_client_that_asks_before_it_sends_is_told_to_go_on_or_not_to(attacked: Hook, customer: str) -> None:
    body = json.dumps(text_body(customer))
    with Connection(attacked) as connection:
        connection.send(post(f"Content-Length: {len(body)}", "Expect: 100-continue", signed=True))
        connection.receive_until(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert connection.send(body).receive_until(b"\r\n") == b"HTTP/1.1 200 OK\r\n"
    with Connection(attacked) as connection:
        connection.send(post(f"Content-Length: {LARGEST + 1}", "Expect: 100-continue", signed=True))
        assert b" 413 " in connection.receive_until(b"\r\n")


@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "whole"])
def test_after_a_body_too_large_the_connection_serves_the_next_request(attacked: Hook, customer: str, chunked: bool) -> None:
    body = json.dumps(text_body(customer)).ljust(LARGEST + 70_000)
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    sent = f"{len(body):x}\r\n{body}\r\n0\r\n\r\n" if chunked else body
    with Connection(attacked) as connection:
        connection.send(post(length, body=sent, signed=True))
        assert b" 413 " in connection.receive_until(b"\r\n")
        connection.send("GET /healthz HTTP/1.1\r\nHost: hook\r\n\r\n")
        connection.receive_until(b'"alive"')


def test_requests_one_after_the_other_without_waiting_do_not_starve_others(attacked: Hook) -> None:
    piece = b"GET /webhook HTTP/1.1\r\nHost: hook\r\n\r\n" * 1000
    for reads in (True, False):
        with Connection(attacked) as connection:
            slowest = connection.flood_and_measure(piece, url=f"{attacked.url}/healthz", reads=reads, seconds=0.7)
        assert slowest < 1.5


@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "whole"])
def test_a_post_that_offers_another_protocol_is_answered_like_any_other(
    attacked: Hook, customer: str, chunked: bool
) -> None:
    """Java's own HTTP client does so with each first request."""
    body = json.dumps(text_body(customer))
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    sent = f"{len(body):x}\r\n{body}\r\n0\r\n\r\n" if chunked else body
    offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk")
    with Connection(attacked) as connection:
        connection.send(post(*offer, length, body=sent, signed=True))
        assert connection.receive_until(b"OK").startswith(b"HTTP/1.1 200 ")
        connection.send("GET /healthz HTTP/1.1\r\nHost: hook\r\n\r\n")
        connection.receive_until(b'"alive"')


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PUT", "DELETE", "PROPFIND", "\x1b[31m"])
@pytest.mark.parametrize("path", ["/webhook", "/socket.io/?EIO=4&transport=polling", "/../../etc/passwd", "*"])
def test_other_methods_are_refused(attacked: Hook, method: str, path: str) -> None:
    with Connection(attacked) as connection:
        answer = connection.send(f"{method} {path} HTTP/1.1\r\nHost: hook\r\nConnection: close\r\n\r\n").receive_all()
    assert answer.startswith(b"HTTP/1.1 4"), answer
