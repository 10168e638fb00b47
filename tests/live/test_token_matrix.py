"""Which webhooks a live LCH believes."""

from __future__ import annotations

import json
import time

import pytest

from tests.support.hooks import Hook, text_body
from tests.support.jwts import ISSUER, SECRET, mint, tampered
from tests.support.waiting import wait_until


def now() -> int:
    return int(time.time())


@pytest.mark.parametrize(
    "authorization",
    [
        pytest.param(lambda: f"Bearer {mint()}", id="good"),
        pytest.param(lambda: f"bearer {mint()}", id="bearer in lower case"),
        pytest.param(lambda: f"Bearer {mint(without=('exp',))}", id="without exp"),
        pytest.param(lambda: f"Bearer {mint(iat=now() - 290, exp=now() + 10)}", id="nearly five minutes old"),
        pytest.param(lambda: f"Bearer {mint(iat=now() + 20)}", id="clock a little ahead"),
        pytest.param(lambda: f"Bearer {mint(iat=now() + 290, exp=now() + 320)}", id="clock minutes ahead"),
        pytest.param(lambda: f"Bearer {mint(aud='LCH', sub='x', jti='1')}", id="more claims"),
    ],
)
def test_a_good_token_is_believed(hook: Hook, customer: str, authorization: object) -> None:
    with hook.connect() as client:
        client.say(customer)

        response = post(hook, customer, authorization())  # type: ignore[operator]

        assert (response.status_code, response.text) == (200, "OK")
        client.wait_for_messages(1)


@pytest.mark.parametrize(
    ("authorization", "words"),
    [
        pytest.param(lambda: None, "missing", id="missing"),
        pytest.param(lambda: "", "missing", id="empty"),
        pytest.param(lambda: "Bearer", "must be 'Bearer <token>'", id="no token"),
        pytest.param(lambda: mint(), "must be 'Bearer <token>'", id="no scheme"),
        pytest.param(lambda: f"Basic {mint()}", "must be 'Bearer <token>'", id="another scheme"),
        pytest.param(lambda: f"Bearer {mint(secret=SECRET[:-1])}", "signature", id="wrong key"),
        pytest.param(lambda: f"Bearer {mint(secret='')}", "signature", id="empty key"),
        pytest.param(lambda: f"Bearer {mint(iss='another')}", "iss", id="wrong issuer"),
        pytest.param(lambda: f"Bearer {mint(without=('iss',))}", "iss", id="no issuer"),
        pytest.param(lambda: f"Bearer {mint(without=('iat',))}", "iat", id="no iat"),
        pytest.param(lambda: f"Bearer {mint(iat=now() - 305, exp=now() + 60)}", "older", id="too old"),
        pytest.param(lambda: f"Bearer {mint(iat=now() + 320, exp=now() + 350)}", "future", id="from the future"),
        pytest.param(lambda: f"Bearer {mint(iat=now() - 40, exp=now() - 10)}", "expired", id="expired"),
        pytest.param(lambda: f"Bearer {mint(algorithm='none')}", "HS256", id="alg none"),
        pytest.param(lambda: f"Bearer {mint(algorithm='HS512')}", "HS256", id="alg HS512"),
        pytest.param(lambda: f"Bearer {tampered(mint(), exp=now() + 9999)}", "signature", id="tampered"),
        pytest.param(lambda: "Bearer garbage", "readable", id="garbage"),
        pytest.param(lambda: "Bearer " + "x" * 5000, "readable", id="long garbage"),
        pytest.param(lambda: b"Bearer \xff\xfe.\x80.x", "readable", id="binary garbage"),
    ],
)
def test_a_bad_token_is_answered_401_in_words_and_reaches_nobody(
    hook: Hook, customer: str, authorization: object, words: str
) -> None:
    with hook.connect() as client:
        client.say(customer)

        response = post(hook, customer, authorization())  # type: ignore[operator]

        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert response.headers["Content-Type"] == "application/json"
        assert set(response.json()) == {"error"}
        assert words in response.json()["error"]
        client.settle()
        assert client.messages == []


def test_the_connection_id_header_changes_nothing(hook: Hook, customer: str) -> None:
    for connection_id in (ISSUER, "another"):
        assert hook.dms.send(customer, headers={"connection_id": connection_id}).status_code == 200
        assert hook.dms.send(customer, token="garbage", headers={"connection_id": connection_id}).status_code == 401


def test_with_webhook_auth_off_all_are_believed_and_the_log_says_so_loudly(open_gunicorn: Hook, customer: str) -> None:
    # The log's thread writes it a moment after the start.
    wait_until(lambda: "WEBHOOK_AUTH=off: ANYBODY" in open_gunicorn.server.log, "the warning")
    assert "WARNING" in open_gunicorn.server.log
    with open_gunicorn.connect() as client:
        client.say(customer)
        for authorization in (None, "Bearer garbage", f"Bearer {mint(iss='another')}"):
            assert post(open_gunicorn, customer, authorization).status_code == 200
        assert open_gunicorn.post_raw(b"{").status_code == 400
        client.wait_for_messages(3)


def test_by_default_nothing_is_off(hook: Hook) -> None:
    assert "WEBHOOK_AUTH" not in hook.server.log


def test_neither_the_secret_nor_a_token_shows_in_the_log(hook: Hook, customer: str) -> None:
    good, bad = mint(), mint(secret="another secret than the right one")
    for token in (good, bad):
        hook.post_raw(json.dumps(text_body(customer)).encode(), token=token)

    assert "a webhook was refused" in hook.server.log
    for hidden in (SECRET, good, bad, bad.split(".")[2]):
        assert hidden not in hook.server.log


def post(hook: Hook, customer_id: str, authorization: str | bytes | None):  # type: ignore[no-untyped-def]
    body = json.dumps(text_body(customer_id)).encode()
    return hook.post_raw(body, Authorization=authorization)  # type: ignore[arg-type]
