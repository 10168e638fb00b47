"""What the sandbox DMS takes and what it refuses: the body. (Tokens: see the app tests.)"""

from __future__ import annotations

from typing import Any

import pytest

from lchook.sandbox.posts import KNOWN_FIELDS, RefusedError, check_body, strict_json

TEXT = {"type": "text", "customer_id": "c1", "message_id": 1, "text": ["Hello"]}


@pytest.mark.parametrize(
    "body",
    [
        TEXT,
        {**TEXT, "customer_id": ""},
        {**TEXT, "message_id": "m-1", "customer_name": "Ada", "postback": "p", "context_data": {"page": 1}},
        {**TEXT, "attachments": [{"url": "https://example.com/a.png"}]},
        {"type": "text", "customer_id": "c1", "message_id": 1},
        {"type": "typing_indicator", "customer_id": "c1"},
        {"type": "customer_end_session", "customer_id": "c1", "customer_name": "Ada", "message_id": 2},
        {**TEXT, "customer_id": 200},
        {**TEXT, "customer_id": 200.5, "message_id": 0},
        {**TEXT, "customer_id": 10**400, "message_id": 10**400},
    ],
)
def test_what_the_contract_knows_is_taken(body: dict[str, Any]) -> None:
    check_body(body)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (None, "object"),
        ([TEXT], "object"),
        ("text", "object"),
        ({"customer_id": "c1"}, "type"),
        ({**TEXT, "type": 1}, "type"),
        ({**TEXT, "type": ""}, "type"),
        ({"type": "text", "message_id": 1}, "customer_id"),
        ({**TEXT, "customer_id": None}, "customer_id"),
        ({**TEXT, "customer_id": True}, "customer_id"),
        ({**TEXT, "customer_id": ["c1"]}, "customer_id"),
        ({**TEXT, "customer_id": float("nan")}, "customer_id"),
        ({"type": "a type of the future", "customer_id": "c1"}, "'a type of the future'"),
        ({"type": "menu", "customer_id": "c1"}, "'menu'"),
        ({"type": "text", "customer_id": "c1", "text": ["Hello"]}, "message_id"),
        ({**TEXT, "message_id": None}, "message_id"),
        ({**TEXT, "message_id": True}, "message_id"),
        ({**TEXT, "text": "Hello"}, "text"),
        ({**TEXT, "text": []}, "text"),
        ({**TEXT, "text": [None]}, "text"),
        ({**TEXT, "text": ["Hello", 1]}, "text"),
        ({**TEXT, "customer_name": None}, "customer_name"),
        ({**TEXT, "postback": None}, "postback"),
        ({**TEXT, "attachments": [{}]}, "attachments"),
        ({**TEXT, "context_data": []}, "context_data"),
        ({**TEXT, "csr_name": "x"}, "csr_name"),
    ],
)
def test_anything_else_is_refused_in_words(body: object, named: str) -> None:
    with pytest.raises(RefusedError, match=named) as refused:
        check_body(body)
    assert refused.value.status == 400


def test_a_dms_that_was_taught_more_takes_other_types_and_fields_and_still_checks_those_it_knows() -> None:
    check_body({"type": "hologram", "customer_id": "c1", "beam": [1]}, takes_unknown=True)
    with pytest.raises(RefusedError, match="customer_id"):
        check_body({"type": "hologram", "beam": [1]}, takes_unknown=True)
    with pytest.raises(RefusedError, match="text"):
        check_body({**TEXT, "text": "Hello", "timestamp": 1}, takes_unknown=True)


def test_eight_fields_are_known() -> None:
    assert len(KNOWN_FIELDS) == 8


@pytest.mark.parametrize("raw", [b"", b"{", b"NaN", b"[1e999]", b'"\xff"', b"{'a': 1}", b"[" * 100_000])
def test_what_is_no_json_raises(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        strict_json(raw)


def test_json_keeps_its_types() -> None:
    assert strict_json(b'{"a": [1, 1.5, "\xc3\xa5", null, true]}') == {"a": [1, 1.5, "å", None, True]}
