"""WebSocket frames, from bytes and to bytes."""

from __future__ import annotations

import contextlib
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lchook.transport.frame_decoder import (
    BINARY,
    CLOSE,
    CONTINUATION,
    INVALID_UTF8,
    MESSAGE_TOO_BIG,
    PING,
    PONG,
    PROTOCOL_ERROR,
    TEXT,
    FrameDecoder,
    ProtocolError,
    close_frame,
    unmask,
)
from lchook.transport.frame_decoder import frame as frame_of
from tests.security.attacker import frame

LARGEST = 1_000


def events(*pieces: bytes) -> list[Any]:
    """What the frames bring that come in in these pieces."""
    frames = FrameDecoder(LARGEST)
    found = []
    for piece in pieces:
        frames.feed(piece)
        while (event := frames.next()) is not None:
            found.append(event)
    return found


def messages(*pieces: bytes) -> list[Any]:
    return [payload for opcode, payload in events(*pieces) if opcode in (TEXT, BINARY)]


def violation(*pieces: bytes) -> int:
    with pytest.raises(ProtocolError) as raised:
        events(*pieces)
    return raised.value.code


@given(st.binary(min_size=4, max_size=4), st.binary(max_size=300))
def test_unmasking_is_an_exclusive_or_with_the_mask_again_and_again(mask: bytes, payload: bytes) -> None:
    expected = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
    assert unmask(mask, payload) == expected
    assert unmask(mask, expected) == payload


@given(st.lists(st.text(max_size=150) | st.binary(max_size=LARGEST), max_size=5), st.data())
def test_messages_arrive_as_they_were_sent_in_however_many_fragments_and_pieces(
    sent: list[Any], data: st.DataObject
) -> None:
    wire = b""
    for message in sent:
        opcode, payload = (TEXT, message.encode()) if isinstance(message, str) else (BINARY, message)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(payload)), max_size=3))) if len(payload) < 500 else []
        fragments = [payload[start:end] for start, end in zip([0, *cuts], [*cuts, len(payload)], strict=True)]
        for number, fragment in enumerate(fragments):
            wire += frame(fragment, opcode=CONTINUATION if number else opcode, final=number == len(fragments) - 1)
            wire += frame(b"?", opcode=PING)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=10)))
    pieces = [wire[start:end] for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)]

    assert messages(*pieces) == sent


@given(st.lists(st.binary(max_size=100), max_size=3))
def test_whatever_bytes_come_they_bring_something_or_break_the_protocol(noise: list[bytes]) -> None:
    with contextlib.suppress(ProtocolError):
        assert all(opcode in (CONTINUATION, TEXT, BINARY, PING, CLOSE) for opcode, _ in events(*noise))


@pytest.mark.parametrize("length", [LARGEST + 1, 2**16, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_claim_beyond_the_limit_is_refused_before_anything_of_it_is_there(length: int) -> None:
    head = frame(b"", claimed_length=length)[:-4]
    assert violation(head) == MESSAGE_TOO_BIG
    assert violation(*(head[place : place + 1] for place in range(len(head)))) == MESSAGE_TOO_BIG


def test_the_largest_message_is_taken_whole_and_in_fragments() -> None:
    assert messages(frame(b"x" * LARGEST)) == ["x" * LARGEST]
    half = b"x" * (LARGEST // 2 - 64)
    assert messages(frame(half, final=False), frame(half, opcode=CONTINUATION)) == [(half * 2).decode()]
    assert violation(frame(b"x" * 600, final=False), frame(b"x" * 600, opcode=CONTINUATION)) == MESSAGE_TOO_BIG
    # After the end of a message in fragments there is room again.
    again = frame(half, final=False) + frame(half, opcode=CONTINUATION)
    assert len(messages(again, again)) == 2


def test_a_ping_between_fragments_is_told_at_once_and_a_pong_is_nothing() -> None:
    wire = frame(b"a", final=False) + frame(b"ping", opcode=PING) + frame(b"", opcode=PONG)
    assert [event for event in events(wire, frame(b"b", opcode=CONTINUATION)) if event[0] != CONTINUATION] == [
        (PING, b"ping"),
        (TEXT, "ab"),
    ]


@pytest.mark.parametrize(
    "wire",
    [
        frame(b"x", masked=False),
        frame(b"x", reserved=4),
        frame(b"x", opcode=0x3),
        frame(b"x", opcode=0xB),
        frame(b"x", opcode=CONTINUATION),
        frame(b"x", final=False) + frame(b"y"),
        frame(b"x", opcode=PING, final=False),
        frame(b"x" * 126, opcode=PING),
    ],
)
def test_what_breaks_the_protocol_is_told(wire: bytes) -> None:
    assert violation(wire) == PROTOCOL_ERROR


def test_text_is_utf8_as_a_whole_and_not_fragment_by_fragment() -> None:
    euro = "€".encode()
    assert messages(frame(euro[:1], final=False), frame(euro[1:], opcode=CONTINUATION)) == ["€"]
    assert violation(frame(euro[:1])) == INVALID_UTF8
    assert violation(frame(euro[:1], final=False), frame(b"x", opcode=CONTINUATION)) == INVALID_UTF8


@pytest.mark.parametrize(
    ("payload", "code"),
    [(b"", 1000), (b"\x03\xe9", 1001), (b"\x03\xed", 1002), (b"\x00", 1000), (b"\x00\x00", 1002), (b"\xff\xff", 1002)],
)
def test_a_close_is_answered_with_a_code_that_may_be_sent(payload: bytes, code: int) -> None:
    assert events(frame(payload, opcode=CLOSE)) == [(CLOSE, code)]


@pytest.mark.parametrize("length", [0, 125, 126, 65535, 65536])
def test_what_is_sent_is_one_unmasked_frame(length: int) -> None:
    assert frame_of(TEXT, b"x" * length) == frame(b"x" * length, masked=False)


def test_a_close_says_why() -> None:
    assert close_frame(1009) == b"\x88\x02" + struct.pack("!H", 1009)
    assert close_frame(1000, b"bye") == b"\x88\x05\x03\xe8bye"
