"""What clients and DMS really send, and what gateways make of it: cases from the field, over real connections."""

from __future__ import annotations

import gzip
import itertools
import json
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import requests

from lchook.core.tokens import CustomerTokens
from tests.support.clients import PythonClient
from tests.support.jwts import ISSUER, SECRET, mint
from tests.support.liberal_dms import LiberalDms
from tests.support.servers import Server, flask_command, free_port, gunicorn_command
from tests.support.waiting import wait_until

_numbers = itertools.count(7_000_000)


class Field:
    """LCH, a DMS that takes everything, and posts to the webhook."""

    def __init__(self, server: Server, dms: LiberalDms) -> None:
        self.url = server.url
        self.server = server
        self.dms = dms

    def post(self, body: bytes, path: str = "/webhook", **headers: str) -> requests.Response:
        """Post bytes to the webhook, signed. Headers are named with underscores."""
        sent = {"Content-Type": "application/json", "Authorization": f"Bearer {mint()}"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return requests.post(f"{self.url}{path}", data=body, headers=sent, timeout=10)

    def client(self, **options: Any) -> PythonClient:
        return PythonClient(self.url, **options)


def start(stack: ExitStack, command: Any, **settings: str) -> Field:
    dms = stack.enter_context(LiberalDms())
    port = free_port()
    usual = {"DMS_URL": dms.url, "JWT_ISSUER": ISSUER, "JWT_SECRET": SECRET, "STORE_URL": "memory:", "OUTBOX_TTL": "0"}
    server = stack.enter_context(Server(command(port), port, **{**usual, **settings}))
    return Field(server, dms)


@pytest.fixture(scope="module")
def gunicorn() -> Iterator[Field]:
    with ExitStack() as stack:
        yield start(stack, gunicorn_command, FORWARD_FIELDS="locale, channel", MAX_MESSAGE_BYTES="200000")


@pytest.fixture(scope="module")
def flask_run() -> Iterator[Field]:
    with ExitStack() as stack:
        yield start(stack, flask_command, MAX_MESSAGE_BYTES="200000")


@pytest.fixture
def field(gunicorn: Field) -> Iterator[Field]:
    """As in production: posts go to the webhook without WSGI where they can."""
    yield gunicorn
    gunicorn.dms.answer = lambda body: 200


@pytest.fixture(params=["gunicorn", "flask_run"])
def any_field(request: pytest.FixtureRequest) -> Field:
    found: Field = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def number() -> int:
    """A customer's id that no other test has, as a number."""
    return next(_numbers)


# What a client sends, and what DMS gets of it

A = {"type": "text", "message_id": 1, "text": ["a"]}
URL = {"url": "https://files.example.com/1"}


@pytest.mark.parametrize(
    ("message", "body", "ignored"),
    [
        pytest.param({**A, "text": "plain string"}, {**A, "text": ["plain string"]}, [], id="4-text is a string"),
        pytest.param({**A, "text": ""}, {**A, "text": [""]}, [], id="4-text is an empty string"),
        pytest.param({**A, "text": [None, "a"]}, A, [], id="4-nulls in text"),
        pytest.param(
            {"type": "customer_end_session", "message_id": 1, "text": []},
            {"type": "customer_end_session", "message_id": 1},
            [],
            id="4-an end with an empty text",
        ),
        pytest.param(
            {"type": "customer_end_session", "message_id": 1, "text": [None]},
            {"type": "customer_end_session", "message_id": 1},
            [],
            id="4-an end as LCC sends it",
        ),
        pytest.param(
            {"type": "text", "message_id": 1, "postback": "p"},
            {"type": "text", "message_id": 1, "postback": "p"},
            [],
            id="4-a choice without words",
        ),
        pytest.param({**A, "attachments": URL}, {**A, "attachments": [URL]}, [], id="4-attachments is one object"),
        pytest.param({**A, "customer_name": None, "context_data": None}, A, [], id="4-nulls"),
        pytest.param({**A, "timestamp": 5, "waitTime": 3}, A, ["timestamp", "waitTime"], id="9-fields beyond the eight"),
        pytest.param({**A, "timestamp": None}, A, [], id="9-nothing under a name is no loss"),
        pytest.param(
            {**A, "locale": {"a": [1, None]}, "channel": 0, "more": 1},
            {**A, "locale": {"a": [1, None]}, "channel": 0},
            ["more"],
            id="9-FORWARD_FIELDS",
        ),
        pytest.param(
            {**A, **{f"f{n:02}": n for n in range(30)}, "x" * 1000: 1}, A, [f"f{n:02}" for n in range(20)], id="9-very many"
        ),
        pytest.param({**A, "x" * 1000: 1}, A, ["x" * 64], id="9-a very long name"),
        pytest.param(
            {"type": "typing_indicator", "isTyping": True}, {"type": "typing_indicator"}, ["isTyping"], id="9-typing"
        ),
        pytest.param(
            {"type": "wait_time", "waitTime": 5}, {"type": "wait_time", "waitTime": 5}, [], id="9-a type that is not known"
        ),
        pytest.param(
            {"type": "Text", "text": "as it is", "message_id": "1", "a": None, "b": {"c": [None, 1.5, True]}},
            {"type": "Text", "text": "as it is", "message_id": "1", "a": None, "b": {"c": [None, 1.5, True]}},
            [],
            id="9-a type that is not known goes whole",
        ),
    ],
)
def test_what_dms_gets_of_a_message(
    field: Field, customer: str, message: dict[str, Any], body: dict[str, Any], ignored: list[str]
) -> None:
    with field.client() as client:
        answer = client.call("clientMessage", {"customer_id": customer, **message})

    assert answer["status"] == "sent"
    assert answer.get("ignored", []) == ignored
    assert field.dms.of(customer) == [{"customer_id": customer, **body}]


@pytest.mark.parametrize(
    ("message", "words"),
    [
        pytest.param({**A, "text": 5}, "text must be a string or a list", id="4-text is a number"),
        pytest.param({**A, "text": [["a"]]}, "text must be a string or a list", id="4-lists in lists"),
        pytest.param({**A, "attachments": [1]}, "attachments must be a list of objects", id="4-attachments are numbers"),
        pytest.param({**A, "customer_id": True}, "customer_id must be a string or a number", id="2-a boolean"),
        pytest.param({**A, "customer_id": None}, "customer_id must be a string or a number", id="2-null"),
        pytest.param({**A, "customer_id": [200]}, "customer_id must be a string or a number", id="2-a list"),
        pytest.param({**A, "customer_id": 10**300}, "customer_id must be a string or a number", id="2-very large"),
    ],
)
def test_what_is_refused_in_words(field: Field, customer: str, message: dict[str, Any], words: str) -> None:
    with field.client() as client:
        answer = client.call("clientMessage", {"customer_id": customer, **message})

    assert answer["status"] == "rejected"
    assert words in answer["error"]


def test_what_failed_and_what_comes_again_names_what_was_ignored_too(field: Field, customer: str) -> None:
    field.dms.answer = lambda body: 400 if body["customer_id"] == customer else 200
    with field.client() as client:
        message = {**A, "customer_id": customer, "timestamp": 1}
        first = client.call("clientMessage", message)
        again = client.call("clientMessage", message)
        errors = client.wait_for_errors(2)

    assert (first["status"], first["ignored"]) == ("failed", ["timestamp"])
    assert again == first
    assert [error[1] for error in errors] == [first, first]
    assert len(field.dms.of(customer)) == 1


def test_the_log_names_an_ignored_field_once(field: Field, customer: str) -> None:
    with field.client() as client:
        for message_id in (1, 2):
            client.call("clientMessage", {**A, "message_id": message_id, "customer_id": customer, "nobody_knows": 1})

    assert field.server.log.count("a field is not forwarded: FORWARD_FIELDS can name it field='nobody_knows'") == 1


# Case 1: who is the same message


@pytest.mark.parametrize(
    ("first", "second", "posts"),
    [
        pytest.param(A, {**A, "text": ["b"]}, 2, id="1-other words"),
        pytest.param(A, {**A, "postback": "p"}, 2, id="1-other fields"),
        pytest.param(A, {**A, "message_id": "1"}, 2, id="1-a number is not its text"),
        pytest.param({**A, "context_data": {"a": 1}}, {**A, "context_data": {"a": True}}, 2, id="1-true is not 1"),
        pytest.param({**A, "context_data": {"a": "1.0"}}, {**A, "context_data": {"a": "1"}}, 2, id="1-texts stay texts"),
        pytest.param({**A, "locale": "nl"}, {**A, "locale": "de"}, 2, id="1-what FORWARD_FIELDS names counts"),
        pytest.param({"type": "x", "message_id": 1, "a": 1}, {"type": "x", "message_id": 1, "a": 2}, 2, id="1-unknown type"),
        pytest.param({**A, "message_id": None}, {**A, "message_id": None}, 2, id="1-no id, no repeat"),
        pytest.param(A, A, 1, id="1-the same"),
        pytest.param(A, dict(reversed(A.items())), 1, id="1-another order"),
        pytest.param({**A, "timestamp": 1}, {**A, "timestamp": 2}, 1, id="1-what is not forwarded does not count"),
        pytest.param(A, {**A, "text": "a"}, 1, id="1-a string and a list of one"),
        pytest.param(A, {**A, "text": ["a", None], "customer_name": None}, 1, id="1-nulls"),
        pytest.param(
            {**A, "context_data": {"a": 1, "b": 2}}, {**A, "context_data": {"b": 2.0, "a": 1}}, 1, id="1-inner order"
        ),
        pytest.param({**A, "message_id": 1}, {**A, "message_id": 1.0}, 1, id="1-1.0 is 1"),
        pytest.param(
            {"type": "customer_end_session", "message_id": 1},
            {"type": "customer_end_session", "message_id": 1, "text": [None]},
            1,
            id="1-ends",
        ),
        pytest.param(
            {"type": "typing_indicator", "message_id": 1},
            {"type": "typing_indicator", "message_id": 1},
            2,
            id="1-typing with a constant id",
        ),
    ],
)
def test_a_repeat_is_what_has_the_same_id_and_content(
    field: Field, customer: str, first: dict[str, Any], second: dict[str, Any], posts: int
) -> None:
    with field.client() as client:
        outcomes = [
            client.call("clientMessage", {"customer_id": customer, **message})["status"] for message in (first, second)
        ]

    assert outcomes == ["sent", "sent"]
    assert len(field.dms.of(customer)) == posts


def test_a_repeat_of_what_is_under_way_gets_its_outcome_and_other_words_under_its_id_their_own(
    field: Field, customer: str
) -> None:
    go_on = threading.Event()
    field.dms.answer = lambda body: 200 if go_on.wait(5) and body.get("text") != ["b"] else 400
    with field.client() as one, field.client() as other:
        message = {**A, "customer_id": customer}
        calls = [(one, one.emit("clientMessage", message))]
        field.dms.wait_for(customer, 1)
        calls += [(other, other.emit("clientMessage", message))]
        calls += [(one, one.emit("clientMessage", {**message, "text": "b"}))]
        other.settle()
        go_on.set()
        outcomes = [client.ack(number)["status"] for client, number in calls]

    assert outcomes == ["sent", "sent", "failed"]
    assert [body["text"] for body in field.dms.of(customer)] == [["a"], ["b"]]


def test_the_habit_is_logged_once_of_a_customer(field: Field, customer: str) -> None:
    with field.client() as client:
        for text in "abca":
            assert client.say(customer, text, message_id=1)["status"] == "sent"

    lines = [
        line for line in field.server.log.splitlines() if customer in line and "gives one message_id to several" in line
    ]
    assert len(lines) == 1
    assert "WARNING" in lines[0]
    assert [body["text"] for body in field.dms.of(customer)] == [["a"], ["b"], ["c"]]


# Cases 2 and 3: numbers as ids


@pytest.mark.parametrize("answered_to", [int, str, float], ids=["3-number", "2-text", "3-number with a point"])
def test_answers_to_a_number_and_to_its_text_reach_the_client_that_has_it(
    any_field: Field, number: int, answered_to: Any
) -> None:
    payload = {"type": "text", "customer_id": answered_to(number), "message_id": "m", "text": ["Hi"]}
    with any_field.client() as client:
        assert client.call("clientMessage", {**A, "customer_id": number})["status"] == "sent"
        assert any_field.post(json.dumps(payload).encode()).status_code == 200
        [got] = client.wait_for_messages(1)

    [body] = any_field.dms.of(number)
    assert type(body["customer_id"]) is int
    assert got == payload
    assert type(got["customer_id"]) is answered_to


@pytest.mark.parametrize(("claimed", "answered_to"), [(float, str), (str, int), (str, float)], ids=str)
def test_2_the_same_customer_whatever_the_type(field: Field, number: int, claimed: Any, answered_to: Any) -> None:
    with field.client(auth={"customer_id": claimed(number)}) as client:
        client.settle()
        field.post(json.dumps({"customer_id": answered_to(number)}).encode())
        client.wait_for_messages(1)


def test_2_a_client_resumes_with_a_number_as_its_id(field: Field, number: int) -> None:
    assert field.post(json.dumps({"type": "text", "customer_id": number, "message_id": 1, "text": "kept"}).encode()).ok
    with field.client(auth={"customer_id": number}) as client:
        [got] = client.wait_for_messages(1)

    assert got["text"] == "kept"


def test_2_a_token_is_for_a_customer_whose_id_is_sent_as_a_number() -> None:
    secret = "of the site's own backend, long enough"
    with ExitStack() as stack:
        field = start(stack, gunicorn_command, CUSTOMER_TOKEN_SECRET=secret)
        token = CustomerTokens(secret=secret, clock=time.time).sign("200", ttl_seconds=60)
        with field.client(auth={"token": token}) as client:
            assert client.call("clientMessage", {**A, "customer_id": 200})["status"] == "sent"
            refused = client.call("clientMessage", {**A, "customer_id": 201})
            assert field.post(b'{"customer_id": 200, "type": "text", "text": ["Hi"]}').ok
            client.wait_for_messages(1)

        assert refused["status"] == "rejected"
        assert field.dms.bodies == [{**A, "customer_id": 200}]


@pytest.mark.parametrize("customer_id", [b"true", b"null", b"[200]", b'{"a": 1}', b"1" * 300, b"1e400"], ids=repr)
def test_3_what_can_be_no_id_is_answered_400(field: Field, customer_id: bytes) -> None:
    response = field.post(b'{"customer_id": %s}' % customer_id)

    assert response.status_code == 400
    assert response.json()["error"]


# Cases 5, 6 and 7: bodies and addresses as gateways make them

TEXT = "Grüße, é, 100 €"
LATIN = "Grüße, é"


def zipped(body: bytes, window_bits: int) -> bytes:
    packer = zlib.compressobj(wbits=window_bits)
    return packer.compress(body) + packer.flush()


def in_two(body: bytes) -> list[bytes]:
    return [body[:5], body[5:]]


def named(charset: str) -> dict[str, str]:
    return {"Content_Type": f"application/json; charset={charset}"}


def packed(*codings: str) -> dict[str, str]:
    return {"Content_Encoding": ", ".join(codings)}


CODED = [
    pytest.param(TEXT, lambda s: s.encode("utf-8-sig"), {}, id="5-byte order mark"),
    pytest.param(TEXT, lambda s: s.encode("utf-16"), {}, id="5-UTF-16 with its mark"),
    pytest.param(TEXT, lambda s: s.encode("utf-32"), {}, id="5-UTF-32 with its mark"),
    pytest.param(TEXT, lambda s: s.encode("utf-16"), named("utf-16"), id="5-UTF-16 named"),
    pytest.param(TEXT, lambda s: s.encode("utf-16-be"), named("UTF-16BE"), id="5-UTF-16BE"),
    pytest.param(TEXT, lambda s: s.encode("utf-16-le"), named('"utf-16le"'), id="5-UTF-16LE"),
    pytest.param(TEXT, lambda s: s.encode("utf-8-sig"), named("iso-8859-1"), id="5-a mark says more than the header"),
    pytest.param(TEXT, lambda s: s.encode(), named('"UTF-8"; x=y'), id="5-quoted"),
    pytest.param(TEXT, lambda s: s.encode(), {"Content_Type": "text/plain;charset=utf8"}, id="5-utf8"),
    pytest.param(TEXT, lambda s: s.encode(), named("klingon"), id="5-no charset, but UTF-8"),
    pytest.param(TEXT, lambda s: s.encode(), named("zip"), id="5-a codec of Python's only"),
    pytest.param(LATIN, lambda s: s.encode("latin-1"), named("iso-8859-1"), id="5-Latin-1"),
    pytest.param(LATIN, lambda s: s.encode("latin-1"), {"Content_Type": "a/b; Charset=ISO-8859-1"}, id="5-upper case"),
    pytest.param(TEXT, lambda s: s.encode("cp1252"), named("windows-1252"), id="5-windows-1252"),
    pytest.param("カ", lambda s: s.encode("shift_jis"), named("Shift_JIS"), id="5-Shift JIS"),
    pytest.param(TEXT, lambda s: gzip.compress(s.encode()), packed("gzip"), id="6-gzip"),
    pytest.param(TEXT, lambda s: gzip.compress(s.encode()), packed("GZIP"), id="6-upper case"),
    pytest.param(TEXT, lambda s: gzip.compress(s.encode()), packed("x-gzip"), id="6-x-gzip"),
    pytest.param(TEXT, lambda s: zipped(s.encode(), 15), packed("deflate"), id="6-deflate"),
    pytest.param(TEXT, lambda s: zipped(s.encode(), -15), packed("deflate"), id="6-deflate without its frame"),
    pytest.param(TEXT, lambda s: s.encode(), packed("identity"), id="6-identity"),
    pytest.param(TEXT, lambda s: s.encode(), packed(""), id="6-empty"),
    pytest.param(TEXT, lambda s: gzip.compress(s.encode()), packed("identity", "gzip"), id="6-a list"),
    pytest.param(TEXT, lambda s: gzip.compress(gzip.compress(s.encode())), packed("gzip", "gzip"), id="6-twice"),
    pytest.param(TEXT, lambda s: zipped(gzip.compress(s.encode()), 15), packed("gzip", "deflate"), id="6-two codings"),
    pytest.param(TEXT, lambda s: b"".join(map(gzip.compress, in_two(s.encode()))), packed("gzip"), id="6-in parts"),
    pytest.param(TEXT, lambda s: gzip.compress(s.encode()) + b"\0" * 99, packed("gzip"), id="6-padded"),
    pytest.param(TEXT, lambda s: iter(in_two(gzip.compress(s.encode()))), packed("gzip"), id="6-in chunks"),
    pytest.param(TEXT, lambda s: iter(in_two(s.encode("utf-8-sig"))), {}, id="5-mark in chunks"),
    pytest.param(LATIN, lambda s: gzip.compress(s.encode("latin-1")), {**named("latin1"), **packed("gzip")}, id="6-both"),
]


@pytest.mark.parametrize("path", ["/webhook", "/webhook/"], ids=["5-6", "7"])
@pytest.mark.parametrize(("text", "encode", "headers"), CODED)
def test_a_body_is_decoded_as_http_says(
    any_field: Field, customer: str, text: str, encode: Any, headers: dict[str, str], path: str
) -> None:
    payload = {"customer_id": customer, "type": "text", "message_id": "m", "text": [text]}
    with any_field.client(auth={"customer_id": customer}) as client:
        client.settle()
        response = any_field.post(encode(json.dumps(payload, ensure_ascii=False)), path, **headers)
        assert (response.status_code, response.text) == (200, "OK")
        assert client.wait_for_messages(1) == [payload]


GOOD = b'{"customer_id": "c", "type": "text"}'
ZEROS = b'{"customer_id": "c", "a": "%s"}' % (b"0" * 50_000_000)
BOMB = gzip.compress(ZEROS)


@pytest.mark.parametrize(
    ("body", "headers", "status", "words"),
    [
        pytest.param(BOMB, {"Content_Encoding": "gzip"}, 413, "larger than 200000", id="6-a bomb"),
        pytest.param(zipped(ZEROS, -15), {"Content_Encoding": "deflate"}, 413, "larger", id="6-a bomb, deflate"),
        pytest.param(gzip.compress(BOMB), {"Content_Encoding": "gzip, gzip"}, 413, "larger", id="6-a bomb in a parcel"),
        pytest.param(gzip.compress(b"") * 9_000, {"Content_Encoding": "gzip"}, 400, "more than", id="6-thousands of parts"),
        pytest.param(GOOD, {"Content_Encoding": "gzip"}, 400, "Content-Encoding says", id="6-not gzip at all"),
        pytest.param(b"", {"Content_Encoding": "gzip"}, 400, "breaks off", id="6-nothing"),
        pytest.param(gzip.compress(GOOD)[:-5], {"Content_Encoding": "gzip"}, 400, "breaks off", id="6-cut short"),
        pytest.param(gzip.compress(GOOD) + b"more", {"Content_Encoding": "gzip"}, 400, "as its", id="6-more behind it"),
        pytest.param(zipped(GOOD, 15) + b"x", {"Content_Encoding": "deflate"}, 400, "more than", id="6-more behind deflate"),
        pytest.param(
            gzip.compress(GOOD)[:20] + b"\xff\xff" + gzip.compress(GOOD)[22:],
            {"Content_Encoding": "gzip"},
            400,
            "compressed",
            id="6-damaged",
        ),
        pytest.param(GOOD, {"Content_Encoding": "br"}, 415, "gzip, deflate", id="6-br"),
        pytest.param(GOOD, {"Content_Encoding": "zstd"}, 415, "gzip, deflate", id="6-zstd"),
        pytest.param(GOOD, {"Content_Encoding": "gzip, nonsense"}, 415, "gzip, deflate", id="6-nonsense"),
        pytest.param(GOOD, {"Content_Encoding": ",".join(["gzip"] * 500)}, 415, "more than 2", id="6-hundreds of codings"),
        pytest.param(b'{"customer_id": "\xe9"}', {"Content_Type": "a/b; charset=klingon"}, 415, "charset", id="5-klingon"),
        pytest.param(b'{"customer_id": "\xe9"}', {}, 400, "UTF-8", id="5-not UTF-8"),
        pytest.param(b"\xef\xbb\xbf", {}, 400, "JSON", id="5-nothing but a mark"),
        pytest.param(b"\xff\xfe{\x00}", {}, 400, "JSON", id="5-half a character"),
        pytest.param(b'{"customer_id": "\x81"}', {"Content_Type": "a/b; charset=cp1252"}, 400, "charset", id="5-not in it"),
    ],
)
def test_what_cannot_be_decoded_is_refused_in_words(
    any_field: Field, body: bytes, headers: dict[str, str], status: int, words: str
) -> None:
    response = any_field.post(body, **headers)

    assert response.status_code == status
    assert words in response.json()["error"]
    assert response.headers["Content-Type"] == "application/json"
    if status == 415:
        assert response.headers["Accept-Encoding"] == "gzip, deflate"
    assert any_field.post(GOOD).status_code == 200


def test_6_who_has_no_token_has_nothing_decompressed(any_field: Field) -> None:
    response = any_field.post(BOMB, Content_Encoding="gzip", Authorization="Bearer nobody's")

    assert response.status_code == 401


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_7_a_slash_at_the_end_of_the_webhook_is_nothing(any_field: Field, method: str) -> None:
    assert requests.request(method, f"{any_field.url}/webhook/", allow_redirects=False, timeout=10).status_code == 200


def test_7_only_the_webhook_itself_has_one(any_field: Field) -> None:
    for path in ("/webhook/x", "/webhook/webhook", "/webhookx", "/healthz/"):
        assert any_field.post(GOOD, path).status_code == 404


# Case 8: the same webhook, written anew


def written(customer: str, **fields: Any) -> bytes:
    return json.dumps({"type": "text", "customer_id": customer, "message_id": 5, "text": ["é"], "n": 1, **fields}).encode()


@pytest.mark.parametrize(
    ("rewrite", "headers", "deliveries"),
    [
        pytest.param(lambda m: json.dumps(m, indent=2), {}, 1, id="8-white space"),
        pytest.param(lambda m: json.dumps(dict(reversed(m.items()))), {}, 1, id="8-order of keys"),
        pytest.param(lambda m: json.dumps(m, ensure_ascii=False), {}, 1, id="8-escapes"),
        pytest.param(lambda m: json.dumps({**m, "n": 1.0}), {}, 1, id="8-1.0 is 1"),
        pytest.param(lambda m: json.dumps(m).replace('"n": 1', '"n": 10e-1'), {}, 1, id="8-an exponent"),
        pytest.param(lambda m: gzip.compress(json.dumps(m).encode()), {"Content_Encoding": "gzip"}, 1, id="8-gzip"),
        pytest.param(lambda m: json.dumps({**m, "text": ["other"]}), {}, 2, id="8-other words"),
        pytest.param(lambda m: json.dumps({**m, "message_id": 6}), {}, 2, id="8-another id"),
        pytest.param(lambda m: json.dumps({**m, "message_id": "5"}), {}, 2, id="8-a number is not its text"),
        pytest.param(lambda m: json.dumps({**m, "n": True}), {}, 2, id="8-true is not 1"),
        pytest.param(lambda m: json.dumps({**m, "more": None}), {}, 2, id="8-one field more"),
    ],
)
@pytest.mark.parametrize("path", ["/webhook", "/webhook/"])
def test_a_webhook_that_is_written_anew_is_a_repeat(
    field: Field, customer: str, rewrite: Any, headers: dict[str, str], deliveries: int, path: str
) -> None:
    with field.client(auth={"customer_id": customer}) as client:
        client.settle()
        first = written(customer)
        again = rewrite(json.loads(first))
        assert field.post(first).status_code == 200
        client.wait_for_messages(1)
        assert field.post(again if isinstance(again, bytes) else again.encode(), path, **headers).status_code == 200
        client.wait_for_messages(deliveries)
        client.settle()
        assert len(client.messages) == deliveries


def test_17_a_text_that_is_a_string_is_relayed_as_it_is(field: Field, customer: str) -> None:
    with field.client(auth={"customer_id": customer}) as client:
        client.settle()
        assert field.post(json.dumps({"type": "text", "customer_id": customer, "text": "one string"}).encode()).ok
        assert client.wait_for_messages(1) == [{"type": "text", "customer_id": customer, "text": "one string"}]


# Cases 14 and 34: people, and posts that miss


def test_14_a_person_who_opens_the_address_is_told_what_this_is(any_field: Field) -> None:
    response = requests.get(f"{any_field.url}/", headers={"Accept": "text/html"}, timeout=10)

    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/html")
    assert "LCH" in response.text
    for words in ("/webhook", "/socket.io/", "client-protocol.md"):
        assert words in response.text
    for secret in (ISSUER, SECRET, any_field.dms.url):
        assert secret not in response.text
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "script-src" not in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    head = requests.head(f"{any_field.url}/", timeout=10)
    assert (head.status_code, head.text) == (200, "")
    assert head.headers["Content-Length"] == response.headers["Content-Length"]


def test_14_other_addresses_are_404_in_words(any_field: Field) -> None:
    response = requests.get(f"{any_field.url}/index.html", timeout=10)

    assert response.status_code == 404
    assert "/socket.io/" in response.json()["error"]


def misdirected(field: Field) -> float:
    text = requests.get(f"{field.url}/metrics", timeout=10).text
    return float(next(line.split()[1] for line in text.splitlines() if line.startswith("lch_misdirected_posts_total")))


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/", 404),
        ("POST", "/webhook/webhook", 404),
        ("POST", "/api/webhook", 404),
        ("POST", "/Webhook", 404),
        ("PUT", "/webhook", 405),
        ("POST", "/healthz", 405),
    ],
)
def test_34_a_post_that_misses_is_told_the_right_address_logged_and_counted(
    field: Field, method: str, path: str, status: int
) -> None:
    before = misdirected(field)
    response = requests.request(method, f"{field.url}{path}?key=secret", data=GOOD, timeout=10)

    assert response.status_code == status
    assert "DMS posts to /webhook" in response.json()["error"]
    assert misdirected(field) == before + 1
    assert "key=secret" not in field.server.log


