"""Measures of connections: what connecting costs, and what a connection weighs."""

from __future__ import annotations

import asyncio
import itertools
import time
from contextlib import AsyncExitStack

from benchmarks.bench import Bench, connections_possible, interleaved
from benchmarks.flows import TO_CUSTOMER, TO_DMS, latencies_of
from benchmarks.hooks import ORIGINAL
from benchmarks.load import WINDOW, Crowd
from benchmarks.peers import Browser, HttpConnection
from benchmarks.report import figure_at_most, percentile, ratio_at_least
from benchmarks.wire import client_message

# Connecting a few first: what a hook needs once is not a socket's.
_WARM_UP = 200
# Apart from the numbers that floods give out.
_first_messages = itertools.count(1_000_000_000)


async def connecting(bench: Bench) -> None:
    """As LCC does at every key stroke: poll, upgrade, say something; the old sockets stay."""
    async with AsyncExitStack() as stack:
        crowds = {each.name: await stack.enter_async_context(bench.crowd(each)) for each in bench.contenders}
        figures = await interleaved(crowds, bench.plan, bench.plan.rounds, _connects)
    bench.compare(
        "connects as LCC does, with a first message", "per CPU s", figures, targets={ORIGINAL: ratio_at_least(0.8)}
    )


async def _connects(crowd: Crowd, seconds: float) -> float:
    arrived: dict[int, asyncio.Event] = {}
    crowd.happenings.reached_dms = lambda number: arrived.pop(number).set()
    port, happenings = crowd.servers[0].port, crowd.happenings
    before, stop_at, count = crowd.cpu_seconds(), time.perf_counter() + seconds, 0
    opened: list[Browser] = []

    async def tab() -> None:
        nonlocal count
        pair = [await HttpConnection.connect(port) for _ in range(2)]
        while time.perf_counter() < stop_at:
            browser = await Browser.connect_as_lcc(port, happenings, *pair)
            opened.append(browser)
            number = next(_first_messages)
            event = arrived[number] = asyncio.Event()
            browser.transport.write(client_message(number % 10_000, number))
            await asyncio.wait_for(event.wait(), 30)
            count += 1
        for connection in pair:
            connection.close()

    await asyncio.gather(*(tab() for _ in range(WINDOW)))
    await asyncio.sleep(0.2)
    crowd.check()
    per_cpu_second = count / (crowd.cpu_seconds() - before)
    # Closing is not part of it: LCC leaves that to the end of the page.
    for browser in opened:
        browser.close()
    await crowd.settle()
    return per_cpu_second


async def idle_memory(bench: Bench) -> None:
    """What an idle socket adds to the memory of all processes (PSS)."""
    for as_lcc, what in ((False, "memory per idle WebSocket"), (True, "the same, upgraded from polling as LCC does")):
        figures: dict[str, list[float]] = {}
        for _ in range(bench.plan.growth_rounds):
            for contender in bench.contenders:
                async with bench.crowd(contender) as crowd:
                    await crowd.connect(_WARM_UP, idle=True, as_lcc=as_lcc)
                    await asyncio.sleep(bench.plan.rest)
                    before = crowd.servers[0].memory().pss
                    await crowd.connect(bench.plan.idle, idle=True, as_lcc=as_lcc)
                    await asyncio.sleep(bench.plan.rest)
                    crowd.check()
                    grown = crowd.servers[0].memory().pss - before
                    figures.setdefault(contender.name, []).append(grown / bench.plan.idle)
        bench.compare(what, "KB (PSS)", figures, figure_at_most(13, "KB"))


async def many_idle(bench: Bench) -> None:
    """Hold very many sockets with their pings, while messages flow."""
    plan = bench.plan
    count = min(plan.many_idle, connections_possible() - 2 * WINDOW)
    if count < plan.many_idle:
        bench.say(f"  the limit of open files allows only {count} connections, not {plan.many_idle}")
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    for contender in bench.contenders:
        async with bench.crowd(contender, min(plan.connected, count // 2)) as crowd:
            await crowd.connect(count - len(crowd.browsers), idle=True)
            await crowd.settle()
            crowd.happenings.pings = 0
            idle_cpu = await _cpu_share(crowd, asyncio.sleep(plan.idle_hold))
            latencies: list[tuple[list[float], list[float]]] = []

            async def flow(crowd: Crowd = crowd, latencies: list[tuple[list[float], list[float]]] = latencies) -> None:
                latencies.append(await latencies_of(crowd, plan.rate, plan.busy_hold, 0))

            busy_cpu = await _cpu_share(crowd, flow())
            # Any connection lost is a problem, and ends this.
            crowd.check()
            bench.say(f"  {contender.name}: {count} connections, {crowd.happenings.pings} pings answered, none lost")
            figures = {
                ("all processes' memory (PSS)", "MB"): crowd.servers[0].memory().pss / 1000,
                ("CPU with pings alone", "% of a core"): 100 * idle_cpu,
                (f"CPU with {plan.rate:g}/s each way", "% of a core"): 100 * busy_cpu,
                (f"{TO_DMS}, p99", "ms"): percentile(latencies[0][0], 99),
                (f"{TO_CUSTOMER}, p99", "ms"): percentile(latencies[0][1], 99),
            }
            for key, figure in figures.items():
                found.setdefault(key, {})[contender.name] = [figure]
    for (what, unit), by_name in found.items():
        bench.compare(f"{count:,} connections: {what}", unit, by_name)


async def _cpu_share(crowd: Crowd, work: object) -> float:
    before, started = crowd.cpu_seconds(), time.perf_counter()
    await work  # type: ignore[misc]
    return (crowd.cpu_seconds() - before) / (time.perf_counter() - started)
