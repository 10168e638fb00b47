"""A customer's messages reach DMS in the order in which they came in; customers do not wait for each other."""

from __future__ import annotations

import itertools
import random
import time
from typing import Any

import pytest

from lchook.sandbox.faults import Answer
from tests.support.clients import text_message
from tests.support.hooks import Hook

COUNT = 40


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_order_holds_though_dms_answers_slowly_and_unevenly(any_hook: Hook, customer: str, transport: str) -> None:
    chance = random.Random(17)
    any_hook.dms.answer = lambda message: Answer(delay_seconds=chance.choice([0, 0, 0.001, 0.03]))
    customers = [f"{customer}-{number}" for number in range(3)]
    try:
        with any_hook.connect(transport) as client:
            # Mixed, as one socket may speak for several customers.
            sent = [
                client.emit("clientMessage", text_message(customer_id, str(number)))
                for number in range(COUNT)
                for customer_id in customers
            ]
            assert all(client.ack(number)["status"] == "sent" for number in sent)
    finally:
        any_hook.dms.answer = None

    for customer_id in customers:
        posts = [post for post in any_hook.dms.received if post.body.get("customer_id") == customer_id]
        assert [post.body["text"] for post in posts] == [[str(number)] for number in range(COUNT)]
        # One at a time: each came in after the one before was answered.
        for post, following in itertools.pairwise(posts):
            assert post.answered_at is not None
            assert post.answered_at <= following.at


def test_order_holds_across_the_sockets_of_a_customer(hook: Hook, customer: str) -> None:
    chance = random.Random(18)
    hook.dms.answer = lambda message: Answer(delay_seconds=chance.choice([0, 0.02]))
    clients = [hook.connect() for _ in range(4)]
    try:
        for number in range(20):
            client = clients[number % 4]
            client.emit("clientMessage", text_message(customer, str(number)))
            # The echo is behind it: LCH has taken the message, which does not say that DMS has.
            client.settle()
        last = clients[0].say(customer, "last")
        assert last["status"] == "sent"
    finally:
        for client in clients:
            client.close()

    received = hook.dms.wait_for(lambda body: body["customer_id"] == customer)
    assert [body["text"][0] for body in received] == [*map(str, range(20)), "last"]


def test_customers_do_not_wait_for_each_other(any_hook: Hook, customer: str) -> None:
    def hang(message: dict[str, Any]) -> Answer:
        return Answer(delay_seconds=0.9 if message["customer_id"].startswith("hanging") else 0)

    any_hook.dms.answer = hang
    try:
        with any_hook.connect() as client:
            hanging = [client.emit("clientMessage", text_message(f"hanging-{customer}-{n}")) for n in range(20)]
            started = time.monotonic()
            assert client.say(customer)["status"] == "sent"
            assert time.monotonic() - started < 0.6
            assert client.acks_count == 1

            assert any_hook.webhook(customer).status_code == 200
            client.wait_for_messages(1, timeout_seconds=0.3)
            assert all(client.ack(number)["status"] == "sent" for number in hanging)
    finally:
        any_hook.dms.answer = None
