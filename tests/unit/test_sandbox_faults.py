"""Which faults there are, how long they stay, and what DMS answers under them."""

from __future__ import annotations

from typing import Any

import pytest

from lchook.sandbox.faults import DMS_FAULTS, WEBHOOK_FAULTS, Faults, FaultsError, FaultState, answer_under


def test_there_is_no_fault_at_first() -> None:
    faults = Faults()
    assert faults.as_dict() == {
        "dms": "none",
        "delay_seconds": 2.0,
        "retry_after_seconds": 1,
        "times": None,
        "webhook": "none",
        "link_seconds": 900,
    }
    assert answer_under(faults.take(), moved_to="/") is None


def test_set_replaces_the_whole_state() -> None:
    faults = Faults()
    faults.set(dms="503", times=3)
    faults.set(webhook="silence")
    assert (faults.state.dms, faults.state.times, faults.state.webhook) == ("none", None, "silence")


def test_a_fault_goes_away_by_itself_after_so_many_posts() -> None:
    faults = Faults()
    faults.set(dms="500", times=2, webhook="duplicate")
    assert [faults.take().dms for _ in range(4)] == ["500", "500", "none", "none"]
    assert faults.as_dict()["times"] is None
    assert faults.state.webhook == "duplicate"


def test_without_times_a_fault_stays() -> None:
    faults = Faults()
    faults.set(dms="500")
    assert {faults.take().dms for _ in range(100)} == {"500"}
    faults.clear()
    assert faults.take().dms == "none"


def test_who_asked_to_be_told_is_told_of_each_set() -> None:
    told: list[FaultState] = []
    faults = Faults(on_change=told.append)
    faults.set(dms="refused")
    faults.clear()
    assert [state.dms for state in told] == ["refused", "none"]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"dms": "501"}, "dms"),
        ({"dms": 503}, "dms"),
        ({"dms": ["none"]}, "dms"),
        ({"webhook": "500"}, "webhook"),
        ({"delay_seconds": -1}, "delay_seconds"),
        ({"delay_seconds": "2"}, "delay_seconds"),
        ({"delay_seconds": float("nan")}, "delay_seconds"),
        ({"delay_seconds": True}, "delay_seconds"),
        ({"delay_seconds": None}, "delay_seconds"),
        ({"retry_after_seconds": 1.5}, "retry_after_seconds"),
        ({"retry_after_seconds": -1}, "retry_after_seconds"),
        ({"times": 0}, "times"),
        ({"link_seconds": 0}, "link_seconds"),
        ({"link_seconds": 7 * 24 * 3600 + 1}, "link_seconds"),
        ({"link_seconds": None}, "link_seconds"),
        ({"times": True}, "times"),
        ({"dms": "refused", "times": 1}, "refused"),
        ({"dsm": "503"}, "only fields are dms"),
    ],
)
def test_what_is_no_fault_is_refused_in_words_and_changes_nothing(fields: dict[str, Any], named: str) -> None:
    faults = Faults()
    faults.set(dms="404")
    with pytest.raises(FaultsError, match=named):
        faults.set(**fields)
    assert faults.state.dms == "404"


@pytest.mark.parametrize("name", DMS_FAULTS)
def test_every_dms_fault_but_three_takes_the_place_of_the_answer(name: str) -> None:
    answer = answer_under(FaultState(dms=name), moved_to="/moved")
    assert (answer is None) is (name in ("none", "slow", "gateway"))


@pytest.mark.parametrize("name", WEBHOOK_FAULTS)
def test_every_webhook_fault_leaves_dms_alone(name: str) -> None:
    assert answer_under(FaultState(webhook=name), moved_to="/moved") is None


@pytest.mark.parametrize("status", ["429", "503"])
def test_retry_after_is_said_unless_it_is_null(status: str) -> None:
    answer = answer_under(FaultState(dms=status, retry_after_seconds=7), moved_to="/")
    assert answer is not None
    assert (answer.status, answer.headers["Retry-After"]) == (int(status), "7")
    silent = answer_under(FaultState(dms=status, retry_after_seconds=None), moved_to="/")
    assert silent is not None
    assert "Retry-After" not in silent.headers
