"""Which sites' pages may connect, by either transport."""

from __future__ import annotations

import pytest
import requests
import websocket

from tests.support.hooks import Hook


def polling(hook: Hook, origin: str | None) -> requests.Response:
    headers = {"Origin": origin} if origin else {}
    return requests.get(f"{hook.url}/socket.io/?EIO=4&transport=polling", headers=headers, timeout=10)


def websocket_opens(hook: Hook, origin: str | None) -> bool:
    """Whether LCH speaks to a WebSocket, which it does as soon as it has let it in."""
    address = hook.url.replace("http", "ws", 1) + "/socket.io/?EIO=4&transport=websocket"
    try:
        opened = websocket.create_connection(address, timeout=10, origin=origin, suppress_origin=origin is None)
    except websocket.WebSocketBadStatusException as error:
        return bool(error.status_code != 400)
    first = opened.recv()
    opened.shutdown()
    # gevent-websocket opens before it asks LCH: then there is an end without a word.
    assert not first or str(first).startswith("0{")
    return bool(first)


FOREIGN = [
    "https://evil.example.com",
    "https://chat.example.com.evil.com",
    "https://evil.com/https://chat.example.com",
    "http://chat.example.com",
    "https://chat.example.com:8443",
    "null",
]


@pytest.mark.parametrize("origin", FOREIGN)
def test_a_foreign_origin_is_refused(hook: Hook, origin: str) -> None:
    response = polling(hook, origin)
    assert response.status_code == 400
    assert "Access-Control-Allow-Origin" not in response.headers
    assert not websocket_opens(hook, origin)


@pytest.mark.parametrize("origin", ["https://chat.example.com", "http://localhost:3000"])
def test_an_allowed_origin_is_let_in_and_its_browser_told(hook: Hook, origin: str) -> None:
    response = polling(hook, origin)
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == origin
    assert websocket_opens(hook, origin)


def test_a_client_without_an_origin_is_let_in(hook: Hook) -> None:
    assert polling(hook, None).status_code == 200
    assert websocket_opens(hook, None)


@pytest.mark.parametrize("origin", ["https://evil.example.com", "http://localhost", "null"])
def test_a_star_lets_everybody_in(open_gunicorn: Hook, origin: str) -> None:
    response = polling(open_gunicorn, origin)
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] in (origin, "*")
    assert websocket_opens(open_gunicorn, origin)


def test_without_the_setting_only_the_same_origin_is_let_in(flask_run: Hook) -> None:
    assert polling(flask_run, flask_run.url).status_code == 200
    assert websocket_opens(flask_run, flask_run.url)
    assert polling(flask_run, "https://evil.example.com").status_code == 400
    assert not websocket_opens(flask_run, "https://evil.example.com")


def test_the_webhooks_line_is_for_allowed_origins_too(hook: Hook) -> None:
    for origin, allowed in (("https://chat.example.com", True), ("https://evil.example.com", False)):
        response = requests.get(f"{hook.url}/webhook", headers={"Origin": origin}, timeout=10)
        assert response.status_code == 200
        assert ("Access-Control-Allow-Origin" in response.headers) is allowed
