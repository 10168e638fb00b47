"""With CUSTOMER_TOKEN_SECRET a socket speaks and listens for the customer of its token, and for nobody else."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import socketio
from socketio.exceptions import ConnectionError as NotConnectedError

from config import SettingsError, load
from lchook.core.authentication import Identity
from lchook.core.messages import MessageError
from lchook.core.rate_limiter import RateLimiter
from lchook.web.clients import Client, Clients
from tests.security.conftest import CUSTOMER_SECRET
from tests.support.clients import NodeClient, NodeProcess, PythonClient, WebSockets, text_message
from tests.support.hooks import Hook, running_hook, text_body
from tests.support.jwts import ISSUER, SECRET, mint, tampered
from tests.support.servers import gunicorn_command
from tests.support.waiting import wait_until

NEW_SECRET = "the site's next secret, which is just as long as this"


def token(customer: object, *, seconds: float = 60, secret: str = CUSTOMER_SECRET, **more: Any) -> str:
    """What the site's backend issues."""
    return mint(secret=secret, without=("iss", "iat"), sub=customer, exp=int(time.time() + seconds), **more)


def refusal(url: str, auth: Any) -> str:
    """What the client is told at `connect_error`; fails where it may connect."""
    told: list[Any] = []
    websockets = WebSockets()
    client = socketio.Client(reconnection=False, websocket_extra_options={"class_": websockets})
    client.on("connect_error", told.append)
    with pytest.raises(NotConnectedError):
        client.connect(url, transports=["websocket"], auth=auth, wait_timeout=10)
    client.disconnect()
    websockets.close()
    wait_until(lambda: told, "connect_error")
    return str(told[0]["message"])


def test_a_customer_with_a_token_listens_from_the_moment_they_connect(strict: Hook, customer: str) -> None:
    assert strict.webhook(customer, "while you were away").status_code == 200
    with strict.connect(auth={"token": token(customer)}) as client:
        assert client.wait_for_messages(1)[0]["text"] == ["while you were away"]
        strict.webhook(customer, "and now")
        assert client.wait_for_messages(2)[1]["text"] == ["and now"]
        assert client.say(customer)["status"] == "sent"


def test_the_browsers_client_with_a_token_listens_and_speaks(strict: Hook, customer: str) -> None:
    with NodeClient(strict.url, auth={"token": token(customer)}) as client:
        strict.webhook(customer, "welcome")
        client.wait_for_messages(1)
        assert client.say(customer)["status"] == "sent"


REFUSED: list[tuple[str, Callable[[str], Any], str]] = [
    ("no auth", lambda customer: None, "a token is required"),
    ("no token", lambda customer: {"customer_id": customer}, "a token is required"),
    ("null", lambda customer: {"token": None}, "must be a JWT"),
    ("a number", lambda customer: {"token": 17}, "must be a JWT"),
    ("a list", lambda customer: {"token": [token(customer)]}, "must be a JWT"),
    ("empty", lambda customer: {"token": ""}, "readable"),
    ("garbage", lambda customer: {"token": "a.b.c"}, "readable"),
    ("long garbage", lambda customer: {"token": "x." * 50_000}, "readable"),
    ("wrong key", lambda customer: {"token": token(customer, secret=NEW_SECRET)}, "signature"),
    ("empty key", lambda customer: {"token": token(customer, secret="")}, "signature"),
    ("tampered", lambda customer: {"token": tampered(token("somebody"), sub=customer)}, "signature"),
    ("expired", lambda customer: {"token": token(customer, seconds=-1)}, "expired"),
    ("not yet", lambda customer: {"token": token(customer, nbf=int(time.time()) + 600)}, "not valid yet"),
    ("alg none", lambda customer: {"token": token(customer, algorithm="none")}, "HS256"),
    ("alg HS512", lambda customer: {"token": token(customer, algorithm="HS512")}, "HS256"),
    ("no sub", lambda customer: {"token": mint(secret=CUSTOMER_SECRET)}, "sub"),
    ("numeric sub", lambda customer: {"token": token(17)}, "sub must be the customer's id"),
    ("empty sub", lambda customer: {"token": token("")}, "sub must be the customer's id"),
    ("null sub", lambda customer: {"token": token(None)}, "sub"),
    ("endless sub", lambda customer: {"token": token("x" * 257)}, "not acceptable"),
    ("no exp", lambda customer: {"token": mint(secret=CUSTOMER_SECRET, sub=customer, without=("exp",))}, "exp"),
    ("exp no number", lambda customer: {"token": mint(secret=CUSTOMER_SECRET, sub=customer, exp="tomorrow")}, "exp"),
    ("exp true", lambda customer: {"token": mint(secret=CUSTOMER_SECRET, sub=customer, exp=True)}, "exp"),
    ("exp infinite", lambda customer: {"token": mint(secret=CUSTOMER_SECRET, sub=customer, exp=float("inf"))}, "exp"),
    ("the webhook's key", lambda customer: {"token": token(customer, secret=SECRET)}, "signature"),
]


