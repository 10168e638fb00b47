"""The sandbox teaches DMS as it is: tokens without `exp`, string texts, numeric ids, repeats written anew, links that die.

What it sends is looked at as bytes on the wire, and what it takes over real HTTP.
"""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from flask.testing import FlaskClient

from lchook.core.tokens import Tokens
from lchook.dms.client import DmsClient
from lchook.sandbox.bodies import AGENT_LEFT
from lchook.sandbox.dms import SandboxDms
from lchook.sandbox.faults import WEBHOOK_FAULTS
from lchook.sandbox.web import create_app
from tests.support.jwts import ISSUER, SECRET, mint, read
from tests.support.recorder import Recorder, Request, recording_hook

TEXT = {"type": "text", "customer_id": "c1", "message_id": 1, "text": ["Hello"]}
DEADLINE_SECONDS = 10


@pytest.fixture
def hook() -> Iterator[Recorder]:
    with recording_hook() as recorder:
        yield recorder


@pytest.fixture
def dms(hook: Recorder) -> Iterator[SandboxDms]:
    with SandboxDms(issuer=ISSUER, secret=SECRET, webhook_url=hook.url) as dms:
        yield dms


@pytest.fixture
def browser(dms: SandboxDms) -> FlaskClient:
    return create_app(dms, "").test_client()


def post(dms: SandboxDms, body: Any = TEXT, *, token: str | None = None) -> requests.Response:
    headers = {"Authorization": f"Bearer {mint() if token is None else token}", "connection_id": ISSUER}
    return requests.post(dms.url, json=body, headers=headers, timeout=DEADLINE_SECONDS)


def bodies(requests: list[Request]) -> list[Any]:
    return [json.loads(request.body) for request in requests]


# --- case 12: tokens as Pega's SDK signs them ---


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({"iat": 0}, 200),
        ({"iat": -290}, 200),
        ({"iat": -310}, 401),
        ({"iat": 290}, 200),
        ({"iat": 310}, 401),
        ({"iat": -45, "exp": -15}, 401),
        ({"iat": -45, "exp": 255}, 200),
    ],
    ids=lambda value: f"case-12 {value}",
)
def test_a_token_counts_from_its_iat_and_needs_no_exp(dms: SandboxDms, claims: dict[str, int], status: int) -> None:
    now = int(time.time())
    token = mint(without=("exp",), **{name: now + offset for name, offset in claims.items() if name == "iat"})
    if "exp" in claims:
        token = mint(**{name: now + offset for name, offset in claims.items()})
    answer = post(dms, token=token)
    assert answer.status_code == status, answer.text
    assert status == 200 or answer.json()["error"]


def test_dms_signs_without_exp(dms: SandboxDms, hook: Recorder) -> None:
    dms.send("c1")
    header, claims = read(hook.requests[0].token)
    assert header == {"typ": "JWT", "alg": "HS256"}
    assert set(claims) == {"iss", "iat"}
    assert (claims["iss"], abs(claims["iat"] - time.time()) < DEADLINE_SECONDS) == (ISSUER, True)


# --- what DMS takes and what it does not ---


@pytest.mark.parametrize(
    ("changes", "refused_for"),
    [
        ({"customer_id": 200}, None),
        ({"message_id": 1_763_856_000_000}, None),
        ({"message_id": "1"}, None),
        ({"text": "Hello"}, "text"),
        ({"customer_id": None}, "customer_id"),
        ({"customer_id": True}, "customer_id"),
        ({"type": "never_heard_of"}, "never_heard_of"),
        ({"type": "menu"}, "menu"),
        ({"timestamp": 1}, "timestamp"),
    ],
    ids=str,
)
def test_ids_may_be_numbers_and_what_dms_does_not_know_is_refused_in_words(
    dms: SandboxDms, changes: dict[str, Any], refused_for: str | None
) -> None:
    body = {**TEXT, **changes}
    answer = post(dms, body)
    assert answer.status_code == (400 if refused_for else 200)
    assert refused_for is None or refused_for in answer.json()["error"]
    assert dms.accepted == ([] if refused_for else [body])
    if not refused_for:
        kept = dms.accepted[0]
        assert (type(kept["customer_id"]), type(kept["message_id"])) == (type(body["customer_id"]), type(body["message_id"]))


def test_a_number_is_answered_with_the_number_and_with_its_digits(dms: SandboxDms, hook: Recorder) -> None:
    for message_id in range(3):
        assert post(dms, {**TEXT, "customer_id": 200, "message_id": message_id}).status_code == 200
    ids = [body["customer_id"] for body in bodies(hook.wait_for(8))]
    assert {repr(each) for each in ids} == {"200", "'200'"}
    assert [entry["customer_id"] for entry in dms.wire.after(0)][-1] == "200", "the wire log knows one customer"


