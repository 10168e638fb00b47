"""WebSocket frames, from bytes and to bytes, without a network."""

from __future__ import annotations

import io
import struct
from types import SimpleNamespace
from typing import Any

import pytest
from geventwebsocket.exceptions import WebSocketError
from hypothesis import given
from hypothesis import strategies as st

from lchook.websocket import BoundedWebSocket, unmask
from tests.security.attacker import BINARY, CLOSE, PING, frame

LARGEST = 1_000


class Small(BoundedWebSocket):
    max_bytes = LARGEST


class Wire:
    """What a client sent, and what it gets."""

    def __init__(self, sent: bytes = b"") -> None:
        self.incoming = io.BytesIO(sent)
        self.sent = b""
        self.most_asked_for = 0
        handler = SimpleNamespace(open_websocket=lambda: None, websocket_timeout_seconds=60.0, deadline=0.0)
        self.websocket = Small({}, SimpleNamespace(read=self._read, write=self._write), handler)

    def _read(self, count: int) -> bytes:
        self.most_asked_for = max(self.most_asked_for, count)
        return self.incoming.read(count)

    def _write(self, data: bytes) -> None:
        self.sent += data


def received(sent: bytes) -> list[Any]:
    """All messages up to the end, or to the client's fault."""
    websocket = Wire(sent).websocket
    messages = []
    while (message := websocket.receive()) is not None:
        messages.append(message)
    return messages


@given(st.binary(min_size=4, max_size=4), st.binary(max_size=300))
def test_unmasking_is_an_exclusive_or_with_the_mask_again_and_again(mask: bytes, payload: bytes) -> None:
    expected = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
    assert unmask(mask, payload) == expected
    assert unmask(mask, expected) == payload


@given(st.lists(st.text(max_size=150) | st.binary(max_size=LARGEST), max_size=5), st.data())
def test_messages_arrive_as_they_were_sent_in_however_many_fragments(messages: list[Any], data: st.DataObject) -> None:
    sent = b""
    for message in messages:
        opcode, payload = (1, message.encode()) if isinstance(message, str) else (BINARY, message)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(payload)), max_size=3))) if len(payload) < 500 else []
        pieces = [payload[start:end] for start, end in zip([0, *cuts], [*cuts, len(payload)], strict=True)]
        for number, piece in enumerate(pieces):
            sent += frame(piece, opcode=0 if number else opcode, final=number == len(pieces) - 1)
            sent += frame(b"?", opcode=PING)
    assert received(sent) == messages


@given(st.binary(max_size=200))
def test_whatever_bytes_come_the_reader_ends_and_asks_for_no_more_than_allowed(noise: bytes) -> None:
    wire = Wire(noise)
    for _ in range(len(noise) + 1):
        if wire.websocket.receive() is None:
            break
    assert wire.most_asked_for <= LARGEST + 4


@pytest.mark.parametrize("length", [LARGEST + 1, 2**16, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_claim_beyond_the_limit_is_refused_before_anything_of_it_is_read(length: int) -> None:
    wire = Wire(frame(b"x" * 100, claimed_length=length))
    assert wire.websocket.receive() is None
    assert wire.sent == b"\x88\x02" + struct.pack("!H", 1009)
    assert wire.most_asked_for <= 8


def test_the_largest_message_is_taken_whole_and_in_fragments() -> None:
    assert received(frame(b"x" * LARGEST)) == ["x" * LARGEST]
    half = b"x" * (LARGEST // 2 - 64)
    assert received(frame(half, final=False) + frame(half, opcode=0)) == [(half * 2).decode()]
    assert received(frame(b"x" * 600, final=False) + frame(b"x" * 600, opcode=0)) == []


def test_a_ping_is_answered_between_fragments() -> None:
    wire = Wire(frame(b"a", final=False) + frame(b"ping", opcode=PING) + frame(b"b", opcode=0))
    assert wire.websocket.receive() == "ab"
    assert wire.sent == b"\x8a\x04ping"


@pytest.mark.parametrize(("payload", "code"), [(b"", 1000), (b"\x03\xe9", 1001), (b"\x03\xed", 1002), (b"\x00", 1000)])
def test_a_close_is_answered_once_with_a_code_that_may_be_sent(payload: bytes, code: int) -> None:
    wire = Wire(frame(payload, opcode=CLOSE))
    assert wire.websocket.receive() is None
    wire.websocket.close()
    assert wire.sent == b"\x88\x02" + struct.pack("!H", code)


@pytest.mark.parametrize("length", [0, 125, 126, 65535, 65536])
def test_what_is_sent_is_one_unmasked_frame(length: int) -> None:
    wire = Wire()
    wire.websocket.send("x" * length)
    assert wire.sent == frame(b"x" * length, masked=False)


def test_after_the_end_nothing_is_read_and_nothing_can_be_sent() -> None:
    wire = Wire(frame(b"too late"))
    wire.websocket.close()
    assert wire.websocket.receive() is None
    with pytest.raises(WebSocketError):
        wire.websocket.send("x")


def test_a_connection_that_breaks_while_reading_or_writing_is_closed_quietly() -> None:
    def broken(*_: object) -> bytes:
        raise ConnectionResetError

    handler = SimpleNamespace(open_websocket=lambda: None, websocket_timeout_seconds=60.0, deadline=0.0)
    websocket = Small({}, SimpleNamespace(read=broken, write=broken), handler)
    with pytest.raises(WebSocketError):
        websocket.send("x")
    assert websocket.receive() is None
    assert websocket.closed
