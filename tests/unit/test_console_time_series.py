"""The rows of figures behind the console's plots."""

from __future__ import annotations

import pytest

from lchook.channel_parts import on_answer
from lchook.console.time_series import EVERY_SECONDS, KEPT, TimeSeries, Totals, totals_of
from lchook.web.metrics import Metrics


class World:
    """A clock to turn, and counts to raise."""

    def __init__(self) -> None:
        self.now = 100.0
        self.totals = Totals()
        self.time_series = TimeSeries(clock=lambda: self.now, wall_clock=lambda: self.now)
        self.time_series.reads(lambda: (3, 2, self.totals))
        self.time_series.tick()

    def pass_seconds(self, seconds: float) -> None:
        self.now += seconds
        self.time_series.tick()


@pytest.fixture
def world() -> World:
    return World()


def test_a_row_has_rates_since_the_row_before(world: World) -> None:
    world.totals = Totals(to_dms=10, to_customer=6, delivered=4, failures=1)
    world.pass_seconds(4)
    [row] = world.time_series.rows
    assert (row.at, row.connections, row.customers) == (104_000, 3, 2)
    assert (row.to_dms, row.to_customer, row.delivered, row.failures) == (2.5, 1.5, 1.0, 0.25)


def test_there_is_a_row_every_two_seconds_however_often_the_clock_ticks(world: World) -> None:
    for _ in range(20):
        world.pass_seconds(0.5)
    assert [row.at for row in world.time_series.rows] == [102_000, 104_000, 106_000, 108_000, 110_000]


def test_only_the_last_minutes_are_kept(world: World) -> None:
    for _ in range(KEPT + 10):
        world.pass_seconds(EVERY_SECONDS)
    assert len(world.time_series.rows) == KEPT
    assert len(world.time_series.after(round(world.now * 1000) - 5_000)) == 3


def test_times_of_dms_are_quantiles_of_the_answers_since_the_row_before(world: World) -> None:
    for milliseconds in range(1, 101):
        world.time_series.dms_took(milliseconds / 1000)
    world.pass_seconds(2)
    world.pass_seconds(2)
    first, second = world.time_series.rows
    assert (first.dms_p50, first.dms_p99) == (51.0, 100.0)
    assert (second.dms_p50, second.dms_p99) == (None, None)


def test_answers_of_dms_reach_the_histogram_of_metrics_as_well(world: World) -> None:
    metrics = Metrics()
    on_answer(metrics, world.time_series)(0.2)
    assert b"lch_dms_seconds_count 1.0" in metrics.text()
    world.pass_seconds(2)
    assert world.time_series.rows[-1].dms_p50 == 200.0


def test_what_became_of_messages_is_success_or_failure() -> None:
    totals = totals_of(
        {("text", "sent"): 5, ("text", "failed"): 1, ("other", "rejected"): 2},
        {("text", "200"): 7, ("", "401"): 4},
        {"delivered": 6, "delivered_by_heartbeat": 2, "acknowledgement_timeout": 3, "dropped_session_ended": 9},
    )
    assert totals == Totals(to_dms=5, to_customer=7, delivered=6, failures=1 + 2 + 4 + 3)
