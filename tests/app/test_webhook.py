"""What DMS posts to the webhook, what the customer gets of it, and what DMS is answered."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lchook.sandbox.bodies import KINDS, webhook_body
from tests.app.conftest import CreateHook
from tests.app.hook import Hook
from tests.support.jwts import ISSUER, mint


@pytest.mark.parametrize("kind", KINDS)
def test_each_type_reaches_the_customer_verbatim(hook: Hook, customer: str, kind: str) -> None:
    client = hook.connect()
    client.say(customer)
    payload = webhook_body(kind, customer)

    response = hook.webhook(payload)

    assert (response.status_code, response.text) == (200, "OK")
    assert client.wait_for_messages(1) == [payload]


def test_unknown_fields_unicode_and_large_numbers_reach_the_customer_verbatim(hook: Hook, customer: str) -> None:
    client = hook.connect()
    client.say(customer)
    payload: dict[str, Any] = {
        "customer_id": customer,
        "type": "never_heard_of",
        "": None,
        "nested": {"list": [[], {}, [None, True, 1.5, -0.25, 2**80, "\U0001f600\u2028\x00"]]},
        "_placeholder": True,
        "num": 0,
        "<b>": "</script>",
    }

    assert hook.webhook(payload).status_code == 200

    assert client.wait_for_messages(1) == [payload]


def test_a_body_without_a_type_reaches_the_customer(hook: Hook, customer: str) -> None:
    client = hook.connect()
    client.say(customer)

    assert hook.webhook({"customer_id": customer}).status_code == 200
    assert client.wait_for_messages(1) == [{"customer_id": customer}]


def test_the_content_type_does_not_matter(hook: Hook, customer: str) -> None:
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        response = hook.webhook({"customer_id": customer, "type": "text"}, headers={"Content-Type": content_type})
        assert response.status_code == 200


def test_a_customer_nobody_has_heard_of_is_answered_200(hook: Hook, customer: str) -> None:
    assert hook.webhook(webhook_body("text", customer)).status_code == 200
    assert hook.webhook(webhook_body("text", "")).status_code == 200


def test_a_customer_who_left_is_answered_200(hook: Hook, customer: str) -> None:
    client = hook.connect()
    client.say(customer)
    client.disconnect()

    assert hook.webhook(webhook_body("text", customer)).status_code == 200


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"no JSON", "JSON"),
        (b"\xff\xfe\x00", "JSON"),
        (b'{"customer_id": "\xff"}', "JSON"),
        (b"null", "object"),
        (b"[]", "object"),
        (b"17", "object"),
        (b"{}", "customer_id"),
        (b'{"customer_id": null}', "customer_id"),
        (b'{"customer_id": true}', "customer_id"),
        (b'{"customer_id": {}}', "customer_id"),
        (b'{"customer_id": "c", "x": NaN}', "JSON"),
        (b'{"customer_id": "c", "x": 1e999}', "JSON"),
        (b"[" * 100_000, "JSON"),
    ],
    ids=lambda value: repr(value[:30]),
)
def test_what_is_no_message_is_answered_400_in_words(hook: Hook, body: bytes, words: str) -> None:
    response = hook.webhook(body)

    assert response.status_code == 400
    assert response.content_type == "application/json"
    assert set(response.json or {}) == {"error"}
    assert words in (response.json or {})["error"]


@pytest.mark.parametrize("depth", [50, 200, 300, 400, 500, 700, 900, 950, 975, 1000, 2000])
def test_however_deeply_a_body_is_nested_the_answer_is_200_or_400(hook: Hook, customer: str, depth: int) -> None:
    client = hook.connect()
    client.say(customer)
    nested = b"[" * depth + b"]" * depth
    raw = b'{"customer_id": "%s", "type": "text", "a": %s}' % (customer.encode(), nested)

    response = hook.webhook(raw)

    assert response.status_code in (200, 400)
    assert len(client.messages) == (1 if response.status_code == 200 else 0)


def test_a_customer_id_that_is_no_unicode_does_no_harm(hook: Hook) -> None:
    assert hook.webhook(b'{"customer_id": "\\ud800", "type": "text"}').status_code in (200, 400)
    assert hook.connect().say("\ud800")["status"] in ("sent", "rejected")


def test_a_body_that_is_too_large_is_answered_413_in_words(create_hook: CreateHook, customer: str) -> None:
    hook = create_hook(max_message_bytes=1000)
    body = json.dumps({"customer_id": customer, "text": [""]}).encode()

    assert hook.webhook(body.ljust(1000)).status_code == 200
    response = hook.webhook(body.ljust(1001))
    assert response.status_code == 413
    assert response.content_type == "application/json"
    assert (response.json or {})["error"]


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("", id="missing"),
        pytest.param(mint(secret="another secret than the right one"), id="wrong key"),
        pytest.param(mint(algorithm="none"), id="alg none"),
    ],
)
def test_an_unsigned_webhook_is_answered_401_and_reaches_nobody(hook: Hook, customer: str, token: str) -> None:
    client = hook.connect()
    client.say(customer)

    response = hook.webhook(webhook_body("text", customer), token=token)

    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert response.content_type == "application/json"
    assert (response.json or {})["error"]
    assert client.messages == []


def test_who_has_no_token_is_not_told_what_is_wrong_with_the_body(hook: Hook) -> None:
    assert hook.webhook(b"{", token="").status_code == 401


@pytest.mark.parametrize("connection_id", [ISSUER, "another", ""])
def test_the_connection_id_header_says_nothing_that_the_token_does_not(
    hook: Hook, customer: str, connection_id: str
) -> None:
    response = hook.webhook(webhook_body("text", customer), headers={"connection_id": connection_id})

    assert response.status_code == 200


def test_with_webhook_auth_off_anybody_is_believed_and_the_log_says_so(
    create_hook: CreateHook, customer: str, caplog: pytest.LogCaptureFixture
) -> None:
    hook = create_hook(webhook_auth="off")
    client = hook.connect()
    client.say(customer)

    assert hook.webhook(webhook_body("text", customer), token="").status_code == 200
    assert hook.webhook(webhook_body("text", customer), token="garbage").status_code == 200
    assert hook.webhook(b"{", token="").status_code == 400
    client.wait_for_messages(2)
    [warning] = [record for record in caplog.records if "WEBHOOK_AUTH=off" in record.message]
    assert warning.levelname == "WARNING"
    assert "ANYBODY" in warning.message


def test_by_default_nothing_is_said_about_webhook_auth(hook: Hook, caplog: pytest.LogCaptureFixture) -> None:
    assert "WEBHOOK_AUTH" not in caplog.text


def test_a_browser_is_told_in_one_line_that_the_hook_is_here(create_hook: CreateHook) -> None:
    hook = create_hook(allowed_origins=("https://chat.example.com",))

    response = hook.get("/webhook", headers={"Origin": "https://chat.example.com"})

    assert response.status_code == 200
    assert response.mimetype == "text/plain"
    assert response.text.count("\n") == 1
    assert response.headers["Access-Control-Allow-Origin"] == "https://chat.example.com"
    foreign = hook.get("/webhook", headers={"Origin": "https://evil.example.com"})
    assert "Access-Control-Allow-Origin" not in foreign.headers


def test_other_addresses_and_methods_are_answered_in_json(hook: Hook) -> None:
    for response, status in (
        (hook.get("/nowhere"), 404),
        (hook.app.test_client().put("/webhook"), 405),
        (hook.app.test_client().delete("/webhook"), 405),
    ):
        assert response.status_code == status
        assert response.content_type == "application/json"
        assert set(response.json or {}) == {"error"}


def test_neither_secret_nor_token_nor_text_shows_in_the_log(
    hook: Hook, customer: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "lchook")
    client = hook.connect()
    client.say(customer, "my card number")
    token = mint(secret="another secret than the right one")
    hook.webhook(webhook_body("text", customer, text=["your card number"]))
    hook.webhook(webhook_body("text", customer), token=token)

    ours = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("lchook"))
    assert customer in ours
    assert "card number" not in ours
    assert token not in ours
    assert "another secret" not in ours


def test_a_customer_id_cannot_forge_a_log_line(hook: Hook, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "lchook")
    forged = "c1\n2030-01-01 ERROR lchook: all is lost"

    hook.connect().say(forged)
    hook.webhook({"customer_id": forged, "type": forged})

    assert "all is lost" in caplog.text
    assert not any("\n" in record.getMessage() for record in caplog.records if record.name.startswith("lchook"))
