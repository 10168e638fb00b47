"""WebSocket frames that break the protocol, claim too much, or never end: refused before they are read, and soon over."""

from __future__ import annotations

import contextlib
import time

import pytest
import requests

from tests.security.attacker import (
    BINARY,
    CLOSE,
    HANDSHAKE,
    PING,
    WEBSOCKET,
    Connection,
    Process,
    event,
    frame,
    open_session,
    wait_until_closed,
    waiting_messages,
)
from tests.support.clients import text_message
from tests.support.hooks import Hook

LARGEST = 1_000_000
PROTOCOL_ERROR, NOT_UTF8, TOO_BIG = b"\x88\x02\x03\xea", b"\x88\x02\x03\xef", b"\x88\x02\x03\xf1"

VIOLATIONS = {
    "one byte too many": (frame(claimed_length=LARGEST + 1), TOO_BIG),
    "4 GB": (frame(claimed_length=2**32), TOO_BIG),
    "2^63 - 1 bytes": (frame(claimed_length=2**63 - 1), TOO_BIG),
    "2^63 bytes": (frame(claimed_length=2**63), TOO_BIG),
    "2^64 - 1 bytes": (frame(claimed_length=2**64 - 1), TOO_BIG),
    "too much binary": (frame(claimed_length=2**40, opcode=BINARY), TOO_BIG),
    "fragments that are too much together": (
        frame(b"4" * 600_000, final=False) + frame(opcode=0, claimed_length=600_000),
        TOO_BIG,
    ),
    "empty fragments without end": (frame(final=False) + frame(opcode=0, final=False) * 20_000, TOO_BIG),
    "a long ping": (frame(b"x" * 126, opcode=PING), PROTOCOL_ERROR),
    "a ping of 2^63 bytes": (frame(opcode=PING, claimed_length=2**63), PROTOCOL_ERROR),
    "a ping in fragments": (frame(b"x", opcode=PING, final=False), PROTOCOL_ERROR),
    "unmasked": (frame(b"42[]", masked=False), PROTOCOL_ERROR),
    "reserved bit 1, as if compressed": (frame(b"42[]", reserved=4), PROTOCOL_ERROR),
    "reserved bits 2 and 3": (frame(b"42[]", reserved=3), PROTOCOL_ERROR),
    "unknown opcode": (frame(b"x", opcode=0x3), PROTOCOL_ERROR),
    "unknown control opcode": (frame(b"x", opcode=0xB), PROTOCOL_ERROR),
    "a continuation of nothing": (frame(b"x", opcode=0), PROTOCOL_ERROR),
    "a message inside another": (frame(b"4", final=False) + frame(b"2[]"), PROTOCOL_ERROR),
    "no UTF-8": (frame(b"42\xff\xfe"), NOT_UTF8),
    "a surrogate in UTF-8": (frame(b'42["\xed\xa0\x80"]'), NOT_UTF8),
    "half a character": (frame(b'42["\xf0\x9f', final=False) + frame(b'"]', opcode=0), NOT_UTF8),
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_a_violation_of_the_protocol_closes_the_connection_with_its_code(attacked: Hook, name: str) -> None:
    frames, code = VIOLATIONS[name]
    with Connection(attacked) as connection:
        answer = connection.open_websocket().send(frames).receive_all()
    assert code in answer


def test_what_is_claimed_is_never_waited_for_in_memory(attacked: Hook) -> None:
    process = Process(attacked)
    before = process.megabytes
    connections = [Connection(attacked).open_websocket() for _ in range(20)]
    try:
        for connection in connections:
            # Allowed: it is waited for, but only what has come takes memory.
            connection.send(frame(b"42", claimed_length=LARGEST))
        with Connection(attacked) as connection:
            connection.open_websocket().send(frame(b"x" * 4_000_000, claimed_length=2**40)[:200_000])
            assert TOO_BIG in connection.receive_all()
        assert process.megabytes < before + 10
    finally:
        for connection in connections:
            connection.close()


def test_a_message_in_fragments_with_a_ping_between_arrives(attacked: Hook, customer: str) -> None:
    message = event("clientMessage", text_message(customer, "å" * 300), ack=7)
    with Connection(attacked) as connection:
        connection.open_websocket()
        middle = len(message) // 2
        connection.send(frame(message[:middle], final=False), frame(b"are you there?", opcode=PING))
        connection.send(frame(message[middle:], opcode=0))
        answer = connection.receive_until(b'"status":"sent"')
    assert b"\x8a\x0eare you there?" in answer


@pytest.mark.parametrize("payload", [b"", b"\x03", b"\x03\xe8bye", b"\x00\x00", b"\xff\xff\xff", b"\x03\xe8\xff\xfe"])
def test_a_close_is_answered_with_a_close_whatever_it_says(attacked: Hook, payload: bytes) -> None:
    with Connection(attacked) as connection:
        assert b"\x88\x02" in connection.open_websocket().send(frame(payload, opcode=CLOSE)).receive_all()


FLOODS = {
    "pings": (frame(opcode=PING), True),
    "pings, and their answers are not read": (frame(opcode=PING), False),
    "Engine.IO pongs": (frame(b"3"), True),
    "Engine.IO upgrades": (frame(b"5"), False),
    "Engine.IO packets of no type": (frame(b"9"), True),
    "events": (frame(event("x", ack=1)), True),
    "events, and their answers are not read": (frame(event("x", ack=1)), False),
    "acknowledgements of nothing": (frame(b"43999[]"), True),
    "what is no Socket.IO": (frame(b"4{"), True),
    "large echoes": (frame(event("serverMessage", "x" * 900_000)), True),
    "large echoes that are not read": (frame(event("serverMessage", "x" * 900_000)), False),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_neither_starves_the_others_nor_fills_memory_or_log(attacked: Hook, name: str) -> None:
    process = Process(attacked)
    before, lines_before = process.megabytes, attacked.server.log.count("\n")
    packet, reads = FLOODS[name]
    piece = packet * max(1, 200_000 // len(packet))
    with Connection(attacked) as connection:
        connection.open_websocket()
        slowest = connection.flood_and_measure(piece, url=f"{attacked.url}/healthz", reads=reads, seconds=0.7)
    assert slowest < 1.5
    assert process.megabytes < before + 40
    assert attacked.server.log.count("\n") < lines_before + 100


def test_a_client_that_does_not_read_is_sent_no_more_than_fits_and_its_messages_are_kept(
    attacked: Hook, customer: str
) -> None:
    process = Process(attacked)
    with Connection(attacked, small_buffers=True) as connection:
        connection.open_websocket().send(frame(event("clientMessage", text_message(customer), ack=1)))
        connection.receive_until(b'"status":"sent"')
        before = process.megabytes
        for number in range(30):
            assert attacked.webhook(customer, f"{number} " + "x" * 300_000, message_id=number).status_code == 200
        # The store, which is in memory here, holds 9 MB.
        assert process.megabytes < before + 9 + 15
        connection.wait_until_given_up(process, within=8)
    assert waiting_messages(attacked, customer, 30) == [str(number) for number in range(30)]


def test_an_echo_that_is_not_read_is_refused_in_words_before_it_fills_memory(attacked: Hook) -> None:
    process = Process(attacked)
    before = process.megabytes
    with Connection(attacked, small_buffers=True) as connection:
        connection.open_websocket()
        for _ in range(20):
            connection.send(frame(event("serverMessage", "x" * 900_000, ack=1)))
        assert b"read them first" in connection.receive_until(b"read them first")
    assert process.megabytes < before + 25


def test_connections_that_lead_nowhere_are_freed(attacked: Hook) -> None:
    def joined(first: bytes = b"") -> Connection:
        return Connection(attacked).open_websocket().send(first)

    def not_joined(first: bytes = b"") -> Connection:
        return Connection(attacked).open_websocket(join=False).send(first)

    def upgrading(first: bytes = b"") -> Connection:
        path = open_session(attacked).removeprefix(attacked.url).replace("polling", "websocket")
        return Connection(attacked).open_websocket(path, join=False).send(first)

    ping = frame(opcode=PING)
    process = Process(attacked)
    before = process.open_files
    nowhere = {
        "half-open": (joined(), b""),
        "half-open, but sends WebSocket pings": (joined(), ping),
        "half a frame's head": (joined(b"\x81"), b""),
        "a frame that trickles": (joined(frame(b"42", claimed_length=900_000)), b"x"),
        "fragments that trickle": (joined(frame(b"4", final=False)), frame(opcode=0, final=False)),
        "does not join, but answers pings": (not_joined(), frame(b"3")),
        "joins another namespace": (not_joined(frame(b"40/nowhere,")), frame(b"3")),
        "leaves, but answers pings": (joined(frame(b"41")), frame(b"3")),
        "an upgrade without a probe": (upgrading(), b""),
        "an upgrade without a probe, with pings": (upgrading(), ping),
        "an upgrade that is not finished": (upgrading(frame(b"2probe")), b""),
        "an upgrade that is not finished, with pings": (upgrading(frame(b"2probe")), ping),
    }
    assert process.open_files >= before + len(nowhere)
    wait_until_closed(nowhere, within=12)
    assert "it did not connect within 1 s" in attacked.server.log


def test_many_half_open_connections_give_their_files_back(attacked: Hook) -> None:
    process = Process(attacked)
    before = process.open_files
    connections = [Connection(attacked).open_websocket() for _ in range(50)]
    try:
        assert process.open_files >= before + 50
        process.wait_for_open_files(before + 2)
    finally:
        for connection in connections:
            connection.close()


def test_two_upgrades_of_one_session_harm_only_that_session(attacked: Hook) -> None:
    path = open_session(attacked).removeprefix(attacked.url).replace("polling", "websocket")
    with Connection(attacked) as one, Connection(attacked) as two:
        for connection in (one, two):
            connection.open_websocket(path, join=False).send(frame(b"2probe"))
        for connection in (one, two):
            # One of them is closed, maybe before all is sent.
            with contextlib.suppress(OSError):
                connection.send(frame(b"5"), frame(event("serverMessage", "x")))


WRONG_HANDSHAKES = {
    "no version": ({"Sec-WebSocket-Version": None}, 426),
    "an old version": ({"Sec-WebSocket-Version": "8"}, 426),
    "a version of nonsense": ({"Sec-WebSocket-Version": "thirteen %s"}, 426),
    "no key": ({"Sec-WebSocket-Key": None}, 400),
    "a short key": ({"Sec-WebSocket-Key": "AAAA"}, 400),
    "a key that is no base64": ({"Sec-WebSocket-Key": "A"}, 400),
    "a key in Latin-1": ({"Sec-WebSocket-Key": "\xff\xfe"}, 400),
    "no Connection: Upgrade": ({"Connection": "keep-alive"}, 400),
}


@pytest.mark.parametrize("name", WRONG_HANDSHAKES)
def test_a_wrong_handshake_is_answered_in_words(attacked: Hook, name: str) -> None:
    wrong, status = WRONG_HANDSHAKES[name]
    with Connection(attacked) as connection:
        answer = connection.request("GET", WEBSOCKET, **{**HANDSHAKE, **wrong}).receive_all().decode()
    assert answer.startswith(f"HTTP/1.1 {status} ")
    assert '{"error": "' in answer
    assert "Traceback" not in attacked.server.log


def test_no_other_path_becomes_a_websocket(attacked: Hook) -> None:
    for path in ("/", "/webhook", "/healthz", "/socket.io/../webhook"):
        with Connection(attacked) as connection:
            answer = connection.request("GET", path, **HANDSHAKE).receive_until(b"\r\n")
        # At / there is a page for people.
        assert answer.startswith(b"HTTP/1.1 200" if path == "/" else b"HTTP/1.1 4")


def test_a_slow_client_of_another_kind_is_served(attacked: Hook, customer: str) -> None:
    """What is slow but whole still counts: the limits are for those who never get there."""
    message = frame(event("clientMessage", text_message(customer), ack=1))
    with Connection(attacked) as connection:
        connection.open_websocket()
        for start in range(0, len(message), 40):
            connection.send(message[start : start + 40])
            time.sleep(0.05)
        connection.receive_until(b'"status":"sent"')
    assert requests.get(f"{attacked.url}/healthz", timeout=5).status_code == 200
