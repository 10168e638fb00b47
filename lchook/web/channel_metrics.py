"""The figures of several channels in one answer: each has the label `connection`. What is the process's own has none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client import Counter as PrometheusCounter
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from lchook.web.metrics import Metrics

# In each `Metrics`, and counted in the shared one only.
_SHARED = frozenset({"lch_misdirected_posts"})


class ChannelMetrics(Collector):
    """As `Metrics`, for those who read, and for the counts that belong to no channel."""

    def __init__(self, shared: Metrics, each: Callable[[], dict[str, Metrics]]) -> None:
        self._shared = shared
        self._each = each
        self._registry = CollectorRegistry()
        self._registry.register(self)

    @property
    def misdirected_posts(self) -> PrometheusCounter:
        return self._shared.misdirected_posts

    @property
    def to_dms(self) -> Counter[tuple[str, str]]:
        return sum((each.to_dms for each in self._each().values()), Counter())

    @property
    def webhooks(self) -> Counter[tuple[str, str]]:
        return sum((each.webhooks for each in self._each().values()), Counter())

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        families: dict[str, Metric] = {}
        for name, metrics in self._each().items():
            for family in metrics.registry.collect():
                if family.name in _SHARED:
                    continue
                all_of_it = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                for sample in family.samples:
                    all_of_it.add_sample(sample.name, {**sample.labels, "connection": name}, sample.value)
        yield from families.values()
        yield from (family for family in self._shared.registry.collect() if family.name not in families)

    def describe(self) -> list[Metric]:
        """Nothing is known before it is collected."""
        return []
