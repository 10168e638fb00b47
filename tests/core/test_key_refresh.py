"""When a provider's keys are fetched, and how long they count."""

from __future__ import annotations

from lchook.core.key_refresh import GOOD_FOR_SECONDS, MIN_INTERVAL_SECONDS, REFRESH_SECONDS, KeyRefresh


def fetched(at: float = 0.0) -> KeyRefresh:
    refresh = KeyRefresh()
    refresh.begin(at)
    refresh.succeeded()
    return refresh


def test_the_first_fetch_is_due_at_once_and_only_one_runs() -> None:
    refresh = KeyRefresh()
    assert refresh.is_due(0.0)
    refresh.begin(0.0)
    assert not refresh.is_due(10_000.0)
    assert not refresh.keys_count(0.0)


def test_keys_are_fetched_anew_after_minutes_and_earlier_where_somebody_needs_it() -> None:
    refresh = fetched()
    assert not refresh.is_due(REFRESH_SECONDS - 1)
    assert refresh.is_due(REFRESH_SECONDS)
    assert refresh.may_begin_at == MIN_INTERVAL_SECONDS


def test_after_failures_it_is_tried_again_with_growing_pauses_and_known_keys_count_for_an_hour() -> None:
    refresh, now, pauses = fetched(), REFRESH_SECONDS, []
    for _ in range(8):
        refresh.begin(now)
        refresh.failed()
        pauses.append(refresh.may_begin_at - now)
        assert refresh.has_failed(now)
        assert not refresh.is_due(refresh.may_begin_at - 0.1)
        assert refresh.is_due(refresh.may_begin_at)
        now = refresh.may_begin_at
    assert pauses == [3, 6, 12, 24, 48, 60, 60, 60]
    assert refresh.keys_count(GOOD_FOR_SECONDS - 1)
    assert not refresh.keys_count(GOOD_FOR_SECONDS)
    refresh.begin(now)
    refresh.succeeded()
    assert refresh.keys_count(now + 1)
    assert not refresh.has_failed(now)


def test_a_fetch_that_began_before_somebody_came_says_nothing_about_their_key() -> None:
    refresh = fetched(10.0)
    assert refresh.has_answered_since(10.0)
    assert not refresh.has_answered_since(10.1)


def test_a_thousand_failures_do_not_overflow() -> None:
    refresh = KeyRefresh(failures=5_000)
    refresh.begin(0.0)
    refresh.failed()
    assert refresh.may_begin_at == 60
