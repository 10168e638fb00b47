"""Measures of LCH as a whole: how it starts, what it weighs, what its stores cost, and what a second instance brings."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from benchmarks.bench import Bench, interleaved
from benchmarks.flows import TO_CUSTOMER, TO_DMS, flood_of
from benchmarks.hooks import start_redis
from benchmarks.report import Row, figure_at_most

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
    bench.compare("start to first answer", "s", seconds, figure_at_most(0.8, "s"))
    bench.compare("memory at rest, all processes, PSS", "MB", pss, figure_at_most(90, "MB"))
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
                    bench.rows.append(Row(what, "per CPU s", figures[name], figures["SQLite"], "SQLite"))
    finally:
        if not isinstance(redis, str):
            redis.stop()


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