# --- case 17, and DMS's other habits ---


def test_case_17_what_speaks_by_itself_writes_a_text_as_a_string(dms: SandboxDms, hook: Recorder) -> None:
    post(dms, {**TEXT, "text": ["help"]})
    texts = [body["text"] for body in bodies(hook.wait_for(4)) if body["type"] == "text"]
    assert [type(text) for text in texts] == [list, str]


def said(
    dms: SandboxDms, hook: Recorder, fault: str, kind: str = "text", customer_id: str = "200", count: int = 1, **fields: Any
) -> list[Request]:
    dms.faults.set(webhook=fault)
    dms.say(customer_id, kind, **fields).result(DEADLINE_SECONDS)
    return hook.wait_for(count)


def check_string_text(dms: SandboxDms, hook: Recorder) -> None:
    [body] = bodies(said(dms, hook, "string_text", text=["One,", "two"]))
    assert body["text"] == "One, two"


def check_numeric_id(dms: SandboxDms, hook: Recorder) -> None:
    [body] = bodies(said(dms, hook, "numeric_id"))
    assert (body["customer_id"], type(body["customer_id"])) == (200, int)


def check_rewritten(dms: SandboxDms, hook: Recorder) -> None:
    first, second = said(dms, hook, "rewritten", "menu", count=2)
    assert first.body != second.body
    assert json.loads(first.body) == json.loads(second.body)
    shown = [entry["request"]["body"] for entry in dms.wire.after(0)]
    assert shown[1] == second.body.decode(), "as it was written"


def check_reused_id(dms: SandboxDms, hook: Recorder) -> None:
    first, second = bodies(said(dms, hook, "reused_id", count=2))
    assert first["message_id"] == second["message_id"]
    assert first["text"] != second["text"]


def check_out_of_order(dms: SandboxDms, hook: Recorder) -> None:
    dms.faults.set(webhook="out_of_order")
    post(dms)
    # Of the greeting and the menu, each after an indicator, what is second goes first.
    types = [body["type"] for body in bodies(hook.wait_for(4))]
    assert types == ["text", "typing_indicator", "menu", "typing_indicator"]


def check_agent_leaves(dms: SandboxDms, hook: Recorder) -> None:
    [body] = bodies(said(dms, hook, "agent_leaves", "csr_end_session"))
    assert (body["type"], body["text"]) == ("text", AGENT_LEFT)


def check_dead_links(dms: SandboxDms, hook: Recorder) -> None:
    [body] = bodies(said(dms, hook, "dead_links", "attachments"))
    browser = create_app(dms, "").test_client()
    for attachment in body["attachments"]:
        answer = browser.get(attachment["url"])
        assert (answer.status_code, "Request has expired" in answer.text) == (403, True)


def check_gzip(dms: SandboxDms, hook: Recorder) -> None:
    [request] = said(dms, hook, "gzip", text=["Grüße"])
    assert request.headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(request.body))["text"] == ["Grüße"]
    assert dms.wire.after(0)[0]["request"]["body"]["text"] == ["Grüße"], "the wire log shows what it means"


def check_bom(dms: SandboxDms, hook: Recorder) -> None:
    [request] = said(dms, hook, "bom")
    assert request.body[:4] == b"\xef\xbb\xbf{"


def check_charset(dms: SandboxDms, hook: Recorder) -> None:
    [request] = said(dms, hook, "charset", text=["Grüße"])
    assert request.headers["content-type"] == "application/json; charset=utf-16"
    assert json.loads(request.body.decode("utf-16"))["text"] == ["Grüße"]


def check_chunked(dms: SandboxDms, hook: Recorder) -> None:
    [request] = said(dms, hook, "chunked", "menu")
    assert (request.chunks > 1, "content-length" in request.headers) == (True, False)
    assert json.loads(request.body)["type"] == "menu"


def check_slash(dms: SandboxDms, hook: Recorder) -> None:
    [request] = said(dms, hook, "slash")
    assert request.path == "/webhook/"
    assert dms.wire.after(0)[0]["url"] == f"{hook.url}/"


def check_duplicate(dms: SandboxDms, hook: Recorder) -> None:
    first, second = said(dms, hook, "duplicate", count=2)
    assert first.body == second.body


def check_bad_signature(dms: SandboxDms, hook: Recorder) -> None:
    [request] = said(dms, hook, "bad_signature")
    with pytest.raises(AssertionError):
        read(request.token)


def check_fast_clock(dms: SandboxDms, hook: Recorder) -> None:
    [request] = said(dms, hook, "fast_clock")
    assert 60 < read(request.token)[1]["iat"] - time.time() < 300


