"""Lines of the log: one event, one line, and nothing in it that was not meant to be."""

from __future__ import annotations

import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lchook.core import events
from lchook.logs import LazyMessage, Log, Redacted, _Formatter, json_line, text_line

AT = 1_700_000_000.125


def message(**fields: object) -> LazyMessage:
    return LazyMessage("sent_to_dms", "sent", fields)


@given(st.text(), st.dictionaries(st.sampled_from(["customer", "message", "reason"]), st.text() | st.integers() | st.none()))
def test_whatever_is_logged_is_one_printable_line(text: str, fields: dict[str, object]) -> None:
    for what in (LazyMessage("sent_to_dms", "sent", fields), text):
        line = text_line(AT, "INFO", "chat", what, None)
        assert line.endswith("\n")
        assert line[:-1].isprintable()
        entry = json_line(AT, "INFO", "chat", what, None)
        assert entry.count("\n") == 1
        assert entry.isascii()
        json.loads(entry)


def test_a_line_of_text_has_time_level_part_event_and_fields() -> None:
    line = text_line(AT, "WARNING", "to_dms", message(customer="c'1\n", message=17, none=None), None)
    assert line[4:].split(" ", 1)[1].endswith('.125 WARNING to_dms: sent customer="c\'1\\n" message=17 none=None\n')


def test_a_line_of_json_has_the_fields_as_they_are() -> None:
    entry = json.loads(
        json_line(
            AT,
            "INFO",
            "to_dms",
            message(customer="å\n", message=17),
            "ValueError at x.py:1",
        )
    )
    assert entry == {
        "time": "2023-11-14T22:13:20.125Z",
        "level": "info",
        "part": "to_dms",
        "id": "sent_to_dms",
        "event": "sent",
        "customer": "å\n",
        "message": 17,
        "error": "ValueError at x.py:1",
    }


@pytest.mark.parametrize(
    "value", ["x" * 100_000, 10**4000, -(10**4000), ["y" * 100_000]], ids=["text", "int", "-int", "list"]
)
def test_no_field_makes_a_line_endless(value: object) -> None:
    for line in (text_line(AT, "INFO", "chat", message(message=value), None),
                 json_line(AT, "INFO", "chat", message(message=value), None)):  # fmt: skip
        assert len(line) < 400


def test_what_people_say_shows_only_how_long_it_is() -> None:
    line = text_line(AT, "INFO", "chat", message(text=Redacted(["my secret", "is this"])), None)
    assert "(16 characters)" in line
    assert "secret" not in line


def test_an_error_shows_its_kind_and_place_and_not_its_words(caplog: pytest.LogCaptureFixture) -> None:
    log = Log("lchook.test")
    try:
        raise ValueError("what somebody said")
    except ValueError as error:
        log.exception(events.EVENT_FAILED, customer="c1")
        log.unexpected(events.EVENT_FAILED, error, customer="c1")
    for record in caplog.records:
        line = _Formatter(staticmethod(text_line)).format(record)  # type: ignore[arg-type]
        assert "error='ValueError at " in line
        assert "test_logs.py" in line
        assert "somebody said" not in line
    assert len(caplog.records) == 2
    assert logging.getLogger("lchook.test").isEnabledFor(logging.ERROR)


def test_fields_that_a_text_names_are_shown_there_and_nowhere_else(caplog: pytest.LogCaptureFixture) -> None:
    Log("lchook.test").error(events.NOT_ACKNOWLEDGED, customer="c1", seconds=10.0)
    [record] = caplog.records
    assert record.getMessage() == "not acknowledged within 10 s customer='c1'"
    entry = json.loads(json_line(AT, "ERROR", "test", record.msg, None))  # type: ignore[arg-type]
    assert entry["id"] == "not_acknowledged"
    assert entry["event"] == "not acknowledged within 10 s"
    assert "seconds" not in entry
