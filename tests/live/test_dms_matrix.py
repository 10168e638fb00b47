"""What a client is told of everything that DMS and the network before it may do. Retries have tests of their own."""

from __future__ import annotations

import time

import pytest

from tests.support.hooks import Hook, running_hook
from tests.support.servers import free_port, gunicorn_command

FORWARDING_FAILED = "Error forwarding request to external API"


def posts_of(hook: Hook, customer_id: str) -> int:
    return sum(post.body.get("customer_id") == customer_id for post in hook.dms.received)


def test_slow_is_not_failed(hook: Hook, customer: str) -> None:
    hook.dms.faults.set(dms="slow", delay_seconds=0.5)
    with hook.connect() as client:
        assert client.say(customer)["status"] == "sent"
        assert client.errors == []


@pytest.mark.parametrize("status", ["400", "401", "404", "429", "500", "502", "503", "504"])
def test_an_error_status_is_told_as_acknowledgement_and_as_server_error(hook: Hook, customer: str, status: str) -> None:
    hook.dms.faults.set(dms=status)
    with hook.connect() as client:
        acknowledgement = client.say(customer, message_id="m-1")

        assert acknowledgement == {
            "status": "failed",
            "message_id": "m-1",
            "dms_status": int(status),
            "error": f"DMS answered {status}",
        }
        assert client.wait_for_errors(1) == [[FORWARDING_FAILED, acknowledgement]]
    assert posts_of(hook, customer) == 1


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("hang", "DMS did not answer in time; it may have the message"),
        ("refused", "no connection to DMS"),
        ("reset", "the connection to DMS broke; it may have the message"),
        ("garbage", "it may have the message"),
    ],
)
def test_no_answer_is_told_with_its_reason(hook: Hook, customer: str, fault: str, words: str) -> None:
    hook.dms.faults.set(dms=fault, delay_seconds=5)
    with hook.connect() as client:
        started = time.monotonic()
        acknowledgement = client.say(customer, message_id=7)

        assert time.monotonic() - started < 3
        assert acknowledgement["status"] == "failed"
        assert acknowledgement["message_id"] == 7
        assert acknowledgement["dms_status"] is None
        assert words in acknowledgement["error"]
        assert client.wait_for_errors(1) == [[FORWARDING_FAILED, acknowledgement]]
        hook.dms.faults.clear()
        # With a token of its own, and over a new connection.
        assert client.say(customer)["status"] == "sent"


def test_a_redirect_is_not_followed(hook: Hook, customer: str) -> None:
    hook.dms.faults.set(dms="redirect")
    with hook.connect() as client:
        acknowledgement = client.say(customer)
        assert (acknowledgement["status"], acknowledgement["dms_status"]) == ("failed", 302)
        client.wait_for_errors(1)
    assert posts_of(hook, customer) == 1
    assert not any(post.path.endswith("/moved") for post in hook.dms.received)


def test_a_failed_message_does_not_stop_the_next(hook: Hook, customer: str) -> None:
    hook.dms.faults.set(dms="500", times=1)
    with hook.connect() as client:
        assert [client.say(customer)["status"] for _ in range(3)] == ["failed", "sent", "sent"]


def test_a_client_that_left_before_dms_answered_harms_nobody(hook: Hook, customer: str) -> None:
    hook.dms.faults.set(dms="slow", delay_seconds=0.3)
    with hook.connect() as client:
        client.send_without_callback("clientMessage", {"type": "text", "customer_id": customer, "text": ["Bye"]})
        client.settle()
    hook.dms.wait_for(lambda body: body["customer_id"] == customer)
    hook.dms.faults.clear()

    assert hook.works_for(customer)
    assert "Traceback" not in hook.server.log


def test_a_dms_that_is_not_there_when_lch_starts_is_found_when_it_is(customer: str) -> None:
    with running_hook(gunicorn_command, DMS_URL=f"http://127.0.0.1:{free_port()}/dms") as hook, hook.connect() as client:
        assert client.say(customer)["error"] == "no connection to DMS"
