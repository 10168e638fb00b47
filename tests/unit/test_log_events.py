"""Log events are data: each has an id and a meaning, is logged by that, and nothing else is logged."""

from __future__ import annotations

from collections import Counter, defaultdict

from lchook.core import events
from lchook.core.events import LogEvent
from lchook.store.files import ON_NETWORK
from tests.support.log_events import all_logged

LOGGED = all_logged()
CONSTANTS = {name: value for name, value in vars(events).items() if isinstance(value, LogEvent)}


def test_an_event_has_the_id_that_its_constant_says() -> None:
    assert [name.lower() for name in CONSTANTS] == [event.id for event in CONSTANTS.values()]
    assert list(events.ALL.values()) == list(CONSTANTS.values())


def test_no_two_events_have_one_text_but_failed_requests() -> None:
    texts = Counter(event.text for event in events.ALL.values())
    assert [text for text, count in texts.items() if count > 1] == [events.REQUEST_FAILED.text]


def test_modules_log_events_and_no_texts() -> None:
    assert [str(logged) for logged in LOGGED if logged.is_text] == []


def test_every_event_is_logged() -> None:
    assert set(events.ALL) - {logged.event.id for logged in LOGGED if logged.event} == set()


def test_an_event_is_logged_at_one_level() -> None:
    levels: dict[str, set[str]] = defaultdict(set)
    for logged in LOGGED:
        if logged.event:
            levels[logged.event.id].add(logged.level)
    assert {event: found for event, found in levels.items() if len(found) > 1} == {}


def test_what_the_doctor_says_of_network_file_systems_the_log_says_too() -> None:
    assert events.STORE_ON_NETWORK.text == f"the store's file {ON_NETWORK}"