def test_34_the_log_says_it_but_not_without_end() -> None:
    with ExitStack() as stack:
        field = start(stack, gunicorn_command)
        for number in range(100):
            assert field.post(GOOD, f"/nowhere/{number}").status_code == 404

        lines = [line for line in field.server.log.splitlines() if "a post came to an address that takes none" in line]
        assert "path='/nowhere/0'" in lines[0]
        assert len(lines) < 20
        assert misdirected(field) == 100


# Case 44: the end of a session


def end_of(customer: str) -> dict[str, Any]:
    return {"type": "customer_end_session", "customer_id": customer, "message_id": 1}


def text_to(field: Field, customer: str, text: str) -> None:
    body = {"type": "text", "customer_id": customer, "message_id": text, "text": [text]}
    assert field.post(json.dumps(body).encode()).status_code == 200


@pytest.mark.parametrize(("status", "delivered"), [(400, ["waits"]), (500, ["waits"]), (200, [])])
def test_44_what_waits_is_dropped_only_where_dms_has_taken_the_end(
    field: Field, customer: str, status: int, delivered: list[str]
) -> None:
    text_to(field, customer, "waits")
    field.dms.answer = lambda body: status if body["customer_id"] == customer else 200
    with field.client() as client:
        answer = client.call("clientMessage", end_of(customer))
        assert answer["status"] == ("sent" if status == 200 else "failed")
        if delivered:
            client.wait_for_messages(1)
        client.settle()
        assert [message["text"] for message in client.messages] == [[text] for text in delivered]


