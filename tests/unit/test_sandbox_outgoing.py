"""What leaves DMS for one message under each fault: the same message in other bytes, or what the fault says."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from lchook.sandbox.bodies import AGENT_LEFT, KINDS, webhook_body
from lchook.sandbox.faults import GATEWAY_FAULTS, WEBHOOK_FAULTS
from lchook.sandbox.outgoing import outgoing_under

TEXT = webhook_body("text", "200", text=["Grüße,", "Zoë"], message_id="m1")


def decoded(raw: bytes) -> Any:
    """As a hook that knows nothing of gateways would read it."""
    return json.loads(raw)


@pytest.mark.parametrize("fault", ["none", "bad_signature", "silence", "slow", "out_of_order", "dead_links"])
def test_faults_of_other_kinds_leave_the_message_alone(fault: str) -> None:
    [outgoing] = outgoing_under(fault, TEXT)
    assert decoded(outgoing.raw) == TEXT
    assert (outgoing.headers, outgoing.slash, outgoing.chunked, outgoing.clock_ahead_seconds) == ({}, False, False, 0)


@pytest.mark.parametrize("fault", WEBHOOK_FAULTS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_fault_copes_with_every_kind(fault: str, kind: str) -> None:
    body = webhook_body(kind, "c1")
    before = json.dumps(body)
    assert all(outgoing.raw for outgoing in outgoing_under(fault, body))
    assert json.dumps(body) == before, "the message itself is not changed"


def test_a_text_is_written_as_one_string() -> None:
    [outgoing] = outgoing_under("string_text", TEXT)
    assert decoded(outgoing.raw) == {**TEXT, "text": "Grüße, Zoë"}


@pytest.mark.parametrize(
    ("customer_id", "written"),
    [
        ("200", 200),
        (200, "200"),
        ("0", 0),
        ("007", "007"),
        ("-1", "-1"),
        ("²", "²"),
        ("customer-1", "customer-1"),
        ("", ""),
        (str(2**53), str(2**53)),
        ("9" * 5000, "9" * 5000),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_an_id_is_written_as_the_other_type_where_both_say_the_same(customer_id: str | int, written: str | int) -> None:
    [outgoing] = outgoing_under("numeric_id", {**TEXT, "customer_id": customer_id})
    assert repr(decoded(outgoing.raw)["customer_id"]) == repr(written)


@pytest.mark.parametrize("kind", KINDS)
def test_a_repeat_written_anew_is_the_same_json_in_other_bytes(kind: str) -> None:
    first, second = outgoing_under("rewritten", webhook_body(kind, "c1"))
    assert first.raw != second.raw
    assert decoded(first.raw) == decoded(second.raw)
    assert list(decoded(first.raw)) == list(reversed(decoded(second.raw)))
    assert b"\n" in second.raw
    assert second.shown == second.raw.decode(), "the wire log shows how it was written"


def test_an_id_used_again_comes_with_other_words() -> None:
    first, second = (decoded(outgoing.raw) for outgoing in outgoing_under("reused_id", TEXT))
    assert first == TEXT
    assert (second["message_id"], second["customer_id"], second["type"]) == ("m1", "200", "text")
    assert second["text"] != first["text"]
    assert len(outgoing_under("reused_id", webhook_body("typing_indicator", "c1"))) == 1


def test_an_agent_leaves_in_words_instead_of_an_end() -> None:
    [outgoing] = outgoing_under("agent_leaves", webhook_body("csr_end_session", "c1"))
    said = decoded(outgoing.raw)
    assert (said["type"], said["text"]) == ("text", AGENT_LEFT)
    assert said["message_id"]
    [outgoing] = outgoing_under("agent_leaves", TEXT)
    assert decoded(outgoing.raw) == TEXT


def test_gateways_code_a_message_and_mean_the_same() -> None:
    sent = {fault: outgoing_under(fault, TEXT) for fault in GATEWAY_FAULTS}
    assert all(len(each) == 1 and each[0].shown for each in sent.values())
    gzipped, bom, charset, chunked, slash = (each[0] for each in sent.values())

    assert gzipped.headers == {"Content-Encoding": "gzip"}
    assert decoded(gzip.decompress(gzipped.raw)) == TEXT
    assert bom.raw.startswith(b"\xef\xbb\xbf")
    assert decoded(bom.raw[3:]) == TEXT
    assert charset.headers == {"Content-Type": "application/json; charset=utf-16"}
    assert decoded(charset.raw.decode("utf-16").encode()) == TEXT
    assert (chunked.chunked, decoded(chunked.raw)) == (True, TEXT)
    assert (slash.slash, decoded(slash.raw)) == (True, TEXT)


def test_a_clock_that_is_minutes_wrong_is_within_what_counts() -> None:
    [fast], [slow] = outgoing_under("fast_clock", TEXT), outgoing_under("slow_clock", TEXT)
    assert 60 < fast.clock_ahead_seconds < 300
    assert fast.clock_ahead_seconds == -slow.clock_ahead_seconds