def check_slow_clock(dms: SandboxDms, hook: Recorder) -> None:
    [request] = said(dms, hook, "slow_clock")
    assert 60 < time.time() - read(request.token)[1]["iat"] < 300


def check_silence(dms: SandboxDms, hook: Recorder) -> None:
    assert said(dms, hook, "silence", count=0) == []


def check_slow(dms: SandboxDms, hook: Recorder) -> None:
    dms.faults.set(webhook="slow", delay_seconds=0.2)
    started = time.monotonic()
    dms.say("c1", "text").result(DEADLINE_SECONDS)
    assert time.monotonic() - started >= 0.2


def check_none(dms: SandboxDms, hook: Recorder) -> None:
    [request] = said(dms, hook, "none")
    assert (request.path, request.headers["content-type"]) == ("/webhook", "application/json")


@pytest.mark.parametrize("fault", WEBHOOK_FAULTS)
def test_what_a_fault_puts_on_the_wire(dms: SandboxDms, hook: Recorder, fault: str) -> None:
    check: Callable[[SandboxDms, Recorder], None] = globals()[f"check_{fault}"]
    check(dms, hook)


@pytest.mark.parametrize("fault", ["rewritten", "charset", "string_text", "gzip"])
@pytest.mark.parametrize("text", ["half a pair: \ud800", "\u0000", "Grüße 🙂", ""], ids=ascii)
def test_whatever_the_customer_says_its_echo_goes_out(dms: SandboxDms, hook: Recorder, fault: str, text: str) -> None:
    post(dms, {**TEXT, "text": ["menu"]})
    hook.wait_for(4)
    dms.faults.set(webhook=fault)
    post(dms, {**TEXT, "message_id": 2, "text": [text]})
    hook.wait_for(6)
    dms.faults.clear()
    post(dms, {**TEXT, "message_id": 3, "text": ["wait"]})
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not hook.requests[-1].body.endswith(b'"waitTime":2}'):
        assert time.monotonic() < deadline, "what waits behind it went out, too"
        hook.wait_for(len(hook.requests) + 1)
    assert [entry["error"] for entry in dms.wire.after(0) if entry["error"]] == []


def test_what_cannot_be_sent_costs_itself_only(dms: SandboxDms, hook: Recorder) -> None:
    assert dms.say("c1", "text", text=[{"no", "JSON"}]).result(DEADLINE_SECONDS) is None
    assert dms.say("c1", "text").result(DEADLINE_SECONDS) == 200
    assert "not sent: TypeError" in dms.wire.after(0)[0]["error"]


def test_links_die_after_the_time_that_is_set(dms: SandboxDms, hook: Recorder, browser: FlaskClient) -> None:
    assert browser.put("/sandbox/faults", json={"link_seconds": 1}).status_code == 200
    dms.say("c1", "attachments")
    [body] = bodies(hook.wait_for(1))
    url = body["attachments"][0]["url"]
    assert browser.get(url).status_code == 200
    deadline, dead = time.monotonic() + DEADLINE_SECONDS, threading.Event()
    while (answer := browser.get(url)).status_code == 200 and time.monotonic() < deadline:
        dead.wait(0.05)
    assert (answer.status_code, "Request has expired" in answer.text) == (403, True)


def test_an_unknown_type_is_refused_on_request_and_by_itself(dms: SandboxDms) -> None:
    dms.faults.set(dms="unknown_type", times=1)
    for answer in (post(dms), post(dms, {**TEXT, "type": "hologram"})):
        assert (answer.status_code, "does not know" in answer.json()["error"]) == (400, True)
    assert post(dms).status_code == 200


# --- answers as a gateway sends them on ---


@pytest.mark.parametrize("fault", ["gateway", "none"])
def test_lch_reads_an_answer_that_a_gateway_gzipped_and_cut_into_chunks(dms: SandboxDms, fault: str) -> None:
    dms.faults.set(dms=fault)
    answer = post(dms)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert ("Content-Encoding" in answer.headers) is (fault == "gateway")
    client = DmsClient(
        url=dms.url,
        tokens=Tokens(issuer=ISSUER, secret=SECRET, clock=time.time),
        token_ttl_seconds=30,
        connect_timeout_seconds=DEADLINE_SECONDS,
        read_timeout_seconds=DEADLINE_SECONDS,
    )
    # More than one on a connection: what is left of one answer would be read as the next.
    for body, status in ((TEXT, 200), ({**TEXT, "type": "hologram"}, 400), (TEXT, 200)):
        assert client.post(json.dumps(body).encode()).status == status
    client.close()
