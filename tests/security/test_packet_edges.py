"""Engine.IO and Socket.IO packets that no client sends: polling tricks, attachments that never come, values that hurt."""

from __future__ import annotations

import json
import time

import pytest
import requests

from tests.security.attacker import Connection, Process, event, frame, open_session
from tests.security.conftest import IMPATIENT
from tests.support.clients import text_message
from tests.support.hooks import Hook, running_hook
from tests.support.raw_socket_io import SEPARATOR, RawPolling, RawWebSocket
from tests.support.servers import gunicorn_command
from tests.support.waiting import wait_until

FORWARDING_FAILED = "Error forwarding request to external API"

PAYLOADS = {
    "10,001 packets": (SEPARATOR.join(["42[]"] * 10_001), 400),
    "separators only": (SEPARATOR * 500_000, 400),
    "an empty packet between others": (f'42["x"]{SEPARATOR}{SEPARATOR}42["x"]', 400),
    "a packet of unknown type": ("9", 400),
    "no packet at all": ("x", 400),
    "an upgrade": ("5", 400),
    "10,000 upgrades": (SEPARATOR.join(["5"] * 10_000), 400),
    "an open packet": ('0{"sid":"x"}', 400),
    "no UTF-8": (b"42\xff\xfe", 400),
    "broken base64": ("b!!!A", 400),
    "nested without end": ("4" + "[" * 300_000, 400),
    "JSONP without data": ("d=", 400),
    "larger than allowed": ("4" * 1_000_001, 400),
    "nothing": ("", 200),
    "base64": ("bAAECAw==", 200),
    "10,000 packets of no Socket.IO": (SEPARATOR.join(["4{"] * 10_000), 200),
    "10,000 events": (SEPARATOR.join(['421["x"]'] * 10_000), 200),
    "10,000 pongs": (SEPARATOR.join(["3"] * 10_000), 200),
    "10,000 joins": (SEPARATOR.join(["40"] * 10_000), 200),
    "10,000 joins elsewhere": (SEPARATOR.join(["40/x,"] * 10_000), 200),
    "10,000 goodbyes and joins": (SEPARATOR.join(["41", "40"] * 5_000), 200),
}


@pytest.mark.parametrize("name", PAYLOADS)
def test_a_polling_request_of_nonsense_is_answered_at_once_and_stops_nobody(attacked: Hook, name: str) -> None:
    payload, status = PAYLOADS[name]
    process = Process(attacked)
    before, lines_before = process.megabytes, attacked.server.log.count("\n")
    address = open_session(attacked)
    started = time.monotonic()
    response = requests.post(address, data=payload, timeout=10)
    assert response.status_code == status
    assert time.monotonic() - started < 4
    assert process.megabytes < before + 25
    assert attacked.server.log.count("\n") < lines_before + 2_500
    assert "Traceback" not in attacked.server.log


def test_while_a_request_of_thousands_of_packets_is_handled_others_are_served(attacked: Hook) -> None:
    addresses = [open_session(attacked) for _ in range(4)]
    payload = SEPARATOR.join(['42["x"]'] * 10_000).encode()
    with Connection(attacked) as connection:
        for address in addresses:
            connection.request("POST", address.removeprefix(attacked.url), body=payload)
        started = time.monotonic()
        slowest = 0.0
        while time.monotonic() - started < 0.5:
            before = time.monotonic()
            assert requests.get(f"{attacked.url}/healthz", timeout=5).status_code == 200
            slowest = max(slowest, time.monotonic() - before)
        connection.receive_until(b"OK")
    assert slowest < 0.3


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("EIO=4&transport=polling&sid=AAAA", 400),
        ("EIO=4&transport=polling&sid=%0d%0aSet-Cookie:%20a=b", 400),
        ("EIO=4&transport=polling&sid=" + "x" * 5_000, 400),
        ("EIO=3&transport=polling", 400),
        ("EIO=4&transport=carrier-pigeon", 400),
        ("EIO=4&transport=websocket", 400),
        ("EIO=4&transport=polling&j=0);alert(1);//", 400),
        ("&" * 5_000, 400),
        ("%ff%fe", 400),
        ("", 400),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_wrong_query_is_answered_400_and_sets_no_header(attacked: Hook, method: str, query: str, status: int) -> None:
    response = requests.request(method, f"{attacked.url}/socket.io/?{query}", timeout=10)
    assert response.status_code == status
    assert "Set-Cookie" not in response.headers
    assert response.headers["Content-Type"].startswith(("text/plain", "application/json"))