def test_44_what_comes_after_the_end_was_said_is_delivered(field: Field, customer: str) -> None:
    text_to(field, customer, "before")

    def answer(body: dict[str, Any]) -> int:
        if body["customer_id"] == customer:
            text_to(field, customer, "goodbye")
        return 200

    field.dms.answer = answer
    with field.client() as client:
        assert client.call("clientMessage", end_of(customer))["status"] == "sent"
        client.wait_for_messages(1)
        client.settle()
        assert client.messages[-1]["text"] == ["goodbye"]


def test_44_a_repeat_of_an_old_end_drops_nothing(field: Field, customer: str) -> None:
    with field.client() as client:
        assert client.call("clientMessage", end_of(customer))["status"] == "sent"
    text_to(field, customer, "of the next session")
    with field.client() as client:
        assert client.call("clientMessage", end_of(customer))["status"] == "sent"
        client.wait_for_messages(1)

    assert len(field.dms.of(customer)) == 1


# Case 33 is the stores', and a clock's: tests/unit/test_store_contract.py and test_store_sqlite.py.


def test_33_what_became_of_a_message_is_still_known_after_a_restart(tmp_path: Any, customer: str) -> None:
    store = f"sqlite:///{tmp_path}/lch.sqlite3"
    with LiberalDms() as dms:
        for _ in range(2):
            port = free_port()
            settings = {"DMS_URL": dms.url, "JWT_ISSUER": ISSUER, "JWT_SECRET": SECRET, "STORE_URL": store}
            with Server(gunicorn_command(port), port, **settings) as server, PythonClient(server.url) as client:
                answer = client.say(customer, message_id=17)
                assert answer == {"status": "sent", "message_id": 17, "dms_status": 200}

        assert len(dms.of(customer)) == 1


# Case 37: hosts in FIPS mode


def test_37_both_ways_work_without_the_functions_that_fips_forbids(tmp_path: Any, customer: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import hashlib, sys\n"
        "for name in ('blake2b', 'blake2s'):\n"
        "    delattr(hashlib, name)\n"
        "def refuse(*args, **options):\n"
        "    if options.get('usedforsecurity', True):\n"
        "        raise ValueError('[digital envelope routines] unsupported')\n"
        "hashlib.md5 = refuse\n"
    )
    with ExitStack() as stack:
        field = start(stack, gunicorn_command, PYTHONPATH=str(tmp_path))
        for transport in ("polling", "websocket"):
            with field.client(transports=(transport,)) as client:
                assert client.say(customer)["status"] == "sent"
                text_to(field, customer, f"by {transport}")
                wait_until(lambda got=client: got.messages, "a delivery")
        assert field.post(GOOD, "/webhook/").status_code == 200
        assert requests.get(f"{field.url}/", timeout=10).status_code == 200
