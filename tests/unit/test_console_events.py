"""What the console makes of events: what it keeps, what it hides, what it finds."""

from __future__ import annotations

import gc
import re
import weakref
from pathlib import Path
from typing import Any

import pytest

from lchook.console.events import _FLOWS_OF_PARTS, LEVELS, MEANINGS, Filter, Masks, latest, meaning_of, shown
from lchook.console.history import MOST_CHARACTERS, History
from lchook.logs import Event, Log, Spoken

PACKAGE = Path(__file__).resolve().parents[2] / "lchook"
NO_MASKS = Masks([])
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJ4In0.c2lnbmF0dXJl"


def event(text: str = "to DMS: sent", *, part: str = "to_dms", level: str = "info", **fields: Any) -> Event:
    return Event(1_700_000_000.1234, level, part, text, fields)


def find(events: list[Event], **wanted: Any) -> list[Any]:
    """The customers of the events that are found."""
    found, _ = latest(1, events, Filter.from_client(wanted), NO_MASKS, 100)
    return [event["customer"] for event in found]


# The history


def test_the_history_keeps_the_latest_events_and_their_numbers() -> None:
    history = History(3)
    for number in range(1, 6):
        history.append(event(message=number))
    first, events = history.all()
    assert (first, [event.fields["message"] for event in events], history.latest) == (3, [3, 4, 5], 5)


def test_the_history_keeps_no_error_alive_and_no_long_text() -> None:
    class ReasonError(Exception):
        pass

    history = History(3)
    error = ReasonError("why")
    gone = weakref.ref(error)
    history.append(event(reason=error, message="m" * 5000))
    del error
    gc.collect()
    assert gone() is None
    _, [kept] = history.all()
    assert kept.fields["reason"] == "why"
    assert len(kept.fields["message"]) == MOST_CHARACTERS


def test_what_somebody_says_is_kept_as_its_length_only(monkeypatch: pytest.MonkeyPatch) -> None:
    history = History(3)
    history.append(Event(0.0, "info", "chat", "received", {"text": Spoken(["canary"])}))
    monkeypatch.setattr(Spoken, "shown", True)
    _, [kept] = history.all()
    assert kept.fields["text"] == "(6 characters)"


def test_a_log_hands_its_events_to_the_history(monkeypatch: pytest.MonkeyPatch) -> None:
    history = History(3)
    monkeypatch.setattr(Log, "history", history)
    Log("lchook.flows.to_dms").warning("to DMS: failed", customer="c1")
    _, [kept] = history.all()
    assert (kept.part, kept.level, kept.fields) == ("to_dms", "warning", {"customer": "c1"})


# Meanings


@pytest.mark.parametrize(("part", "text"), MEANINGS)
def test_every_event_that_has_a_meaning_is_logged_by_its_part(part: str, text: str) -> None:
    source = (PACKAGE / f"{part.replace('.', '/')}.py").read_text()
    assert f'"{text}' in source, "the event's text was changed: change its meaning too"


@pytest.mark.parametrize("part", _FLOWS_OF_PARTS)
def test_every_part_that_has_a_flow_is_there(part: str) -> None:
    assert (PACKAGE / f"{part.replace('.', '/')}.py").is_file()


def test_most_events_of_the_flows_have_a_meaning() -> None:
    for part, flow in (
        ("to_dms", "to_dms"),
        ("to_customer", "to_customer"),
        ("webhook", "to_customer"),
        ("chat", "connections"),
    ):
        source = (PACKAGE / f"{part}.py").read_text()
        for level, text in re.findall(r'log\.(info|warning|error|exception)\(\s*f?"([^"{]+)', source):
            known = level if level in LEVELS else "error"
            assert meaning_of(event(text, part=part, level=known))[0] in (flow, "to_dms", "connections")


def test_an_error_without_a_meaning_of_its_own_is_a_failure_of_its_flow() -> None:
    assert meaning_of(event("something new", part="to_customer", level="error")) == ("to_customer", "lost")
    assert meaning_of(event("something new", part="ticker")) == ("other", "none")


# Masks


def test_secrets_and_tokens_are_hidden_wherever_they_turn_up() -> None:
    masks = Masks(["a long secret", "", "short"])
    hidden = shown(7, event(customer=JWT, reason=f"Bearer {JWT}, a long secret, in short", type="text"), masks)
    assert hidden["customer"] == "(token)"
    assert hidden["fields"] == {"reason": "Bearer (token), (secret), in short"}


@pytest.mark.parametrize("value", [None, True, 17, 1.5, "17"])
def test_what_is_no_secret_keeps_its_type(value: Any) -> None:
    assert Masks(["a long secret"]).hide(value) is value


def test_a_number_that_a_browser_would_round_becomes_a_text() -> None:
    assert Masks([]).hide(2**60 + 1) == str(2**60 + 1)


def test_an_event_is_shown_by_name_number_and_meaning() -> None:
    assert shown(7, event(customer="c1", message=17, dms_status=200), NO_MASKS) == {
        "n": 7,
        "at": 1_700_000_000_123.4,
        "level": "info",
        "part": "to_dms",
        "text": "to DMS: sent",
        "flow": "to_dms",
        "outcome": "done",
        "customer": "c1",
        "message": 17,
        "type": None,
        "fields": {"dms_status": 200},
    }


# Filters

EVENTS = [
    event("received from DMS", part="webhook", customer="Ada"),
    event("to DMS: failed", level="error", customer="ada-2"),
    event("connected", part="chat"),
    event("to DMS: sent", customer=""),
    event("mailbox full", part="to_customer", level="warning", customer="Bo"),
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
    assert find(EVENTS, **wanted) == customers


@pytest.mark.parametrize("wanted", [None, 5, [], "x", {"customer": 5, "flow": {}, "level": ["error"], "outcome": None}])
def test_a_filter_that_makes_no_sense_is_none(wanted: Any) -> None:
    assert Filter.from_client(wanted) == Filter()


def test_the_latest_are_found_oldest_first_and_whether_that_is_all() -> None:
    events = [event(message=number) for number in range(10)]
    found, is_all = latest(100, events, Filter(), NO_MASKS, 3)
    assert ([event["n"] for event in found], is_all) == ([107, 108, 109], False)
    assert latest(100, events, Filter(), NO_MASKS, 10)[1]
