"""What a chat client sends, what DMS gets of it, and what the client is told."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest

from lchook.sandbox.faults import Answer
from tests.app.conftest import CreateHook
from tests.app.hook import Hook
from tests.support.clients import text_message
from tests.support.jwts import ISSUER, read

FORWARDING_FAILED = "Error forwarding request to external API"


def test_a_text_reaches_dms_and_its_sender_is_told(hook: Hook, customer: str) -> None:
    client = hook.connect()
    message = {
        **text_message(customer, "\u00e5\u4e2d\U0001f600", message_id=1700000000000),
        "attachments": [{"url": "https://files.example.com/1"}],
        "context_data": {"page": {"cart": [1, 2.5, None, 2**60]}},
    }

    acknowledgement = client.call("clientMessage", {**message, "unknown": 1, "text": [*message["text"], None]})

    assert acknowledgement == {
        "status": "sent",
        "message_id": 1700000000000,
        "dms_status": 200,
        "ignored": ["unknown"],
    }
    assert hook.dms.accepted == [message]
    assert client.errors == []


def test_a_post_has_exactly_the_headers_and_claims_of_the_contract(hook: Hook, customer: str) -> None:
    before = int(time.time())
    hook.connect().say(customer)

    [post] = hook.dms.received
    assert post.method == "POST"
    assert post.path == "/dms"
    assert post.headers["Content-Type"] == "application/json"
    assert post.headers["connection_id"] == ISSUER
    scheme, _, token = post.headers["Authorization"].partition(" ")
    assert scheme == "Bearer"
    header, claims = read(token)
    assert header == {"typ": "JWT", "alg": "HS256"}
    assert set(claims) == {"iss", "iat", "exp"}
    assert claims["iss"] == ISSUER
    assert before <= claims["iat"] <= time.time()
    assert claims["exp"] == claims["iat"] + 300


def test_the_lifetime_of_tokens_is_a_setting(create_hook: CreateHook, customer: str) -> None:
    hook = create_hook(jwt_ttl_seconds=90)
    hook.connect().say(customer)

    _, claims = read(hook.dms.received[0].headers["Authorization"].split()[1])
    assert claims["exp"] == claims["iat"] + 90


def test_a_netrc_file_does_not_replace_the_token(
    create_hook: CreateHook, customer: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "netrc"
    file.write_text("default login somebody password something\n")
    monkeypatch.setenv("NETRC", str(file))

    assert create_hook().connect().say(customer)["status"] == "sent"


@pytest.mark.parametrize(
    ("message", "body"),
    [
        ({"type": "typing_indicator"}, {"type": "typing_indicator"}),
        ({"type": "customer_end_session", "text": [None]}, {"type": "customer_end_session"}),
        ({"type": "never_heard_of", "text": ["x"]}, {"type": "never_heard_of", "text": ["x"]}),
        (
            {"type": "text", "text": ["buy"], "postback": "buy", "message_id": "m-1"},
            {"type": "text", "text": ["buy"], "postback": "buy", "message_id": "m-1"},
        ),
    ],
    ids=lambda fields: fields["type"],
)
def test_the_other_messages_travel_too(hook: Hook, customer: str, message: dict[str, Any], body: dict[str, Any]) -> None:
    hook.dms.takes_unknown = True
    assert hook.connect().call("clientMessage", {"customer_id": customer, **message})["status"] == "sent"

    assert hook.dms.accepted == [{"customer_id": customer, **body}]


def test_a_text_without_a_message_id_gets_one_and_its_sender_learns_it(hook: Hook, customer: str) -> None:
    acknowledgement = hook.connect().say(customer, message_id=None)

    assert acknowledgement["message_id"] == hook.dms.accepted[0]["message_id"]
    uuid.UUID(acknowledgement["message_id"])


@pytest.mark.parametrize("status", [201, 202, 204])
def test_every_2xx_is_a_success(hook: Hook, customer: str, status: int) -> None:
    hook.dms.answer = lambda message: Answer(status=status, body=b"" if status == 204 else None)
    client = hook.connect()

    assert client.say(customer, message_id=1) == {"status": "sent", "message_id": 1, "dms_status": status}
    assert client.errors == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500])
def test_what_dms_refuses_fails_with_its_status_and_is_not_posted_again(hook: Hook, customer: str, status: int) -> None:
    hook.dms.answer = lambda message: Answer(status=status)
    client = hook.connect()

    acknowledgement = client.say(customer, message_id=1)

    assert acknowledgement == {
        "status": "failed",
        "message_id": 1,
        "dms_status": status,
        "error": f"DMS answered {status}",
    }
    assert client.errors == [[FORWARDING_FAILED, acknowledgement]]
    assert len(hook.dms.received) == 1


@pytest.mark.parametrize(
    "args",
    [
        pytest.param([], id="no argument"),
        pytest.param([None], id="null"),
        pytest.param(["text"], id="a string"),
        pytest.param([17], id="a number"),
        pytest.param([[1, 2]], id="a list"),
        pytest.param([{}], id="an empty object"),
        pytest.param([b"\x00\x01"], id="binary"),
        pytest.param([{"type": "text", "customer_id": True}], id="boolean customer_id"),
        pytest.param([{"type": "text", "customer_id": "c", "text": {}}], id="object as text"),
        pytest.param([{"type": "text", "customer_id": "c", "text": [b"\x00"]}], id="binary inside"),
        pytest.param([{"type": "text", "customer_id": "c", "message_id": {}}], id="object as message_id"),
        pytest.param([{"type": "x", "customer_id": "c", "context_data": {"a": b"\x00"}}], id="binary deep inside"),
    ],
)
@pytest.mark.parametrize("with_callback", [True, False], ids=["callback", "no callback"])
def test_a_malformed_message_is_answered_in_words_and_costs_nothing(
    hook: Hook, customer: str, args: list[Any], with_callback: bool
) -> None:
    client = hook.connect()

    if with_callback:
        acknowledgement = client.call("clientMessage", *args)
        assert set(acknowledgement) == {"status", "error"}
        assert acknowledgement["status"] == "rejected"
        assert acknowledgement["error"]
    else:
        client.send_without_callback("clientMessage", *args)

    # Binary data comes in packets of its own, and each is refused.
    [[text, detail], *_] = client.errors
    assert text == FORWARDING_FAILED
    assert detail["status"] == "rejected"
    assert hook.dms.received == []
    assert client.is_connected
    assert client.say(customer)["status"] == "sent"


def test_too_many_arguments_do_not_matter(hook: Hook, customer: str) -> None:
    assert hook.connect().call("clientMessage", text_message(customer), 2, {"three": 3})["status"] == "sent"


def test_a_message_that_is_too_large_is_rejected_in_words(create_hook: CreateHook, customer: str) -> None:
    client = create_hook(max_message_bytes=1000).connect()

    assert client.say(customer, "x" * 1000) == {"status": "rejected", "error": "the message is larger than 1000 bytes"}


@pytest.mark.parametrize("event", ["clientmessage", "message", "json", "disconnected", "connect", "disconnect", ""])
def test_an_unknown_event_is_answered_in_words(hook: Hook, customer: str, event: str) -> None:
    client = hook.connect()

    assert client.call(event, {"a": 1}) == {"status": "rejected", "error": "unknown event: send clientMessage"}
    client.send_without_callback(event)
    assert client.say(customer)["status"] == "sent"


@pytest.mark.parametrize("args", [[], [None], ["a"], [{"a": [1, None]}], [[]], [1, "two", {"three": 3}]], ids=repr)
def test_a_server_message_from_a_client_comes_straight_back_to_it_alone(hook: Hook, args: list[Any]) -> None:
    client, other = hook.connect(), hook.connect()

    client.call("serverMessage", *args)
    client.send_without_callback("serverMessage", *args)

    assert client.events("serverMessage") == [args, args]
    assert other.events("serverMessage") == []
    assert hook.dms.received == []


def test_only_the_socket_that_spoke_last_receives(hook: Hook, customer: str) -> None:
    sockets = [hook.connect() for _ in range(5)]
    for socket in sockets[:4]:
        socket.say(customer)

    sockets[1].say(customer)

    hook.webhook({"type": "text", "customer_id": customer, "text": ["to the second"]})

    assert [len(socket.messages) for socket in sockets] == [0, 1, 0, 0, 0]


@pytest.mark.parametrize("type_", ["text", "typing_indicator", "customer_end_session"])
def test_a_customer_is_reached_where_they_sent_anything_at_all(hook: Hook, customer: str, type_: str) -> None:
    client = hook.connect()
    client.call("clientMessage", {"type": type_, "customer_id": customer, "text": ["x"]})

    hook.webhook({"type": "text", "customer_id": customer, "text": ["Hi"]})

    assert len(client.wait_for_messages(1)) == 1


def test_a_customer_is_reached_though_dms_refused_their_message(hook: Hook, customer: str) -> None:
    hook.dms.answer = lambda message: Answer(status=400)
    client = hook.connect()
    client.say(customer)

    hook.webhook({"type": "text", "customer_id": customer, "text": ["Hi"]})

    client.wait_for_messages(1)


def test_a_socket_that_spoke_for_several_customers_receives_for_all_until_it_ends(hook: Hook, customer: str) -> None:
    shared, other = hook.connect(), hook.connect()
    customers = [f"{customer}-{number}" for number in range(4)]
    for customer_id in customers:
        shared.say(customer_id)
    other.say(customers[3])

    for customer_id in customers:
        assert hook.webhook({"type": "text", "customer_id": customer_id, "text": ["Hi"]}).status_code == 200
    assert [message["customer_id"] for message in shared.wait_for_messages(3)] == customers[:3]
    assert [message["customer_id"] for message in other.wait_for_messages(1)] == customers[3:]

    shared.disconnect()
    for customer_id in customers:
        assert hook.webhook({"type": "text", "customer_id": customer_id, "text": ["still there?"]}).status_code == 200
    assert [message["customer_id"] for message in other.wait_for_messages(2)] == [customers[3]] * 2


def test_the_unauthenticated_person_is_a_customer_too(hook: Hook) -> None:
    client = hook.connect()
    assert client.say("")["status"] == "sent"

    hook.webhook({"type": "text", "customer_id": hook.dms.accepted[0]["customer_id"], "text": ["Hi"]})

    client.wait_for_messages(1)