def test_a_session_is_gone_after_its_end(attacked: Hook) -> None:
    address = open_session(attacked)
    assert requests.post(address, data="1", timeout=10).status_code in (200, 400)
    wait_until(lambda: requests.get(address, timeout=10).status_code == 400, "no session")
    assert requests.post(address, data="40", timeout=10).status_code == 400


EVENTS = {
    "an event before joining": (False, [event("clientMessage", text_message("early"), ack=1)]),
    "an event after leaving": (True, [b"41", event("clientMessage", text_message("late"), ack=1)]),
    "an event in a namespace not joined": (True, [b'42/admin,1["clientMessage",{}]']),
    "joining twice": (True, [b"40", b"40{}"]),
    "joining elsewhere": (True, [b"40/admin,", b'40/admin,{"token":"x"}', b"40/*,"]),
    "attachments that never come": (True, [b'451-1["clientMessage",{"_placeholder":true,"num":0}]']),
    "attachments that no memory holds": (True, [b'459999999999-1["x",{"_placeholder":true,"num":0}]'] * 20),
    "an acknowledgement with attachments": (True, [b'461-1[{"_placeholder":true,"num":0}]', b"x"]),
    "an id of 100 digits": (True, [b"42" + b"9" * 100 + b'["clientMessage",{}]']),
    "an id of 101 digits": (True, [b"42" + b"9" * 101 + b'["clientMessage",{}]']),
    "an id in Arabic digits": (True, ['42\u0662["x"]'.encode()]),
    "an id of superscripts": (True, ['42\u00b2["x"]'.encode()]),
    "acknowledgements of nothing": (True, [b"430[]", b"4399999[1]", b"43[]", b"430", b"430{}", b'43/x,0["y"]']),
    "an event that is no list": (True, [b'42{"clientMessage":1}', b'42"clientMessage"', b"42null", b"4217"]),
    "an event named by a number": (True, [b"421[17]", b"421[null]", b"421[[]]", b"421[]", b"421[{}]"]),
    "an event named as the library's own": (
        True,
        [event(name, 1, ack=1) for name in ("connect", "disconnect", "connect_error", "error", "message", "*", "__init__")],
    ),
    "an event with a name of 900 KB": (True, [event("x" * 900_000, ack=1)]),
    "a connect error": (True, [b'44{"message":"x"}']),
    "an unknown Socket.IO packet": (True, [b"47", b"49[]", b"4x"]),
    "nothing": (True, [b"4", b""]),
    "NaN": (True, [b'421["clientMessage",NaN]', b'421["clientMessage",-Infinity]']),
    "1e999": (True, [b'421["clientMessage",1e999]']),
    "a number of 5,000 digits": (True, [b'421["clientMessage",' + b"7" * 5_000 + b"]"]),
    "nested 1,000 deep": (True, [b'421["serverMessage",' + b"[" * 1_000 + b"]" * 1_000 + b"]"]),
    "nested 100,000 deep": (True, [b'421["serverMessage",' + b'{"a":' * 100_000]),
    "duplicate keys": (True, [b'421["clientMessage",{"type":"text","type":17,"customer_id":"c","customer_id":{}}]']),
    "lone surrogates": (True, [b'421["\\ud800",{"\\udfff":"\\ud800"}]', b'421["serverMessage","\\ud800"]']),
    "surrogates as a customer": (True, [b'421["clientMessage",{"type":"text","customer_id":"\\ud800"}]']),
    "a message_id of 900 KB": (True, [event("clientMessage", text_message("c", message_id="x" * 900_000), ack=1)]),
    "a message_id of 400 digits": (
        True,
        [b'421["clientMessage",{"type":"text","customer_id":"c","message_id":1' + b"0" * 400 + b"}]"],
    ),
    "keys that Python knows": (True, [event("clientMessage", {"__class__": 1, "self": 2, "customer_id": "c"}, ack=1)]),
    "10,000 arguments": (True, [event("clientMessage", *range(10_000), ack=1)]),
}


