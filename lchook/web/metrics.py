"""What LCH counts, for Prometheus. The parts count for themselves; this reads their counts when somebody asks.

Names and labels are documented in docs/operations.md. Message types from outside are labels only where they are known ones,
so that nobody can make this grow.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client import Counter as PrometheusCounter
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from lchook.core import events
from lchook.logs import Log
from lchook.store import Store, StoreError

log = Log(__name__)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_KNOWN_TYPES = frozenset(
    {
        "text",
        "menu",
        "carousel",
        "link_button",
        "typing_indicator",
        "wait_time",
        "csr_end_session",
        "customer_end_session",
    }
)
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

# Gauges whose old names are published too, until 2.0.
_OLD_NAMES = {
    "lch_messages_unacknowledged": "lch_letters_unacknowledged",
    "lch_messages_waiting": "lch_letters_waiting",
    "lch_oldest_message_seconds": "lch_oldest_letter_seconds",
}

Counts = Mapping[str, int]


def type_label(message_type: str | None) -> str:
    """The message type as a label: itself if it is a known one."""
    return message_type if message_type in _KNOWN_TYPES else "other"


class Durations:
    """A histogram. prometheus_client's takes two locks each time, which under gevent costs ten times the counting."""

    def __init__(self, name: str, text: str) -> None:
        self._name = name
        self._text = text
        # How many were at most so long, and longer than the bound before; the last are longer than all bounds.
        self._counts = [0] * (len(_SECONDS) + 1)
        self._sum = 0.0
        self._created = time.time()

    def observe(self, seconds: float) -> None:
        self._counts[bisect_left(_SECONDS, seconds)] += 1
        self._sum += seconds

    def collect(self) -> Metric:
        bounds = [*map(str, _SECONDS), "+Inf"]
        buckets = list(zip(bounds, accumulate(self._counts), strict=True))
        family = HistogramMetricFamily(self._name, self._text, buckets=buckets, sum_value=self._sum)
        family.add_sample(f"{self._name}_created", {}, self._created)
        return family


class Metrics(Collector):
    """The registry of one application. Counts and gauges are read, `*_seconds` are told."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.dms_seconds = Durations("lch_dms_seconds", "Time DMS took to answer a post")
        self.acknowledgement_seconds = Durations(
            "lch_acknowledgement_seconds", "Time a client took to acknowledge a message"
        )
        self.misdirected_posts = PrometheusCounter(
            "lch_misdirected_posts", "Posts to addresses that take none", registry=self.registry
        )
        # (type, outcome) → messages.
        self.to_dms: Counter[tuple[str, str]] = Counter()
        # (type, HTTP status) → webhooks. The type of a refused one is "".
        self.webhooks: Counter[tuple[str, str]] = Counter()
        self._counts: list[tuple[str, str, str, Callable[[], Counts]]] = []
        self._gauges: list[tuple[str, str, Callable[[], float]]] = []
        self._store: Store | None = None
        self.registry.register(self)

    def add_counts(self, name: str, text: str, label: str, read: Callable[[], Counts]) -> None:
        """Publish counts, one for each value of the label."""
        self._counts.append((name, text, label, read))

    def add_gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Publish a number that goes up and down."""
        self._gauges.append((name, text, read))

    def add_store(self, store: Store) -> None:
        """Publish what waits in the store."""
        self._store = store

    def drop(self, *names: str) -> None:
        """Publish these no more."""
        self._counts = [each for each in self._counts if each[0] not in names]
        self._gauges = [each for each in self._gauges if each[0] not in names]

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self.registry)

    def collect(self) -> Iterator[Metric]:
        yield from (self.dms_seconds.collect(), self.acknowledgement_seconds.collect())
        for name, text, counts in (
            ("lch_messages_to_dms", "Messages from clients, by type and outcome", self.to_dms),
            ("lch_webhooks", "Webhooks from DMS, by type and the status they were answered with", self.webhooks),
        ):
            family = CounterMetricFamily(name, text, labels=("type", "outcome" if "dms" in name else "status"))
            for (first, second), number in list(counts.items()):
                family.add_metric((first, second), number)
            yield family
        for name, text, label, read in self._counts:
            family = CounterMetricFamily(name, text, labels=(label,))
            for value, number in list(read().items()):
                family.add_metric((value,), number)
            yield family
        for name, text, read_gauge in self._gauges:
            yield from _gauge(name, text, read_gauge())
        yield from self._waiting()

    def _waiting(self) -> Iterator[Metric]:
        if self._store is None:
            return
        try:
            mailboxes, outbox = self._store.mailbox_backlog(), self._store.outbox_backlog()
        except StoreError as error:
            log.warning(events.METRICS_WITHOUT_STORE, reason=error)
            yield GaugeMetricFamily("lch_store_up", "Whether the store answers", value=0)
            return
        yield GaugeMetricFamily("lch_store_up", "Whether the store answers", value=1)
        yield from _gauge("lch_messages_waiting", "Messages in mailboxes, all instances'", mailboxes.messages)
        yield from _gauge("lch_customers_waiting", "Customers with messages waiting", mailboxes.customers)
        yield from _gauge("lch_oldest_message_seconds", "Age of the oldest waiting message", mailboxes.oldest_seconds)
        yield from _gauge("lch_outbox_messages", "Messages waiting for DMS, all instances'", outbox.messages)
        yield from _gauge("lch_outbox_oldest_seconds", "Age of the oldest message waiting for DMS", outbox.oldest_seconds)


def _gauge(name: str, text: str, value: float) -> Iterator[Metric]:
    """A gauge, and the same under its old name if it has one."""
    yield GaugeMetricFamily(name, text, value=value)
    if name in _OLD_NAMES:
        yield GaugeMetricFamily(_OLD_NAMES[name], f"Deprecated, gone with 2.0: read {name}", value=value)
