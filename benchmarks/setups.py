"""Measures of LCH as a whole: how it starts, what it weighs, what its stores cost, and what a second instance brings."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from benchmarks.bench import Bench, interleaved
from benchmarks.flows import TO_CUSTOMER, TO_DMS, flood_of, latencies_of
from benchmarks.hooks import start_redis
from benchmarks.report import Row, figure_at_most, percentile, ratio_at_least, ratio_at_most

_REST_SECONDS = 1.0


async def start(bench: Bench) -> None:
    """From the command to the first answer; and the memory of all processes then, at rest."""
    seconds: dict[str, list[float]] = {}
    pss: dict[str, list[float]] = {}
    rss: dict[str, list[float]] = {}
    for _ in range(bench.plan.starts):
        for contender in bench.contenders:
            async with bench.crowd(contender) as crowd:
                seconds.setdefault(contender.name, []).append(crowd.servers[0].first_answer_seconds)
                await asyncio.sleep(_REST_SECONDS)
                memory = crowd.servers[0].memory()
                pss.setdefault(contender.name, []).append(memory.pss / 1000)
                rss.setdefault(contender.name, []).append(memory.rss / 1000)
    bench.compare("start to first answer", "s", seconds, figure_at_most(0.4, "s"))
    bench.compare("memory at rest, all processes, PSS", "MB", pss, figure_at_most(75, "MB"))
    bench.compare("memory at rest, all processes, RSS (shared pages counted twice)", "MB", rss)


async def stores(bench: Bench) -> None:
    """The store's share of a message: memory and Redis beside the default, SQLite."""
    redis = start_redis()
    try:
        urls = {"SQLite": "", "memory": "memory:"}
        if isinstance(redis, str):
            bench.say(f"  without Redis: {redis}")
        else:
            urls["Redis"] = f"redis://127.0.0.1:{redis.port}/0"
        async with AsyncExitStack() as stack:
            crowds = {
                name: await stack.enter_async_context(bench.crowd(bench.lch, bench.plan.connected, store=url))
                for name, url in urls.items()
            }
            for direction in (TO_DMS, TO_CUSTOMER):
                figures = await interleaved(
                    crowds,
                    bench.plan,
                    bench.plan.growth_rounds,
                    lambda crowd, seconds, it=direction: flood_of(crowd, it, seconds),
                )
                for name in list(urls)[1:]:
                    what = f"{direction}, messages, store in {name}"
                    target = ratio_at_least(0.6) if name == "Redis" else None
                    bench.rows.append(Row(what, "per CPU s", figures[name], figures["SQLite"], "SQLite", target))
    finally:
        if not isinstance(redis, str):
            redis.stop()


async def store_latency(bench: Bench) -> None:
    """How long a message takes with SQLite's file beside memory, at a rate far below what saturates, each way at once."""
    plan = bench.plan
    found: dict[tuple[str, int], dict[str, list[float]]] = {}
    async with AsyncExitStack() as stack:
        crowds = {
            name: await stack.enter_async_context(bench.crowd(bench.lch, plan.connected, store=url))
            for name, url in {"SQLite": "", "memory": "memory:"}.items()
        }
        for crowd in crowds.values():
            await latencies_of(crowd, plan.rate, 2.0, 0)
        # Rounds are short, and there are many: a moment's disturbance is in few of them.
        for number in range(2 * plan.rounds):
            for name in reversed(crowds) if number % 2 else crowds:
                both = await latencies_of(crowds[name], plan.rate, plan.steady, number)
                for direction, values in zip((TO_DMS, TO_CUSTOMER), both, strict=True):
                    for percent in (50, 99):
                        found.setdefault((direction, percent), {}).setdefault(name, []).append(percentile(values, percent))
    for (direction, percent), figures in found.items():
        what = f"{direction}, p{percent} at {plan.rate:g}/s each way, store in SQLite's file"
        target = ratio_at_most(1.2) if (direction, percent) == (TO_CUSTOMER, 99) else None
        bench.rows.append(Row(what, "ms", figures["SQLite"], figures["memory"], "memory", target))


async def redis(bench: Bench) -> None:
    """Messages with the store in Redis, beside another LCH if there is one: `--against`."""
    server = start_redis()
    if isinstance(server, str):
        bench.say(f"  not measured: {server}")
        return
    try:
        async with AsyncExitStack() as stack:
            crowds = {
                each.name: await stack.enter_async_context(
                    bench.crowd(each, bench.plan.connected, store=f"redis://127.0.0.1:{server.port}/{number}")
                )
                for number, each in enumerate(bench.contenders)
                if each.root is not None
            }
            for direction in (TO_DMS, TO_CUSTOMER):
                figures = await interleaved(
                    crowds,
                    bench.plan,
                    bench.plan.rounds,
                    lambda crowd, seconds, it=direction: flood_of(crowd, it, seconds),
                )
                bench.compare(f"{direction}, messages, store in Redis", "per CPU s", figures)
    finally:
        server.stop()


async def instances(bench: Bench) -> None:
    """Two instances on one Redis, every other webhook at the wrong one, beside one instance."""
    redis = start_redis()
    if isinstance(redis, str):
        bench.say(f"  not measured: {redis}")
        return
    try:
        async with AsyncExitStack() as stack:
            crowds = {
                count: await stack.enter_async_context(
                    bench.crowd(
                        bench.lch, bench.plan.connected, instances=count, store=f"redis://127.0.0.1:{redis.port}/{count}"
                    )
                )
                for count in (1, 2)
            }
            for direction in (TO_DMS, TO_CUSTOMER):
                figures = await interleaved(
                    crowds,
                    bench.plan,
                    bench.plan.growth_rounds,
                    lambda crowd, seconds, it=direction: flood_of(crowd, it, seconds),
                )
                what = f"{direction}, messages, two instances on Redis"
                bench.rows.append(Row(what, "per CPU s", figures[2], figures[1], "one"))
    finally:
        redis.stop()
