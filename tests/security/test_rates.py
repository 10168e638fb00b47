"""How often is too often: told to the client in words, counted for the operator, and no hindrance to the known client."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import pytest
import requests
from socketio.exceptions import ConnectionError as NotConnectedError

from tests.security.attacker import POLLING
from tests.support.clients import PythonClient, text_message
from tests.support.hooks import Hook, running_hook
from tests.support.raw_socket_io import RawWebSocket
from tests.support.servers import gunicorn_command
from tests.support.waiting import wait_until

# Ten seconds' worth may come at once.
BURST_SECONDS = 10


def count(hook: Hook, name: str, label: str) -> float:
    """What /metrics says."""
    text = requests.get(f"{hook.url}/metrics", timeout=10).text
    found = re.search(rf'^lch_{name}(?:_total)?{{[^}}]*="{label}"[^}}]*}} (\S+)', text, re.MULTILINE)
    return float(found[1]) if found else 0.0


@pytest.fixture(scope="module")
def limited() -> Iterator[Hook]:
    """LCH with rates that a test can exceed, behind one proxy."""
    rates = {"SOCKET_RATE": "4", "CUSTOMER_RATE": "2", "CONNECTION_RATE": "3"}
    with running_hook(gunicorn_command, PROXY_HOPS="1", **rates) as hook:
        yield hook


def from_address(hook: Hook, address: str) -> PythonClient:
    return hook.connect(headers={"X-Forwarded-For": address})


def test_a_customer_who_says_too_much_is_told_so_on_all_their_sockets_and_others_are_not(
    limited: Hook, customer: str
) -> None:
    before = count(limited, "clients", "messages_too_many")
    with from_address(limited, "192.0.2.1") as one, from_address(limited, "192.0.2.2") as two:
        outcomes = [one.say(customer)["status"] for _ in range(2 * BURST_SECONDS)]
        assert outcomes == ["sent"] * (2 * BURST_SECONDS)
        acknowledgement = two.call("clientMessage", text_message(customer))
        assert acknowledgement == {
            "status": "rejected",
            "error": "too many messages: at most 2 a second, more in bursts",
        }
        assert two.wait_for_errors(1)[0][1] == acknowledgement
        assert two.say(f"{customer}-other")["status"] == "sent"
        wait_until(lambda: two.say(customer)["status"] == "sent", "a message a little later")
    assert count(limited, "clients", "messages_too_many") > before


def test_a_socket_that_sends_too_much_is_told_so_and_stays_connected(limited: Hook, customer: str) -> None:
    before = count(limited, "refusals", "packets_too_many")
    with from_address(limited, "192.0.2.3") as client, from_address(limited, "192.0.2.4") as other:
        numbers = [client.emit("never heard of", number) for number in range(4 * BURST_SECONDS + 5)]
        acknowledgement = client.ack(numbers[-1])
        assert acknowledgement == {
            "status": "rejected",
            "error": "too many messages: at most 4 a second, more in bursts",
        }
        assert client.wait_for_errors(1)[0][1] == acknowledgement
        assert other.say(customer)["status"] == "sent"
        wait_until(lambda: client.say(customer)["status"] == "sent", "a message a little later")
    assert count(limited, "refusals", "packets_too_many") > before


def test_an_address_with_too_many_connections_is_told_so_and_to_try_again_and_others_are_not(limited: Hook) -> None:
    before = count(limited, "refusals", "connections_too_many")
    headers = {"X-Forwarded-For": "192.0.2.5"}
    with contextlib.ExitStack() as stack:
        for _ in range(3 * BURST_SECONDS):
            stack.enter_context(from_address(limited, "192.0.2.5"))
        response = requests.get(limited.url + POLLING, headers=headers, timeout=10)
        assert response.status_code == 429
        assert int(response.headers["Retry-After"]) > 0
        assert "too many connections from your address: try again" in response.text
        with pytest.raises(NotConnectedError):
            from_address(limited, "192.0.2.5")
        from_address(limited, "192.0.2.6").close()
    assert count(limited, "refusals", "connections_too_many") > before


def test_joining_again_and_again_on_one_connection_counts_too(limited: Hook) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(3 * BURST_SECONDS - 1):
            stack.enter_context(from_address(limited, "192.0.2.7"))
        one = stack.enter_context(RawWebSocket(limited.url, connect=False, headers={"X-Forwarded-For": "192.0.2.7"}))
        # It may be closed before all of it is sent.
        with contextlib.suppress(OSError):
            for _ in range(3):
                one.send("40")
                one.send("41")
        # Closed, not refused: its client comes again by itself.
        wait_until(lambda: not one.receive(), "the end of the connection")


def test_with_0_nothing_is_too_often(customer: str) -> None:
    rates = {"SOCKET_RATE": "0", "CUSTOMER_RATE": "0", "CONNECTION_RATE": "0", "MAX_QUEUE_LENGTH": "5000"}
    with running_hook(gunicorn_command, **rates) as hook:
        with hook.connect() as client:
            # More than anybody may say at once by default.
            numbers = [client.emit("clientMessage", text_message(customer)) for _ in range(600)]
            assert {client.ack(number, timeout_seconds=30)["status"] for number in numbers} == {"sent"}
        for _ in range(50):
            assert requests.get(hook.url + POLLING, timeout=10).status_code == 200


def test_a_tab_with_dozens_of_sockets_and_a_fast_typist_passes_by_default(usual: Hook, customer: str) -> None:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(from_address(usual, "192.0.2.9")) for _ in range(60)]
        for socket in sockets:
            assert socket.say(customer)["status"] == "sent"
