"""The wire log: bounded, numbered, without tokens, and good to follow."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from lchook.core.tokens import Tokens
from lchook.sandbox.wire import LONGEST_BODY_BYTES, Wire, shown_body


def add(wire: Wire, **fields: Any) -> None:
    wire.add(
        **{
            "direction": "to_dms",
            "customer_id": "c1",
            "type_": "text",
            "url": "http://dms.example",
            "status": 200,
            "duration_seconds": 0.0125,
            "request_headers": {},
            "request_body": {"a": 1},
            "response_body": {"b": 2},
            **fields,
        }
    )


def seqs(entries: list[dict[str, Any]]) -> list[int]:
    return [entry["seq"] for entry in entries]


def test_an_entry_tells_the_whole_exchange() -> None:
    wire = Wire()
    add(wire)
    [entry] = wire.after(0)
    assert entry.pop("at") > 1_600_000_000_000
    assert entry == {
        "seq": 1,
        "direction": "to_dms",
        "customer_id": "c1",
        "type": "text",
        "method": "POST",
        "url": "http://dms.example",
        "status": 200,
        "duration_ms": 12.5,
        "request": {"headers": {}, "body": {"a": 1}},
        "response": {"body": {"b": 2}},
        "error": None,
    }


def test_entries_after_a_number_come_in_order() -> None:
    wire = Wire()
    for _ in range(5):
        add(wire)
    assert seqs(wire.after(0)) == [1, 2, 3, 4, 5]
    assert seqs(wire.after(3)) == [4, 5]
    assert wire.after(5) == []


def test_only_so_many_entries_are_kept() -> None:
    wire = Wire(limit=3)
    for _ in range(10):
        add(wire)
    assert seqs(wire.after(0)) == [8, 9, 10]
    assert seqs(wire.after(9)) == [10]


def test_a_reader_of_an_earlier_process_gets_everything() -> None:
    wire = Wire()
    add(wire)
    assert seqs(wire.after(4711)) == [1]


def test_a_reader_waits_for_the_next_entry() -> None:
    wire = Wire()
    read: list[int] = []
    reader = threading.Thread(target=lambda: read.extend(seqs(wire.after(0, timeout_seconds=10))))
    reader.start()
    add(wire)
    reader.join(10)
    assert read == [1]


def test_closing_lets_a_reader_go() -> None:
    wire = Wire()
    reader = threading.Thread(target=lambda: wire.after(0, timeout_seconds=60))
    reader.start()
    wire.close()
    reader.join(10)
    assert not reader.is_alive()
    assert wire.closed


def test_a_token_is_left_out_and_its_claims_are_shown() -> None:
    token = Tokens(issuer="the-id", secret="s" * 32, clock=lambda: 1000).sign(ttl_seconds=30)
    wire = Wire()
    add(wire, request_headers={"authorization": f"Bearer {token}", "connection_id": "the-id"})
    [entry] = wire.after(0)
    assert entry["request"]["headers"]["token_claims"] == {"iss": "the-id", "iat": 1000, "exp": 1030}
    assert entry["request"]["headers"]["connection_id"] == "the-id"
    assert not any(part in json.dumps(entry) for part in token.split("."))


@pytest.mark.parametrize("value", ["Bearer", "Bearer garbage", "Bearer a.b.c", "Bearer a.ÿÿ.c", "Basic dXNlcjpzZWNyZXQ="])
def test_a_header_that_is_no_token_is_left_out_just_the_same(value: str) -> None:
    wire = Wire()
    add(wire, request_headers={"Authorization": value})
    [entry] = wire.after(0)
    assert entry["request"]["headers"]["token_claims"] is None
    assert "garbage" not in json.dumps(entry)
    assert "dXNlcjpzZWNyZXQ" not in json.dumps(entry)


def test_a_body_is_shown_as_json_or_text_or_by_its_size() -> None:
    assert shown_body(b'{"a": 1}') == {"a": 1}
    assert shown_body(b"<html>") == "<html>"
    assert shown_body(b"NaN") == "NaN"
    assert shown_body(b"\xff") == "\ufffd"
    assert str(LONGEST_BODY_BYTES + 2) in shown_body(b'"' + b"a" * LONGEST_BODY_BYTES + b'"')
