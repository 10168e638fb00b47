"""What logs and responses never hold: forged lines, secrets, tokens, what people say, traces."""

from __future__ import annotations

import base64
import json
import re
import uuid
from collections.abc import Callable, Iterator

import pytest
import requests

from lchook.sandbox.faults import Answer
from tests.security.attacker import HANDSHAKE, POLLING, WEBSOCKET, Connection, event, frame, open_session
from tests.security.conftest import CUSTOMER_SECRET
from tests.security.test_customer_tokens import refusal, token
from tests.support.clients import text_message
from tests.support.hooks import Hook, running_hook
from tests.support.jwts import SECRET, mint
from tests.support.servers import gunicorn_command
from tests.support.waiting import wait_until

FORGED = "2026-01-01 00:00:00.000 ERROR   chat: forged"
# What would begin a new line, move the cursor, colour, or be taken for a format.
NASTY = [f"\n{FORGED}", f"\r\n{FORGED}", f"\u2028{FORGED}", f"\x85{FORGED}", "\x1b[31m\x1b[2J", "\x9b31m", "\x00\x07\x7f",
         "%s%n%(x)s", "{0}{x!r}", "\u202eevil", "${jndi:ldap://x}", "\ud83d\ude00" * 3]  # fmt: skip

LCH_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} (DEBUG|INFO|WARNING|ERROR) +[\w.]+: .*")
GUNICORN_LINE = re.compile(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}\] \[\d+\] \[[A-Z]+\] .*")
ACCESS_LINE = re.compile(r'\S+ - .* \[\d\d/\w+/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] ".*" \d+ [\d-]+ ".*" ".*"')


@pytest.fixture(scope="module", params=["text", "json"])
def logging_hook(request: pytest.FixtureRequest) -> Iterator[Hook]:
    """LCH in each format of its log, with an access log."""
    with running_hook(gunicorn_command, "--access-logfile", "-", LOG_FORMAT=request.param, PROXY_HOPS="1") as hook:
        hook.dms.takes_unknown = True
        yield hook


def assert_each_line_is_one(hook: Hook) -> None:
    """Every line is LCH's, gunicorn's, or of the access log, with nothing in it that a terminal would act on."""
    # Not `splitlines`: what that takes for the end of a line is what must not be there. The last may still be being written.
    for line in hook.server.log.rpartition("\n")[0].split("\n"):
        assert line.isprintable(), ascii(line)
        assert not line.startswith(FORGED)
        if line.startswith("{"):
            entry = json.loads(line)
            assert {"time", "level", "part", "event"} <= set(entry)
            assert FORGED not in entry["event"].split("\n")
        else:
            assert any(known.fullmatch(line) for known in (LCH_LINE, GUNICORN_LINE, ACCESS_LINE)), line


@pytest.mark.parametrize("nasty", NASTY, ids=repr)
def test_no_field_of_a_message_or_webhook_can_forge_a_line(logging_hook: Hook, nasty: str) -> None:
    hook = logging_hook
    name = f"{uuid.uuid4()}{nasty}"
    with hook.connect(headers={"X-Forwarded-For": "192.0.2.1"}, auth={"customer_id": name, "session": nasty}) as client:
        outcome = client.call(
            "clientMessage", text_message(name, nasty, message_id=name, type=f"text{nasty}", customer_name=nasty)
        )
        assert outcome["status"] == "sent"
        client.call("clientMessage", {nasty: nasty, "type": nasty, "customer_id": 17})
        client.call(nasty, nasty)
        response = hook.dms.send(name, raw=json.dumps({"customer_id": name, "message_id": name, "type": nasty}).encode())
        assert response.status_code == 200
        client.wait_for_messages(1)
    assert_each_line_is_one(hook)


@pytest.mark.parametrize("nasty", [nasty for nasty in NASTY if nasty.isascii() or len(nasty) == 4], ids=repr)
@pytest.mark.parametrize(
    "header", ["User-Agent", "Origin", "X-Forwarded-For", "Referer", "Host", "Authorization", "Sec-WebSocket-Key"]
)
def test_no_header_can_forge_a_line_or_a_header(logging_hook: Hook, header: str, nasty: str) -> None:
    for method, path in (("GET", POLLING), ("POST", "/webhook"), ("GET", "/webhook")):
        with Connection(logging_hook) as connection:
            answer = (
                connection.request(method, path, **{header: f"x{nasty}", "Connection": "close"})
                .receive_all()
                .decode("latin-1")
            )
        assert answer.startswith("HTTP/1.1 ")
        assert FORGED not in answer.partition("\r\n\r\n")[0].split("\r\n")
        assert "Traceback" not in answer
    with Connection(logging_hook) as connection:
        connection.request("GET", WEBSOCKET, **{**HANDSHAKE, header: f"x{nasty}"}).receive_all(timeout_seconds=0.05)
    assert_each_line_is_one(logging_hook)


