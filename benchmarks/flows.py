"""Measures of the two flows: what a message costs, and how long it takes."""

from __future__ import annotations

from contextlib import AsyncExitStack

from benchmarks.bench import Bench, interleaved
from benchmarks.hooks import ORIGINAL, PROMISING, TUNED
from benchmarks.load import Crowd, ToCustomer, ToDms, flood, steady
from benchmarks.peers import Dms
from benchmarks.report import Row, percentile, ratio_at_least, ratio_at_most, ratio_or_figure_at_most

TO_DMS, TO_CUSTOMER = "customer → DMS", "webhook → customer"
SLOW_DMS_SECONDS = 2.0
# What is to be reached beside whom, in messages per CPU second.
_AT_LEAST = {
    TO_DMS: {ORIGINAL: ratio_at_least(1.3), TUNED: ratio_at_least(0.4), PROMISING: ratio_at_least(1.0)},
    TO_CUSTOMER: {ORIGINAL: ratio_at_least(1.0), TUNED: ratio_at_least(0.8), PROMISING: ratio_at_least(1.0)},
}


async def flood_of(crowd: Crowd, direction: str, seconds: float) -> float:
    """Messages per CPU second of the hook."""
    flow = ToDms(crowd) if direction == TO_DMS else await ToCustomer.connect(crowd)
    try:
        return (await flood(crowd, flow, seconds=seconds)).per_cpu_second
    finally:
        flow.close()


async def latencies_of(crowd: Crowd, rate: float, seconds: float, seed: int) -> tuple[list[float], list[float]]:
    """Milliseconds to DMS, and to the customer, with so many messages a second each way."""
    to_customer = await ToCustomer.connect(crowd)
    try:
        to_dms, customer = await steady(crowd, [ToDms(crowd), to_customer], rate=rate, seconds=seconds, seed=seed)
    finally:
        to_customer.close()
    return to_dms, customer


async def _crowds_of_all(bench: Bench, stack: AsyncExitStack) -> dict[str, Crowd]:
    all_of_them = [bench.lch, *bench.peers]
    return {each.name: await stack.enter_async_context(bench.crowd(each, bench.plan.connected)) for each in all_of_them}


async def throughput(bench: Bench) -> None:
    """Messages per CPU second, each way, with 50 under way."""
    plan = bench.plan
    async with AsyncExitStack() as stack:
        crowds = await _crowds_of_all(bench, stack)
        for direction, targets in _AT_LEAST.items():
            figures = await interleaved(
                crowds, plan, plan.rounds, lambda crowd, seconds, it=direction: flood_of(crowd, it, seconds)
            )
            bench.compare(f"{direction}, messages", "per CPU s", figures, targets=targets)


async def latency(bench: Bench) -> None:
    """p50 and p99 at a rate far below what saturates, each way at once."""
    plan = bench.plan
    found: dict[tuple[str, int], dict[str, list[float]]] = {}
    async with AsyncExitStack() as stack:
        crowds = await _crowds_of_all(bench, stack)
        for crowd in crowds.values():
            await latencies_of(crowd, plan.rate, 2.0, 0)
        for number in range(plan.rounds):
            for name in reversed(crowds) if number % 2 else crowds:
                both = await latencies_of(crowds[name], plan.rate, plan.steady, number)
                for direction, values in zip((TO_DMS, TO_CUSTOMER), both, strict=True):
                    for percent in (50, 99):
                        figures = found.setdefault((direction, percent), {})
                        figures.setdefault(name, []).append(percentile(values, percent))
    for (direction, percent), figures in found.items():
        targets = {} if percent == 50 else {ORIGINAL: ratio_or_figure_at_most(1.5, 5, "ms"), PROMISING: ratio_at_most(1.0)}
        bench.compare(f"{direction}, p{percent} at {plan.rate:g}/s each way", "ms", figures, targets=targets)


async def slow_dms(bench: Bench) -> None:
    """Does a slow DMS hold up what goes to customers?"""
    plan = bench.plan
    for contender in bench.growing:
        slow: list[float] = []
        fast: list[float] = []
        async with bench.crowd(contender, plan.connected) as crowd:
            for number in range(plan.rounds):
                both = ((0.0, fast), (SLOW_DMS_SECONDS, slow))
                for delay, found in reversed(both) if number % 2 else both:
                    Dms.delay_seconds = delay
                    _, values = await latencies_of(crowd, plan.rate, plan.steady, number)
                    found.append(percentile(values, 99))
                    Dms.delay_seconds = 0.0
                    await crowd.settle()
        target = ratio_at_most(1.2) if contender == bench.lch else None
        what = f"{TO_CUSTOMER}, p99 with DMS at {SLOW_DMS_SECONDS:g} s"
        what += "" if contender == bench.lch else f" ({contender.name})"
        bench.rows.append(Row(what, "ms", slow, fast, "fast DMS", target))
