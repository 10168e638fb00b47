"""Origins that look like an allowed one, on each way in; and CORS, where a browser has no business."""

from __future__ import annotations

import pytest
import requests

from tests.security.attacker import HANDSHAKE, POLLING, WEBSOCKET, Connection, frame, open_session
from tests.support.hooks import Hook

LOOK_ALIKES = [
    "https://chat.example.com.evil.com",
    "https://evilchat.example.com",
    "https://chat.example.com@evil.com",
    "https://user:password@chat.example.com",
    "https://chat.example.com:444",
    "https://chat.example.com:0443",
    "https://chat.example.com.",
    "https://chat.example.com/",
    "https://chat.example.com#",
    "https://chat.example.com,https://evil.com",
    "https://chat.example.com https://evil.com",
    "http://chat.example.com",
    "//chat.example.com",
    "chat.example.com",
    "file://",
    "null",
    "http://localhost:3001",
    "http://localhost",
    "http://127.0.0.1:3000",
    "*",
]


@pytest.mark.parametrize("origin", LOOK_ALIKES)
def test_what_only_looks_like_an_allowed_origin_gets_in_by_no_way(usual: Hook, origin: str) -> None:
    response = requests.get(usual.url + POLLING, headers={"Origin": origin}, timeout=10)
    assert response.status_code == 400
    assert not [name for name in response.headers if name.lower().startswith("access-control-allow-origin")]

    with Connection(usual) as connection:
        answer = connection.request("GET", WEBSOCKET, **HANDSHAKE, Origin=origin).receive_until(b"\r\n")
        assert answer == b"HTTP/1.1 400 BAD REQUEST\r\n"

    # A session that its owner's page has opened is of no use to another page that knows its id.
    session = open_session(usual)
    assert requests.get(session, headers={"Origin": origin}, timeout=10).status_code == 400
    assert requests.post(session, data="42[]", headers={"Origin": origin}, timeout=10).status_code == 400
    with Connection(usual) as connection:
        path = session.removeprefix(usual.url).replace("polling", "websocket")
        connection.request("GET", path, **HANDSHAKE, Origin=origin)
        assert connection.receive_until(b"\r\n") == b"HTTP/1.1 400 BAD REQUEST\r\n"


@pytest.mark.parametrize("origin", ["https://chat.example.com", "http://localhost:3000"])
def test_each_of_several_allowed_origins_may_upgrade(usual: Hook, origin: str) -> None:
    session = open_session(usual)
    with Connection(usual) as connection:
        path = session.removeprefix(usual.url).replace("polling", "websocket")
        connection.open_websocket(path, join=False, Origin=origin)
        connection.send(frame(b"2probe"))
        connection.receive_until(b"3probe")


def test_two_origins_in_one_request_are_none(usual: Hook) -> None:
    with Connection(usual) as connection:
        connection.send(
            f"GET {POLLING} HTTP/1.1\r\nHost: x\r\nOrigin: https://chat.example.com\r\nOrigin: https://evil.com\r\n\r\n"
        )
        assert connection.receive_until(b"\r\n") == b"HTTP/1.1 400 BAD REQUEST\r\n"


@pytest.mark.parametrize("origin", ["https://chat.example.com", "https://evil.com"])
@pytest.mark.parametrize("path", ["/webhook", "/healthz", "/readyz", "/metrics", "/nowhere"])
def test_no_page_may_read_what_is_not_for_pages(usual: Hook, origin: str, path: str) -> None:
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    for method in ("GET", "POST", "OPTIONS"):
        response = requests.request(method, usual.url + path, headers=asked, timeout=10)
        allowed = response.headers.get("Access-Control-Allow-Origin")
        # The one line that says that the hook is there is for everybody who may connect.
        expected = origin if (path, method) == ("/webhook", "GET") and "example" in origin else None
        assert allowed in (expected, None), (method, response.headers)
        assert "POST" not in response.headers.get("Access-Control-Allow-Methods", "")


def test_a_proxys_word_about_the_host_does_not_open_the_door_to_a_page_of_that_host(usual: Hook) -> None:
    forged = {"Origin": "https://evil.com", "X-Forwarded-Host": "evil.com", "X-Forwarded-Proto": "https", "Host": "evil.com"}
    assert requests.get(usual.url + POLLING, headers=forged, timeout=10).status_code == 400
