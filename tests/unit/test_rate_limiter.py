"""How often something may happen."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lchook.core.rate_limiter import RateLimiter


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_who_was_quiet_may_do_ten_seconds_worth_at_once_and_then_the_rate() -> None:
    clock = Clock()
    rates = RateLimiter(4, clock=clock)
    assert sum(rates.allows("a") for _ in range(100)) == 40
    clock.now += 1
    assert sum(rates.allows("a") for _ in range(100)) == 4


def test_one_key_does_not_count_for_another() -> None:
    rates = RateLimiter(1, clock=Clock())
    assert sum(rates.allows("a") for _ in range(100)) == 10
    assert sum(rates.allows("b") for _ in range(100)) == 10


def test_a_refusal_costs_nothing_so_that_trying_does_not_lock_out() -> None:
    clock = Clock()
    rates = RateLimiter(1, clock=clock)
    for _ in range(1000):
        rates.allows("a")
    clock.now += 1.001
    assert rates.allows("a")


def test_0_is_no_limit_and_remembers_nobody() -> None:
    rates = RateLimiter(0, clock=Clock())
    assert all(rates.allows(number) for number in range(1000))
    assert rates._free_at == {}


def test_a_rate_of_less_than_one_in_ten_seconds_still_allows_one() -> None:
    clock = Clock()
    rates = RateLimiter(0.01, clock=clock)
    assert rates.allows("a")
    assert not rates.allows("a")
    clock.now += 101
    assert rates.allows("a")


def test_keys_that_do_not_come_again_are_forgotten() -> None:
    clock = Clock()
    rates = RateLimiter(10, clock=clock)
    for number in range(100_000):
        rates.allows(number)
        clock.now += 0.001
    assert len(rates._free_at) < 21_000
    rates.forget(99_999)
    assert 99_999 not in rates._free_at


@given(st.floats(0.1, 100), st.lists(st.floats(0, 5), min_size=1, max_size=200))
def test_in_no_stretch_of_time_is_more_allowed_than_the_rate_and_its_burst(rate: float, pauses: list[float]) -> None:
    clock = Clock()
    rates = RateLimiter(rate, clock=clock)
    allowed = []
    for pause in pauses:
        clock.now += pause
        if rates.allows("a"):
            allowed.append(clock.now)
    for first, since in enumerate(allowed):
        for last in range(first, len(allowed)):
            count = last - first + 1
            assert count <= (allowed[last] - since) * rate + max(10 * rate, 1) + 1.001
