"""A chat through every way to run LCH, every transport, and two clients: python-socketio's, and the one of browsers."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from lchook.sandbox.bodies import KINDS, webhook_body
from tests.support.clients import BOTH, Client, NodeClient, PythonClient, text_message
from tests.support.hooks import Hook

Connect = Callable[..., Client]


@pytest.mark.parametrize("transports", [("polling",), ("websocket",), BOTH], ids=["polling", "websocket", "upgrade"])
@pytest.mark.parametrize("connect", [PythonClient, NodeClient], ids=["python", "node"])
def test_messages_and_acknowledgements_go_both_ways(
    any_hook: Hook, customer: str, connect: Connect, transports: tuple[str, ...]
) -> None:
    with connect(any_hook.url, transports=transports) as client:
        assert client.transport == transports[-1]
        message = text_message(customer, "\u00e5\u4e2d\U0001f600", message_id=1700000000000)
        assert client.call("clientMessage", message) == {
            "status": "sent",
            "message_id": 1700000000000,
            "dms_status": 200,
        }
        assert any_hook.dms.wait_for(lambda body: body["customer_id"] == customer) == [message]

        payloads = [webhook_body(kind, customer) for kind in KINDS]
        for payload in payloads:
            response = any_hook.dms.send(customer, raw=json.dumps(payload).encode())
            assert (response.status_code, response.text) == (200, "OK")
        assert client.wait_for_messages(len(KINDS)) == payloads

        assert client.call("clientMessage", {"type": 1})["status"] == "rejected"
        [[text, detail]] = client.wait_for_errors(1)
        assert text == "Error forwarding request to external API"
        assert detail["status"] == "rejected"
        client.settle()
        assert len(client.messages) == len(KINDS)


def test_a_payload_is_the_same_to_the_last_character(hook: Hook, customer: str) -> None:
    payload = {
        "customer_id": customer,
        "type": "never_heard_of",
        "unknown": {"": [None, True, [], {}, -1.5, 2**53 - 1, "\U0001f600\u2028\u0000</script>"]},
        "_placeholder": True,
    }
    with NodeClient(hook.url) as node, hook.connect() as python:
        for client in (node, python):
            client.say(customer)
            response = hook.dms.send(customer, raw=json.dumps(payload).encode())
            assert response.status_code == 200
            assert client.wait_for_messages(1) == [payload]


def test_a_client_that_was_offline_sends_everything_at_once_and_nothing_is_lost(hook: Hook, customer: str) -> None:
    with NodeClient(hook.url, transports=["polling"], autoConnect=False, wait=False) as client:
        numbers = [client.emit("clientMessage", text_message(customer, str(number))) for number in range(100)]
        client.connect()

        assert [client.ack(number)["status"] for number in numbers] == ["sent"] * 100
    received = hook.dms.wait_for(lambda body: body["customer_id"] == customer)
    assert [body["text"] for body in received] == [[str(number)] for number in range(100)]


def test_many_messages_reach_a_polling_client_in_order(hook: Hook, customer: str) -> None:
    with NodeClient(hook.url, transports=["polling"]) as client:
        client.say(customer)
        for number in range(40):
            hook.webhook(customer, str(number))

        assert [message["text"] for message in client.wait_for_messages(40)] == [[str(number)] for number in range(40)]
