"""Time series of the last ten minutes, for the console's plots: one row every two seconds. No I/O."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

EVERY_SECONDS = 2.0
KEPT = 300
# Of a busy hook's answers, the latest say enough.
_MAX_ANSWERS = 2_000
# Outcomes of messages that count as failures. That a customer leaves is none.
_FAILURES = frozenset({"acknowledgement_timeout", "dropped_expired", "dropped_mailbox_full"})


class Sample(NamedTuple):
    """A row. `at` is in milliseconds since 1970; rates are per second since the row before; DMS's times are in
    milliseconds, None where it answered nothing."""

    at: int
    connections: int
    customers: int
    to_dms: float
    to_customer: float
    delivered: float
    failures: float
    dms_p50: float | None
    dms_p99: float | None


class Totals(NamedTuple):
    """Counts since the start."""

    to_dms: int = 0
    to_customer: int = 0
    delivered: int = 0
    failures: int = 0


class TimeSeries:
    """The rows of the last ten minutes. `tick` is a periodic task."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, wall_clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._wall_clock = wall_clock
        self._answers: deque[float] = deque(maxlen=_MAX_ANSWERS)
        self._sampled_at: float | None = None
        self._before = Totals()
        self._read: Callable[[], tuple[int, int, Totals]] = lambda: (0, 0, Totals())
        self.rows: deque[Sample] = deque(maxlen=KEPT)

    def reads(self, read: Callable[[], tuple[int, int, Totals]]) -> None:
        """Where connections, customers and counts come from."""
        self._read = read

    def dms_took(self, seconds: float) -> None:
        """DMS answered a post in so many seconds."""
        self._answers.append(seconds)

    def tick(self) -> None:
        """Add a row if it is time for one."""
        now = self._clock()
        if self._sampled_at is not None and now - self._sampled_at < EVERY_SECONDS - 0.1:
            return
        connections, customers, totals = self._read()
        if self._sampled_at is not None:
            seconds = now - self._sampled_at
            before = self._before
            answers, self._answers = self._answers, deque(maxlen=_MAX_ANSWERS)
            times = sorted(answers)
            row = Sample(
                at=round(self._wall_clock() * 1000),
                connections=connections,
                customers=customers,
                to_dms=_rate(totals.to_dms - before.to_dms, seconds),
                to_customer=_rate(totals.to_customer - before.to_customer, seconds),
                delivered=_rate(totals.delivered - before.delivered, seconds),
                failures=_rate(totals.failures - before.failures, seconds),
                dms_p50=_quantile(times, 0.5),
                dms_p99=_quantile(times, 0.99),
            )
            self.rows.append(row)
        self._sampled_at, self._before = now, totals

    def after(self, at: int) -> list[Sample]:
        """The rows that are younger than that."""
        return [row for row in list(self.rows) if row.at > at]


def totals_of(to_dms: Mapping[Any, int], webhooks: Mapping[Any, int], deliveries: Mapping[str, int]) -> Totals:
    """Counts for the plots from the parts' own.

    :param to_dms: (type, outcome) → messages. :param webhooks: (type, HTTP status) → webhooks.
    :param deliveries: what became of messages, by words.
    """
    messages, posts = list(to_dms.items()), list(webhooks.items())
    failures = (
        sum(count for (_, outcome), count in messages if outcome not in ("sent", "dropped"))
        + sum(count for (_, status), count in posts if status != "200")
        + sum(deliveries.get(what, 0) for what in _FAILURES)
    )
    return Totals(
        to_dms=sum(count for (_, outcome), count in messages if outcome == "sent"),
        to_customer=sum(count for (_, status), count in posts if status == "200"),
        delivered=deliveries.get("delivered", 0),
        failures=failures,
    )


def _rate(count: int, seconds: float) -> float:
    return round(count / seconds, 2)


def _quantile(times: list[float], part: float) -> float | None:
    """In milliseconds, by nearest rank."""
    if not times:
        return None
    return round(times[min(len(times) - 1, int(part * len(times)))] * 1000, 2)
