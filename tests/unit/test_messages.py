"""messages.py: what travels to DMS, what is refused, and what a webhook may be."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lchook.core.messages import (
    FIELDS_TO_DMS,
    MessageError,
    MessageToDms,
    customer_from_dms,
    customer_key,
    dms_from_client,
)

MAX_BYTES = 1_000_000


def to_dms(message: object, *, max_bytes: int = MAX_BYTES) -> MessageToDms:
    return dms_from_client(message, max_bytes=max_bytes, resolve_customer=lambda customer_id: customer_id)


def body_of(message: object) -> Any:
    return json.loads(to_dms(message).body)


TEXT = {"type": "text", "customer_id": "c1", "customer_name": "Kim", "message_id": 1700000000000, "text": ["Hi"]}


@pytest.mark.parametrize(
    ("message", "body"),
    [
        pytest.param(TEXT, TEXT, id="text"),
        pytest.param(
            {**TEXT, "attachments": [{"url": "https://x/y"}], "context_data": {"a": {"b": [1, None, 2.5]}}},
            {**TEXT, "attachments": [{"url": "https://x/y"}], "context_data": {"a": {"b": [1, None, 2.5]}}},
            id="text with attachments and context",
        ),
        pytest.param({**TEXT, "postback": "buy"}, {**TEXT, "postback": "buy"}, id="menu choice"),
        pytest.param(
            {"type": "typing_indicator", "customer_id": "c1"},
            {"type": "typing_indicator", "customer_id": "c1"},
            id="typing",
        ),
        pytest.param(
            {"type": "customer_end_session", "customer_id": "c1", "customer_name": "Kim", "message_id": 7, "text": [None]},
            {"type": "customer_end_session", "customer_id": "c1", "customer_name": "Kim", "message_id": 7},
            id="end of session, as LCC sends it",
        ),
        pytest.param(
            {"type": "rich_new_thing", "customer_id": "c1", "text": ["x"]},
            {"type": "rich_new_thing", "customer_id": "c1", "text": ["x"]},
            id="unknown type",
        ),
        pytest.param({**TEXT, "customer_id": ""}, {**TEXT, "customer_id": ""}, id="unauthenticated person"),
        pytest.param({**TEXT, "csr_name": "Eve", "iss": "x", "": 1}, TEXT, id="fields that DMS does not know"),
        pytest.param({**TEXT, "text": [None, "a", None, "", "b"]}, {**TEXT, "text": ["a", "", "b"]}, id="nulls in text"),
        pytest.param({**TEXT, "postback": None, "attachments": None}, TEXT, id="null fields"),
        pytest.param(
            {**TEXT, "text": ["\U0001f600 \u00e5\u4e2d\x00\u2028"]},
            {**TEXT, "text": ["\U0001f600 \u00e5\u4e2d\x00\u2028"]},
            id="Unicode",
        ),
    ],
)
def test_what_travels_to_dms(message: dict[str, Any], body: dict[str, Any]) -> None:
    assert body_of(message) == body


@pytest.mark.parametrize("message_id", [0, 1700000000000, 2**60 + 1, -1, 1.5, "17", "\u00e5"])
def test_a_message_id_keeps_its_type(message_id: object) -> None:
    travelled = body_of({**TEXT, "message_id": message_id})["message_id"]

    assert travelled == message_id
    assert type(travelled) is type(message_id)


def test_a_text_without_a_message_id_gets_a_uuid_of_its_own() -> None:
    message = {"type": "text", "customer_id": "c1", "text": ["Hi"]}

    ids = {body_of(message)["message_id"] for _ in range(3)} | {body_of({**message, "message_id": None})["message_id"]}

    assert len(ids) == 4
    assert all(str(uuid.UUID(id_)) == id_ for id_ in ids)
    assert to_dms(message).message_id not in ids
    assert "message_id" not in message


@pytest.mark.parametrize(
    ("message", "words"),
    [
        pytest.param(None, "one object", id="nothing"),
        pytest.param("text", "one object", id="a string"),
        pytest.param([TEXT], "one object", id="a list"),
        pytest.param(b"\x00", "one object", id="binary"),
        pytest.param({}, "customer_id", id="empty"),
        pytest.param({"type": "text"}, "customer_id", id="no customer_id"),
        pytest.param({**TEXT, "customer_id": None}, "customer_id", id="null customer_id"),
        pytest.param({**TEXT, "customer_id": True}, "customer_id", id="boolean customer_id"),
        pytest.param({**TEXT, "customer_id": ["c1"]}, "customer_id", id="list as customer_id"),
        pytest.param({"customer_id": "c1"}, "type", id="no type"),
        pytest.param({**TEXT, "type": ""}, "type", id="empty type"),
        pytest.param({**TEXT, "type": 1}, "type", id="numeric type"),
        pytest.param({**TEXT, "customer_name": 1}, "customer_name", id="numeric name"),
        pytest.param({**TEXT, "message_id": ""}, "message_id", id="empty message_id"),
        pytest.param({**TEXT, "message_id": True}, "message_id", id="boolean message_id"),
        pytest.param({**TEXT, "message_id": {}}, "message_id", id="object as message_id"),
        pytest.param({**TEXT, "message_id": float("nan")}, "message_id", id="NaN message_id"),
        pytest.param({**TEXT, "text": {"0": "Hi"}}, "text", id="object as text"),
        pytest.param({**TEXT, "text": [1]}, "text", id="number in text"),
        pytest.param({**TEXT, "text": [["Hi"]]}, "text", id="list in text"),
        pytest.param({**TEXT, "text": [b"Hi"]}, "text", id="binary in text"),
        pytest.param({**TEXT, "postback": {}}, "postback", id="object as postback"),
        pytest.param({**TEXT, "attachments": "https://x"}, "attachments", id="attachments no list"),
        pytest.param({**TEXT, "attachments": [{}]}, "attachments", id="attachment without url"),
        pytest.param({**TEXT, "context_data": []}, "context_data", id="context no object"),
        pytest.param({**TEXT, "context_data": {"a": b"x"}}, "plain JSON", id="binary deep inside"),
        pytest.param({**TEXT, "context_data": {"a": float("inf")}}, "plain JSON", id="infinity deep inside"),
    ],
)
def test_what_is_refused_in_words(message: object, words: str) -> None:
    with pytest.raises(MessageError, match=words):
        to_dms(message)


def test_what_is_nested_too_deeply_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"a": deep}

    with pytest.raises(MessageError, match="nested too deeply"):
        to_dms({**TEXT, "context_data": deep})


def test_the_size_of_the_json_is_bounded() -> None:
    size = len(to_dms(TEXT).body)

    to_dms(TEXT, max_bytes=size)
    with pytest.raises(MessageError, match=f"larger than {size - 1} bytes"):
        to_dms(TEXT, max_bytes=size - 1)


def test_a_message_goes_for_the_customer_that_its_socket_may_speak_for() -> None:
    checked = dms_from_client(TEXT, max_bytes=MAX_BYTES, resolve_customer=lambda claimed: f"not {claimed}")

    assert checked.customer_id == "not c1"
    assert json.loads(checked.body) == {**TEXT, "customer_id": "not c1"}


def test_a_refusal_quotes_nothing_of_the_message() -> None:
    with pytest.raises(MessageError) as caught:
        to_dms({**TEXT, "text": ["my card number", 4111]})

    assert "card" not in str(caught.value)
    assert "4111" not in str(caught.value)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=5)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner)
        | st.dictionaries(st.text(max_size=5) | st.integers() | st.none(), inner, max_size=4)
    ),
    max_leaves=10,
)
# Objects whose fields are called as DMS's are, with values that are right now and then.
messages = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(FIELDS_TO_DMS, anything),
        "type": st.sampled_from(["text", "typing_indicator", "x"]) | anything,
        "customer_id": st.text(max_size=5) | anything,
        "customer_name": st.text(max_size=5) | anything,
        "message_id": st.integers() | st.text(max_size=5) | anything,
        "text": st.lists(st.text(max_size=5) | st.none(), max_size=3) | anything,
        "attachments": st.lists(st.fixed_dictionaries({"url": st.text()}), max_size=2) | anything,
        "context_data": st.dictionaries(st.text(max_size=5), anything, max_size=3) | anything,
        "unknown": anything,
    },
)


@given(messages | anything)
@example({"type": "text", "customer_id": "\ud800", "text": ["\udfff"]})
@example({"type": "x", "customer_id": "c", "message_id": 10**5000})
def test_whatever_a_client_sends_is_refused_in_words_or_travels_as_json(message: Any) -> None:
    try:
        checked = to_dms(message)
    except MessageError:
        return

    body = json.loads(checked.body)
    assert (customer_key(body["customer_id"]), body["type"]) == (checked.customer_id, checked.type)
    assert body.get("message_id") == checked.message_id
    # What has been through once comes out the same again.
    assert body_of(body) == body
    if body["type"] not in ("text", "typing_indicator", "customer_end_session"):
        assert checked.body == json.dumps(message, separators=(",", ":")).encode()
        return
    assert set(body) <= set(FIELDS_TO_DMS)
    assert None not in body.values()
    for name in set(body) - {"text", "message_id", "attachments"}:
        assert json.dumps(body[name]) == json.dumps(message[name])


def test_a_webhook_is_passed_on_whole() -> None:
    payload = {"customer_id": "c1", "type": "menu", "unknown": {"a": [1, 2.5, None, True, 2**70, "\U0001f600"]}, "": ""}

    message = customer_from_dms(json.dumps(payload).encode())

    assert (message.customer_id, message.type, message.payload) == ("c1", "menu", payload)


@pytest.mark.parametrize("type_", [None, 1, ["text"]])
def test_a_webhook_needs_no_type(type_: object) -> None:
    assert customer_from_dms(json.dumps({"customer_id": "", "type": type_}).encode()).type is None
    assert customer_from_dms(b'{"customer_id": "c1"}').type is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"{}",
        b'{"customer_id": null}',
        b'{"customer_id": true}',
        b'{"customer_id": ["c1"]}',
        b'{"customer_id": "c1", "n": NaN}',
        b'{"customer_id": "c1", "n": -Infinity}',
        b'{"customer_id": "c1", "n": 1e999}',
        b'{"customer_id": "c1", "n": ' + b"1" * 5000 + b"}",
        b'{"customer_id": "c\xff"}',
        b"\x00\x01\x02\x03",
        b"[" * 200_000,
        b'{"customer_id": "c1", "a": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    ],
    ids=lambda body: repr(body[:30]),
)
def test_a_body_that_is_no_message_is_refused_in_words(body: bytes) -> None:
    with pytest.raises(MessageError, match=r"customer_id|JSON"):
        customer_from_dms(body)


def test_a_webhook_may_be_nested_a_hundred_levels_deep() -> None:
    def nested(levels: int) -> bytes:
        return b'{"customer_id": "c1", "wide": %s, "a": %s1%s}' % (
            json.dumps([{}] * 200).encode(),
            b'{"a":[' * (levels // 2),
            b"]}" * (levels // 2),
        )

    customer_from_dms(nested(98))
    with pytest.raises(MessageError, match="100 levels"):
        customer_from_dms(nested(100))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.binary() | json_values.map(lambda value: json.dumps({"customer_id": "c", "x": value}).encode()))
def test_whatever_is_posted_is_refused_in_words_or_can_be_passed_on_as_json(body: bytes) -> None:
    try:
        message = customer_from_dms(body)
    except MessageError:
        return

    assert json.loads(json.dumps(message.payload, allow_nan=False)) == json.loads(body)


# What is proven of a customer


def proven(message: dict[str, Any], **facts: Any) -> MessageToDms:
    return dms_from_client(message, max_bytes=10_000, resolve_customer=lambda claimed: claimed or "c-1", facts=facts)


def test_what_is_proven_takes_the_place_of_what_the_client_says() -> None:
    said = {"type": "text", "text": ["x"], "message_id": 1, "customer_name": "I", "context_data": {"vip": True}}
    message = proven(said, customer_name="Ada", context_data={"vip": False})
    assert json.loads(message.body) == {
        "type": "text",
        "customer_id": "c-1",
        "customer_name": "Ada",
        "message_id": 1,
        "text": ["x"],
        "context_data": {"vip": False},
    }
    assert message.ignored == ["customer_name", "context_data"]
    # A claim that is not there leaves the client's word.
    assert json.loads(proven(said, customer_name="Ada").body)["context_data"] == {"vip": True}


def test_a_repeat_is_one_whatever_the_next_token_says() -> None:
    said = {"type": "text", "text": ["x"], "message_id": 1}
    assert proven(said, customer_name="Ada").key == proven(said, customer_name="Ada L.").key == proven(said).key


def test_only_texts_carry_what_is_proven_and_nothing_carries_what_is_not() -> None:
    facts = {"customer_name": "Ada", "context_data": {"a": 1}}
    assert json.loads(proven({"type": "typing_indicator"}, **facts).body) == {
        "type": "typing_indicator",
        "customer_id": "c-1",
    }
    for type_ in ("typing_indicator", "customer_end_session", "unknown"):
        assert json.loads(proven({"type": type_, "customer_name": "I"}, **facts).body)["customer_name"] == "Ada"


def test_an_id_may_be_left_out_only_where_it_is_proven() -> None:
    with pytest.raises(MessageError, match="customer_id must be"):
        dms_from_client({"type": "text"}, max_bytes=1_000, resolve_customer=lambda claimed: "x")
    with pytest.raises(MessageError, match="customer_id must be"):
        proven({"type": "text", "customer_id": None})


def test_what_is_proven_counts_for_the_size() -> None:
    with pytest.raises(MessageError, match="larger than"):
        proven({"type": "text", "text": ["x"]}, context_data={"x": "y" * 10_000})