def errors(hook: Hook) -> int:
    """How many errors were logged, besides clients that took their time."""
    # Read once: more may be written meanwhile.
    log = hook.server.log
    return log.count(" ERROR ") - log.count("not acknowledged within")


@pytest.mark.parametrize("name", EVENTS)
def test_an_odd_packet_costs_at_most_its_own_connection(attacked: Hook, customer: str, name: str) -> None:
    joins, packets = EVENTS[name]
    process = Process(attacked)
    before, errors_before = process.megabytes, errors(attacked)
    with Connection(attacked) as connection:
        connection.open_websocket(join=joins)
        connection.send(*(frame(packet) for packet in packets), frame(b"1")).receive_until(b"\x88\x02")
    assert attacked.works_for(customer)
    assert process.megabytes < before + 15
    assert not any(post.body.get("customer_id") in ("early", "late") for post in attacked.dms.received)
    # What a client does is no error of ours.
    assert errors(attacked) == errors_before
    assert "Traceback" not in attacked.server.log


@pytest.mark.parametrize(
    "packet",
    [
        '421["clientMessage",NaN]',
        '421["clientMessage",{"type":"text","customer_id":"c","context_data":{"x":1e999}}]',
        '421["clientMessage",' + "[" * 500 + "]" * 500 + "]",
        '421["serverMessage",' + "[" * 500 + "]" * 500 + "]",
        '421["clientMessage",' + "7" * 5_000 + "]",
        '421["clientMessage"',
        '451-1["clientMessage",{"_placeholder":true,"num":0}]',
    ],
    ids=lambda packet: packet[:40],
)
def test_who_sends_what_cannot_be_read_is_told_in_words_and_stays_connected(
    attacked: Hook, customer: str, packet: str
) -> None:
    with RawWebSocket(attacked.url) as raw:
        raw.send(packet)
        [_, text, detail] = json.loads(raw.wait_for('42["serverError"', 1)[0][2:])
        assert text == FORWARDING_FAILED
        assert detail["status"] == "rejected"
        assert "JSON" in detail["error"]
        assert raw.receive() == f"431{json.dumps([detail], separators=(',', ':'))}"
        raw.send(f"422{json.dumps(['clientMessage', text_message(customer)])}")
        assert '"status":"sent"' in raw.receive()


@pytest.mark.parametrize(
    ("field", "value"), [("message_id", "x" * 257), ("message_id", 10**256), ("message_id", -(10**256)), ("type", "x" * 257)]
)
def test_what_is_sent_back_and_kept_is_short(attacked: Hook, customer: str, field: str, value: object) -> None:
    with attacked.connect() as client:
        outcome = client.call("clientMessage", text_message(customer, **{field: value}))
    assert outcome["status"] == "rejected"
    assert f"{field} must be" in outcome["error"]


def test_joining_again_and_again_leaves_nothing_behind(attacked: Hook) -> None:
    process = Process(attacked)
    with RawPolling(attacked.url) as client:
        for _ in range(3):
            client.send(*(["41", "40"] * 100))
        before = process.megabytes
        # No more than may wait unread: beyond the rate each may be refused in words, and this client does not poll.
        for _ in range(12):
            client.send(*(["41", "40"] * 50))
    assert process.megabytes < before + 5


def test_sessions_that_are_opened_and_left_are_closed_even_where_nobody_ever_joins() -> None:
    with running_hook(gunicorn_command, **IMPATIENT) as hook:
        addresses = [open_session(hook, join=False) for _ in range(20)]
        wait_until(
            lambda: all(requests.get(address, timeout=10).status_code == 400 for address in addresses), "no session left"
        )
        assert hook.server.log.count("it did not connect within 1 s") == 20


def test_a_client_that_goes_on_after_its_session_was_closed_is_told_so(attacked: Hook) -> None:
    address = open_session(attacked)
    for _ in range(2):
        assert requests.post(address, data="9", timeout=5).status_code == 400
    assert requests.get(address, timeout=5).status_code == 400
    assert "answering a request failed" not in attacked.server.log
