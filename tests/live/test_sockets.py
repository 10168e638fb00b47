"""Sockets that come and go, speak for several customers, are silent, or talk rubbish."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import websocket

from tests.support.clients import NodeClient, PythonClient, text_message
from tests.support.hooks import Hook
from tests.support.raw_socket_io import RawPolling, RawWebSocket
from tests.support.waiting import wait_until


def test_only_the_socket_that_spoke_last_receives(hook: Hook, customer: str) -> None:
    clients = [hook.connect("websocket" if number % 2 else "polling") for number in range(6)]
    try:
        for turn, speaker in enumerate([0, 3, 1, 1, 4]):
            clients[speaker].say(customer)
            before = len(clients[speaker].messages)
            hook.webhook(customer, str(turn))
            clients[speaker].wait_for_messages(before + 1)
        for client in clients:
            client.settle()
        assert [[message["text"][0] for message in client.messages] for client in clients] == [
            ["0"],
            ["2", "3"],
            [],
            ["1"],
            ["4"],
            [],
        ]
    finally:
        for client in clients:
            client.close()


def test_the_end_of_a_socket_ends_it_for_all_customers_it_spoke_for_and_no_other(hook: Hook, customer: str) -> None:
    customers = [f"{customer}-{number}" for number in range(4)]
    with hook.connect() as other:
        with hook.connect() as shared:
            for customer_id in customers:
                shared.say(customer_id)
                hook.webhook(customer_id)
            shared.wait_for_messages(4)
            other.say(customers[3])
        wait_until(lambda: re.search(f"closed.*{customers[2]}", hook.server.log), "the end of it in the log")

        for customer_id in customers:
            assert hook.webhook(customer_id, "to the other").status_code == 200
        assert [message["customer_id"] for message in other.wait_for_messages(1)] == [customers[3]]
        # Those who come back are reached where they are now.
        other.say(customers[1])
        hook.webhook(customers[1], "welcome back")
        wait_until(
            lambda: [customers[1], ["welcome back"]] in [[m["customer_id"], m["text"]] for m in other.messages],
            "the answer",
        )
        other.settle()
        assert {message["customer_id"] for message in other.messages} == {customers[1], customers[3]}


@pytest.mark.parametrize("args", [[], [None], ["a"], [{"a": [1, None, "\u00e5"]}], [1, "two", [3]]], ids=repr)
@pytest.mark.parametrize("connect", [PythonClient, NodeClient], ids=["python", "node"])
def test_a_server_message_from_a_client_comes_straight_back(hook: Hook, connect: type[Any], args: list[Any]) -> None:
    with connect(hook.url) as client, hook.connect() as other:
        assert client.call("serverMessage", *args) is None
        wait_until(lambda: ("serverMessage", args) in client._came, "the echo")
        other.settle()
        assert other.messages == []


def test_a_message_that_is_not_acknowledged_in_time_is_logged_as_an_error(hook: Hook, customer: str) -> None:
    with NodeClient(hook.url, acknowledge=False) as silent:
        silent.say(customer)
        hook.webhook(customer)
        silent.wait_for_messages(1)

        line = wait_until(
            lambda: next((line for line in error_lines(hook) if customer in line), None), "an error in the log"
        )
        assert "not acknowledged" in line
        assert "0.5 s" in line
        assert len(silent.messages) == 1


def test_a_message_that_is_acknowledged_is_no_error(hook: Hook, customer: str) -> None:
    with NodeClient(hook.url) as client, NodeClient(hook.url, acknowledge=False) as silent:
        client.say(customer)
        hook.webhook(customer)
        client.wait_for_messages(1)
        # By the time that the silent one is in the log, the other would be, too.
        silent.say(f"silent-{customer}")
        hook.webhook(f"silent-{customer}")
        wait_until(lambda: any(f"silent-{customer}" in line for line in error_lines(hook)), "an error in the log")

        assert not any(f"'{customer}'" in line for line in error_lines(hook))


@pytest.mark.parametrize(
    "args",
    [
        [],
        [None],
        ["text"],
        [17],
        [[1]],
        [{}],
        [b"\x00\xff"],
        [{"type": "text", "customer_id": True}],
        [{"type": "text", "customer_id": "c", "text": {}}],
        [{"type": "text", "customer_id": "c", "text": [b"\x00"]}],
        [{"type": "text", "customer_id": "c", "text": ["x"], "context_data": [[]]}],
    ],
    ids=repr,
)
@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_a_malformed_message_is_answered_in_words_and_costs_nothing(
    hook: Hook, customer: str, args: list[Any], transport: str
) -> None:
    with hook.connect(transport) as client:
        acknowledgement = client.call("clientMessage", *args)
        assert acknowledgement["status"] == "rejected"
        assert acknowledgement["error"]
        client.send_without_callback("clientMessage", tuple(args))

        for error in client.wait_for_errors(2):
            assert error == ["Error forwarding request to external API", acknowledgement]
        assert client.say(customer)["status"] == "sent"


def test_too_many_arguments_and_unknown_events_cost_nothing(hook: Hook, customer: str) -> None:
    with hook.connect() as client:
        assert client.call("clientMessage", text_message(customer), 2, [3])["status"] == "sent"
        assert client.call("never_heard_of", 1)["status"] == "rejected"
        client.send_without_callback("never_heard_of")
        assert client.say(customer)["status"] == "sent"


def test_a_polling_client_loses_nothing_of_a_hundred_packets_in_one_request(any_hook: Hook, customer: str) -> None:
    with RawPolling(any_hook.url) as client:
        client.send(
            *(f"42{number}{json.dumps(['clientMessage', text_message(customer, str(number))])}" for number in range(100))
        )
        acknowledgements = client.wait_for("43", 100)

    assert all('"status":"sent"' in packet for packet in acknowledgements)
    received = any_hook.dms.wait_for(lambda body: body["customer_id"] == customer)
    assert [body["text"] for body in received] == [[str(number)] for number in range(100)]


@pytest.fixture
def bystander(hook: Hook, customer: str) -> Iterator[PythonClient]:
    """Another client, who must not notice anything."""
    with hook.connect() as bystander:
        bystander.say(f"bystander-{customer}")
        yield bystander
        assert bystander.say(f"bystander-{customer}")["status"] == "sent"
        hook.webhook(f"bystander-{customer}")
        bystander.wait_for_messages(1)
        assert hook.server.log.count("Booting worker") == 1


RUBBISH = [
    "",
    "b",
    "b?",
    "4",
    "4" + "[" * 20_000,
    "42",
    "42{}",
    "42[]",
    "42[1]",
    "42[null]",
    "42[[]]",
    '42"clientMessage"',
    '42["clientMessage"',
    '42["clientMessage",{"type":"text"',
    '42x["clientMessage"]',
    '4299999999999999999999["clientMessage"]',
    '42/nowhere,["clientMessage"]',
    '42["clientMessage",NaN]',
    '42["clientMessage",' + "[" * 20_000 + "]" * 20_000 + "]",
    '42["clientMessage",' + "7" * 10_000 + "]",
    '42["connect"]',
    '42["disconnect"]',
    "43[]",
    "43",
    '430["never asked for"]',
    "45",
    '451-["clientMessage",{"_placeholder":true,"num":0}]',
    '451-["clientMessage",{"_placeholder":true,"num":7}]',
    '4599999-["clientMessage"]',
    '461-0["x"]',
    "44{}",
    "49",
    "9",
    "x",
    "5",
    "6",
    "0{}",
    "40",
    "40{}",
    "40/nowhere,",
    "\x00",
]


@pytest.mark.parametrize("packet", RUBBISH, ids=lambda packet: repr(packet[:40]))
@pytest.mark.parametrize("transport", ["websocket", "polling"])
@pytest.mark.usefixtures("bystander")
def test_rubbish_harms_nobody_else_and_leaves_no_trace_in_the_log(hook: Hook, transport: str, packet: str) -> None:
    before = len(hook.server.log)
    raw = RawWebSocket(hook.url) if transport == "websocket" else RawPolling(hook.url)
    # Whether the connection survives, and whether a client that does not poll is answered, is LCH's choice.
    raw.timeout_seconds = 0.2
    with raw, contextlib.suppress(OSError, AssertionError, websocket.WebSocketException):
        raw.send(packet)
        raw.send('428["serverMessage"]')
        raw.wait_for("438", 1, timeout_seconds=0.2)

    assert "Traceback" not in hook.server.log[before:]


@pytest.mark.parametrize("packet", [b"", b"\x00" * 1000])
@pytest.mark.usefixtures("bystander")
def test_binary_that_nobody_announced_harms_nobody_else(hook: Hook, packet: bytes) -> None:
    with RawWebSocket(hook.url) as raw:
        raw.send(packet)
        raw.send('428["serverMessage"]')
        raw.wait_for("438", 1)


@pytest.mark.parametrize(
    "packet", ["", "x", "42[]", "42[1]", "42{}", '42["never heard of"]', "43[]", '430["x"]', "4299[null]"]
)
def test_a_packet_without_an_event_does_not_cost_the_connection(hook: Hook, customer: str, packet: str) -> None:
    with RawWebSocket(hook.url) as raw:
        raw.send(packet)
        raw.send(f"4217{json.dumps(['clientMessage', text_message(customer)])}")
        [answer] = raw.wait_for("4317", 1)
        assert '"status":"sent"' in answer


@pytest.mark.usefixtures("bystander")
def test_a_client_that_is_cut_off_in_the_middle_harms_nobody_else(hook: Hook, customer: str) -> None:
    for _ in range(10):
        raw = RawWebSocket(hook.url)
        raw.send(f"42{json.dumps(['clientMessage', text_message(customer)])}")
        raw.close()
    assert hook.works_for(customer)


@pytest.mark.usefixtures("bystander")
def test_a_websocket_that_never_connects_to_the_namespace_harms_nobody_else(hook: Hook, customer: str) -> None:
    with RawWebSocket(hook.url, connect=False) as raw:
        raw.send(f"420{json.dumps(['clientMessage', text_message(customer)])}")
        assert hook.works_for(f"other-{customer}")
    assert not any(post.body.get("customer_id") == customer for post in hook.dms.received)


def error_lines(hook: Hook) -> list[str]:
    return [line for line in hook.server.log.splitlines() if " ERROR " in line]
