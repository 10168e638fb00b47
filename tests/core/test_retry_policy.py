"""core/retry_policy.py: when a post is tried again, how long after, and when not."""

from __future__ import annotations

import pytest

from lchook.core.retry_policy import FIRST_DELAY_SECONDS, MAX_DELAY_SECONDS, PostResult, delay

NO_CONNECTION = PostResult(None, "no connection to DMS")


def seconds(
    attempt: int, result: PostResult, *, elapsed: float = 0.0, budget: float = 300.0, jitter: float = 0.0
) -> float | None:
    return delay(attempt, result, elapsed, budget_seconds=budget, jitter=lambda: jitter)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_dms_has_surely_not_taken_is_tried_again(status: int) -> None:
    assert seconds(1, PostResult(status)) == FIRST_DELAY_SECONDS
    assert seconds(1, NO_CONNECTION) == FIRST_DELAY_SECONDS


@pytest.mark.parametrize(
    "result",
    [
        *(PostResult(status) for status in (200, 202, 301, 400, 401, 403, 404, 408, 413, 500, 501)),
        PostResult(None, "timed out", possibly_delivered=True),
        PostResult(None, "its certificate was not accepted", permanent=True),
    ],
)
def test_all_else_is_not(result: PostResult) -> None:
    assert seconds(1, result) is None


def test_waits_grow_up_to_a_bound_and_are_spread() -> None:
    waits = [seconds(attempt, NO_CONNECTION) for attempt in range(1, 8)]
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    assert seconds(100_000, NO_CONNECTION) == MAX_DELAY_SECONDS
    assert seconds(1, NO_CONNECTION, jitter=1.0) == 1.0


@pytest.mark.parametrize(
    ("named", "waits"), [(7.0, 7.0), (0.0, 0.5), (-3.0, 0.5), (None, 0.5), (1e9, None)], ids=lambda value: str(value)
)
def test_dms_may_say_how_long_to_wait_but_not_that_one_hammers(named: float | None, waits: float | None) -> None:
    assert seconds(1, PostResult(503, retry_after_seconds=named)) == waits


def test_a_wait_that_would_end_after_the_time_allowed_is_not_begun() -> None:
    assert seconds(5, NO_CONNECTION, elapsed=291.9) == 8.0
    assert seconds(5, NO_CONNECTION, elapsed=292.0) is None
    assert seconds(1, NO_CONNECTION, budget=0.0) is None