@pytest.mark.parametrize(
    "path",
    [
        f"/%0a{FORGED.replace(' ', '%20')}",
        "/%1b%5b31m",
        f"{POLLING}&sid=%0a{FORGED.replace(' ', '%20')}%1b",
        "/socket.io/?EIO=4&transport=%0aforged",
        "/webhook?\xff\x9b31m",
        "/%ff%fe",
    ],
)
def test_no_path_can_forge_a_line(logging_hook: Hook, path: str) -> None:
    for method in ("GET", "POST", "BREW"):
        with Connection(logging_hook) as connection:
            connection.send(f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").receive_all()
    assert_each_line_is_one(logging_hook)


def test_a_user_name_cannot_forge_a_line_of_the_access_log(logging_hook: Hook) -> None:
    user = base64.b64encode(f"x\n{FORGED}\x1b[31m:p".encode()).decode()
    requests.get(f"{logging_hook.url}/webhook", headers={"Authorization": f"Basic {user}"}, timeout=10)
    assert_each_line_is_one(logging_hook)


def test_the_access_log_tells_no_session_that_could_be_taken_over(logging_hook: Hook) -> None:
    address = open_session(logging_hook)
    session = address.rpartition("sid=")[2]
    requests.post(address, data=event("x"), timeout=10)
    wait_until(
        lambda: "POST /socket.io/?EIO=4&transport=polling&sid=… HTTP/1.1" in logging_hook.server.log, "the access log"
    )
    assert session not in logging_hook.server.log


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_whole_conversation_leaves_no_word_no_secret_and_no_token_in_the_log(log_format: str, customer: str) -> None:
    canary = f"canary-{uuid.uuid4()}"
    said = text_message(
        customer,
        f"{canary} said",
        customer_name=f"{canary} name",
        postback=f"{canary} postback",
        attachments=[{"url": f"https://x/{canary}"}],
        context_data={f"{canary} key": f"{canary} context"},
    )
    answers = {"text": [f"{canary} answered"], "csr_name": f"{canary} agent", "title": canary, "unknown": {"deep": [canary]}}
    customer_token, stale_token = token(customer), token(customer, seconds=-1)
    webhook_tokens = [mint(), mint(secret=canary), mint(iss=canary)]
    settings = {"CUSTOMER_TOKEN_SECRET": CUSTOMER_SECRET, "JWT_SECRET_PREVIOUS": canary, "LOG_FORMAT": log_format}
    responses: list[str] = []
    with running_hook(gunicorn_command, **settings) as hook:
        with hook.connect(auth={"token": customer_token, "extra": canary}) as client:
            assert client.call("clientMessage", said)["status"] == "sent"
            # Once more, once wrong, once refused, once to a DMS that quotes it.
            client.call("clientMessage", said)
            client.call("clientMessage", {**said, "customer_id": canary})
            client.call("clientMessage", {**said, "text": canary})
            client.call(f"{canary}", canary)
            hook.dms.answer = lambda body: Answer(status=500, body=json.dumps(body))
            client.call("clientMessage", {**said, "message_id": 2})
            hook.dms.answer = None
            client.call("serverMessage", canary)
            for webhook_token in webhook_tokens:
                responses.append(hook.dms.send(customer, token=webhook_token, **answers).text)
            assert hook.dms.send(customer, **answers).status_code == 200
            client.wait_for_messages(2)
            responses.append(hook.dms.send(customer, raw=f'{{"text": "{canary}"'.encode()).text)
            responses.append(hook.dms.send(customer, raw=json.dumps({"customer_id": [canary]}).encode()).text)
        assert hook.dms.send(customer, "text", **answers).status_code == 200
        responses.append(refusal(hook.url, {"token": stale_token}))
        responses.append(refusal(hook.url, {"token": canary}))
        for nonsense in (
            f"POST /webhook HTTP/1.1\r\n{canary}\r\n\r\n",
            f"{canary}\r\n\r\n",
            f"GET /{canary} HTTP/1.1\r\nHost: x\r\n\r\n",
        ):
            with Connection(hook) as connection:
                responses.append(connection.send(nonsense).receive_all(timeout_seconds=0.2).decode())
        with Connection(hook) as connection:
            connection.open_websocket(join=False).send(frame(f'40{{"token":"{customer_token}"}}'.encode()))
            connection.receive_until(b"40{")
            for packet in (
                f'42["{canary}',
                f'42["clientMessage",{{"text":"{canary}",NaN',
                f"4{canary}",
                f'451-["{canary}"]',
                f"43{canary}",
            ):
                connection.send(frame(packet.encode()))
            connection.send(frame(canary.encode() + b"\xff")).receive_all(timeout_seconds=0.3)
        address = open_session(hook, join=False)
        responses.append(requests.post(address, data=f"4{canary}\x1ex{canary}\xff".encode("latin-1"), timeout=10).text)

        log = hook.server.log
    # Something was logged, or this would be easy.
    assert log.count(customer) > 5
    for hidden in (canary, SECRET, CUSTOMER_SECRET, customer_token, stale_token, *webhook_tokens):
        # Parts of a token are enough to be one.
        for part in hidden.split(".")[1:] or [hidden]:
            assert part not in log
    for response in responses:
        assert canary not in response
        for secret in (SECRET, CUSTOMER_SECRET, "Traceback", ".py"):
            assert secret not in response


@pytest.mark.parametrize(
    "request_of",
    [
        pytest.param(lambda url: requests.get(f"{url}/nowhere/<script>", timeout=10), id="no such page"),
        pytest.param(lambda url: requests.delete(f"{url}/webhook", timeout=10), id="no such method"),
        pytest.param(lambda url: requests.post(f"{url}/webhook", data=b"{", timeout=10), id="no token"),
        pytest.param(lambda url: requests.post(f"{url}{POLLING}&sid=<script>", data=b"x", timeout=10), id="no session"),
        pytest.param(lambda url: requests.get(f"{url}/console", timeout=10), id="console"),
    ],
)
def test_an_errors_response_is_short_and_tells_nothing_of_the_inside(
    usual: Hook, request_of: Callable[[str], requests.Response]
) -> None:
    response = request_of(usual.url)
    assert 400 <= response.status_code < 500
    assert len(response.content) < 500
    assert "text/html" not in response.headers["Content-Type"]
    for inside in ("Traceback", "werkzeug", "gunicorn", ".py", "/usr", "/home", "Python/"):
        assert inside not in response.text
        assert inside not in str(response.headers)