@pytest.mark.parametrize(("auth", "words"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_without_a_good_token_the_connection_is_refused_in_words(
    strict: Hook, customer: str, auth: Callable[[str], Any], words: str
) -> None:
    assert words in refusal(strict.url, auth(customer))


def test_the_browsers_client_sees_the_reason_too(strict: Hook, customer: str) -> None:
    with NodeClient(strict.url, auth={"token": token(customer, seconds=-1)}) as client:
        assert client.refused == "the token has expired (exp)"
    with NodeClient(strict.url) as client:
        assert client.refused == "a token is required: connect with auth: {token}"


@pytest.mark.parametrize("claim", ["{customer}-not", "", "{customer} ", "anon-aaaaaaaaaaaaaaaaaaaaaaaa", None, 17])
def test_a_socket_cannot_speak_or_listen_for_another_customer(strict: Hook, customer: str, claim: Any) -> None:
    claimed = claim.format(customer=customer) if isinstance(claim, str) else claim
    with strict.connect(auth={"token": token(customer), "customer_id": claimed}) as client:
        acknowledgement = client.call("clientMessage", text_message(claimed, "I am somebody else"))
        assert acknowledgement["status"] == "rejected"
        assert "customer_id" in acknowledgement["error"]
        if isinstance(claimed, str) and claimed:
            assert strict.webhook(claimed, "for somebody else").status_code == 200
        client.settle()
        assert client.messages == []
        assert client.say(customer)["status"] == "sent"
    assert not any("somebody else" in str(post.body) for post in strict.dms.received)


def test_a_socket_whose_token_expires_is_closed_and_its_client_comes_back_by_itself_with_a_new_one(
    strict: Hook, customer: str
) -> None:
    told: list[dict[str, Any]] = []
    script = Path(__file__).parent / "js" / "fresh_tokens.mjs"
    tokens = [token(customer, seconds=1.9), token(customer)]
    client = NodeProcess(script, strict.url, json.dumps(tokens), tell=told.append)
    try:
        wait_until(lambda: [line["tells"] for line in told] == ["connected", "disconnected", "connected"], lambda: told)
        assert told[1]["reason"] == "transport close"
        strict.webhook(customer, "you are back")
        wait_until(lambda: told[3:] == [{"tells": "message", "text": "you are back"}], lambda: told)
    finally:
        client.close()
    assert "the token has expired: the socket is closed" in strict.server.log


def test_a_message_after_the_tokens_end_is_rejected_even_before_the_socket_is_closed() -> None:
    clock = [1000.0]
    identity = Identity("c1", None, proven=True, expires_at=1060.0)
    assert identity.resolve_customer("c1") == "c1"
    clients = Clients(RateLimiter(10, clock=time.monotonic), Counter(), lambda: clock[0])
    clients.add("s", Client(identity))
    assert clients.resolve_customer("s", "c1") == "c1"
    clock[0] = 1060.0
    with pytest.raises(MessageError, match="token has expired"):
        clients.resolve_customer("s", "c1")


def test_the_browsers_client_that_comes_back_with_its_expired_token_is_told_why_not(strict: Hook, customer: str) -> None:
    auth = {"token": token(customer, seconds=1.9)}
    with NodeClient(strict.url, transports=("websocket",), reconnection=True, reconnectionDelay=100, auth=auth) as client:
        assert client.transport == "websocket"
        # With the old token again, which is refused: the page is told why, and can fetch a new one.
        wait_until(lambda: client.refused == "the token has expired (exp)", lambda: f"the refusal, not {client.refused}")


@pytest.mark.parametrize("kept", [True, False], ids=["while both are valid", "once the old one is gone"])
def test_a_secret_is_changed_without_locking_anybody_out(kept: bool, customer: str) -> None:
    previous = {"CUSTOMER_TOKEN_SECRET_PREVIOUS": CUSTOMER_SECRET, "JWT_SECRET_PREVIOUS": "the old secret of DMS"}
    settings = {"CUSTOMER_TOKEN_SECRET": NEW_SECRET, **(previous if kept else {})}
    with running_hook(gunicorn_command, **settings) as hook:
        with hook.connect(auth={"token": token(customer, secret=NEW_SECRET)}) as client:
            assert client.say(customer)["status"] == "sent"
        old_webhook = hook.dms.send(customer, "text", text=["x"], token=mint(secret="the old secret of DMS"))
        if kept:
            with hook.connect(auth={"token": token(customer)}) as client:
                assert client.say(customer)["status"] == "sent"
            assert old_webhook.status_code == 200
        else:
            assert "signature" in refusal(hook.url, {"token": token(customer)})
            assert old_webhook.status_code == 401
        assert hook.webhook(customer).status_code == 200


def test_a_webhooks_token_opens_no_socket_and_a_customers_token_no_webhook(strict: Hook, customer: str) -> None:
    # The sandbox signs as DMS does.
    webhook_token = mint()
    assert strict.dms.send(customer, token=webhook_token).status_code == 200
    assert "signature" in refusal(strict.url, {"token": webhook_token})
    assert strict.dms.send(customer, token=token(customer)).status_code == 401


@pytest.mark.parametrize("customers", ["CUSTOMER_TOKEN_SECRET", "CUSTOMER_TOKEN_SECRET_PREVIOUS"])
@pytest.mark.parametrize("webhooks", ["JWT_SECRET", "JWT_SECRET_PREVIOUS"])
def test_one_secret_for_both_kinds_of_tokens_does_not_start(customers: str, webhooks: str) -> None:
    environ = {"DMS_URL": "https://dms.example.com", "JWT_ISSUER": ISSUER, "JWT_SECRET": "another", customers: SECRET}
    with pytest.raises(SettingsError, match=f"{customers}: is wrong: it should be a secret of its own"):
        load({**environ, webhooks: SECRET}, dotenv=None)
    assert load(environ, dotenv=None)


def test_nobody_hears_a_customer_by_naming_them(strict: Hook, customer: str) -> None:
    strict.dms.send(customer, **{name: value for name, value in text_body(customer).items() if name == "text"})
    with pytest.raises(NotConnectedError):
        PythonClient(strict.url, auth={"customer_id": customer})
