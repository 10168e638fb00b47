"""Lines of the log: one event, one line, and nothing in it that was not meant to be."""

from __future__ import annotations

import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lchook.logs import Said, Spoken, json_line, people_line

AT = 1_700_000_000.125


@given(st.text(), st.dictionaries(st.sampled_from(["customer", "message", "reason"]), st.text() | st.integers() | st.none()))
def test_whatever_is_logged_is_one_printable_line(text: str, fields: dict[str, object]) -> None:
    for what in (Said("sent", fields), text):
        line = people_line(AT, "INFO", "chat", what, None)
        assert line.endswith("\n")
        assert line[:-1].isprintable()
        entry = json_line(AT, "INFO", "chat", what, None)
        assert entry.count("\n") == 1
        assert entry.isascii()
        json.loads(entry)


def test_a_line_for_people_has_time_level_part_event_and_fields() -> None:
    line = people_line(AT, "WARNING", "to_dms", Said("sent", {"customer": "c'1\n", "message": 17, "none": None}), None)
    assert line[4:].split(" ", 1)[1].endswith('.125 WARNING to_dms: sent customer="c\'1\\n" message=17 none=None\n')


def test_a_line_of_json_has_the_fields_as_they_are() -> None:
    entry = json.loads(
        json_line(AT, "INFO", "to_dms", Said("sent", {"customer": "å\n", "message": 17}), "ValueError at x.py:1")
    )
    assert entry == {
        "time": "2023-11-14T22:13:20.125Z",
        "level": "info",
        "part": "to_dms",
        "event": "sent",
        "customer": "å\n",
        "message": 17,
        "error": "ValueError at x.py:1",
    }


@pytest.mark.parametrize(
    "value", ["x" * 100_000, 10**4000, -(10**4000), ["y" * 100_000]], ids=["text", "int", "-int", "list"]
)
def test_no_field_makes_a_line_endless(value: object) -> None:
    for line in (people_line(AT, "INFO", "chat", Said("sent", {"message": value}), None),
                 json_line(AT, "INFO", "chat", Said("sent", {"message": value}), None)):  # fmt: skip
        assert len(line) < 400


def test_what_people_say_shows_only_how_long_it_is() -> None:
    line = people_line(AT, "INFO", "chat", Said("sent", {"text": Spoken(["my secret", "is this"])}), None)
    assert "(16 characters)" in line
    assert "secret" not in line


def test_an_error_shows_its_kind_and_place_and_not_its_words(caplog: pytest.LogCaptureFixture) -> None:
    from lchook.logs import Log, _Formatter

    log = Log("lchook.test")
    try:
        raise ValueError("what somebody said")
    except ValueError as error:
        log.exception("handling failed", customer="c1")
        log.unexpected("handling failed", error, customer="c1")
    for record in caplog.records:
        line = _Formatter(staticmethod(people_line)).format(record)  # type: ignore[arg-type]
        assert "error='ValueError at " in line
        assert "test_logs.py" in line
        assert "somebody said" not in line
    assert len(caplog.records) == 2
    assert logging.getLogger("lchook.test").isEnabledFor(logging.ERROR)
