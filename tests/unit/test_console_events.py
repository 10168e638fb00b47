"""What the console makes of events: what it keeps, what it hides, what it finds."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from lchook.console.events import Filter, Redactor, latest, shown
from lchook.console.history import MAX_CHARACTERS, History
from lchook.core import events
from lchook.core.events import LogEvent
from lchook.logs import Log, LogEntry, Redacted

NO_SECRETS = Redactor([])
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJ4In0.c2lnbmF0dXJl"


def entry(event: LogEvent = events.SENT_TO_DMS, *, part: str = "to_dms", level: str = "info", **fields: Any) -> LogEntry:
    return LogEntry(1_700_000_000.1234, level, part, event, event.text, fields)


def find(entries: list[LogEntry], **wanted: Any) -> list[Any]:
    """The customers of the events that are found."""
    found, _ = latest(1, entries, Filter.from_client(wanted), NO_SECRETS, 100)
    return [event["customer"] for event in found]


# The history


def test_the_history_keeps_the_latest_events_and_their_numbers() -> None:
    history = History(3)
    for number in range(1, 6):
        history.append(entry(message=number))
    first, entries = history.all()
    assert (first, [entry.fields["message"] for entry in entries], history.latest) == (3, [3, 4, 5], 5)


def test_the_history_keeps_no_error_alive_and_no_long_text() -> None:
    class ReasonError(Exception):
        pass

    history = History(3)
    error = ReasonError("why")
    gone = weakref.ref(error)
    history.append(entry(reason=error, message="m" * 5000))
    del error
    gc.collect()
    assert gone() is None
    _, [kept] = history.all()
    assert kept.fields["reason"] == "why"
    assert len(kept.fields["message"]) == MAX_CHARACTERS


def test_what_somebody_says_is_kept_as_its_length_only(monkeypatch: pytest.MonkeyPatch) -> None:
    history = History(3)
    history.append(entry(events.RECEIVED_FROM_CUSTOMER, text=Redacted(["canary"])))
    monkeypatch.setattr(Redacted, "shown", True)
    _, [kept] = history.all()
    assert kept.fields["text"] == "(6 characters)"


def test_a_log_hands_its_events_to_the_history(monkeypatch: pytest.MonkeyPatch) -> None:
    history = History(3)
    monkeypatch.setattr(Log, "history", history)
    Log("lchook.flows.to_dms").warning(events.DMS_FAILED, customer="c1")
    _, [kept] = history.all()
    assert (kept.part, kept.level, kept.event, kept.fields) == ("to_dms", "warning", events.DMS_FAILED, {"customer": "c1"})


# Redaction


def test_secrets_and_tokens_are_hidden_wherever_they_turn_up() -> None:
    redactor = Redactor(["a long secret", "", "short"])
    hidden = shown(7, entry(customer=JWT, reason=f"Bearer {JWT}, a long secret, in short", type="text"), redactor)
    assert hidden["customer"] == "(token)"
    assert hidden["fields"] == {"reason": "Bearer (token), (secret), in short"}


@pytest.mark.parametrize("value", [None, True, 17, 1.5, "17"])
def test_what_is_no_secret_keeps_its_type(value: Any) -> None:
    assert Redactor(["a long secret"]).hide(value) is value


def test_a_number_that_a_browser_would_round_becomes_a_text() -> None:
    assert Redactor([]).hide(2**60 + 1) == str(2**60 + 1)


def test_an_event_is_shown_by_name_number_and_meaning() -> None:
    assert shown(7, entry(customer="c1", message=17, dms_status=200), NO_SECRETS) == {
        "n": 7,
        "at": 1_700_000_000_123.4,
        "level": "info",
        "part": "to_dms",
        "id": "sent_to_dms",
        "text": "to DMS: sent",
        "flow": "to_dms",
        "outcome": "done",
        "customer": "c1",
        "message": 17,
        "type": None,
        "fields": {"dms_status": 200},
    }


# Filters

ENTRIES = [
    entry(events.RECEIVED_FROM_DMS, part="webhook", customer="Ada"),
    entry(events.DMS_FAILED, level="error", customer="ada-2"),
    entry(events.CONNECTED, part="chat"),
    entry(events.SENT_TO_DMS, customer=""),
    entry(events.MAILBOX_FULL, part="to_customer", level="warning", customer="Bo"),
]


@pytest.mark.parametrize(
    ("wanted", "customers"),
    [
        ({}, ["Ada", "ada-2", None, "", "Bo"]),
        ({"customer": "AD"}, ["Ada", "ada-2"]),
        ({"customer": "Ada", "exact": True}, ["Ada"]),
        ({"customer": "", "exact": True}, [""]),
        ({"flow": "to_customer"}, ["Ada", "Bo"]),
        ({"flow": "connections"}, [None]),
        ({"outcome": "lost"}, ["ada-2", "Bo"]),
        ({"outcome": "lost", "flow": "to_dms"}, ["ada-2"]),
        ({"level": "warning"}, ["ada-2", "Bo"]),
        ({"level": "error"}, ["ada-2"]),
        ({"customer": "bo", "level": "error"}, []),
    ],
)
def test_a_filter_finds_what_it_names(wanted: dict[str, Any], customers: list[Any]) -> None:
    assert find(ENTRIES, **wanted) == customers


@pytest.mark.parametrize("wanted", [None, 5, [], "x", {"customer": 5, "flow": {}, "level": ["error"], "outcome": None}])
def test_a_filter_that_makes_no_sense_is_none(wanted: Any) -> None:
    assert Filter.from_client(wanted) == Filter()


def test_the_latest_are_found_oldest_first_and_whether_that_is_all() -> None:
    entries = [entry(message=number) for number in range(10)]
    found, is_all = latest(100, entries, Filter(), NO_SECRETS, 3)
    assert ([event["n"] for event in found], is_all) == ([107, 108, 109], False)
    assert latest(100, entries, Filter(), NO_SECRETS, 10)[1]
