"""Measures of growth: does a message cost more where there are more customers, or more messages waiting?"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from itertools import accumulate
from pathlib import Path
from statistics import median

from benchmarks.bench import Bench, connections_possible, interleaved
from benchmarks.flows import TO_CUSTOMER, TO_DMS, flood_of
from benchmarks.hooks import Contender
from benchmarks.load import Crowd
from benchmarks.plot import chart
from benchmarks.report import Row, Target, ratio_at_most

_DIRECTIONS = (TO_DMS, TO_CUSTOMER)
# Heartbeats of ten thousand sockets would hide in the cost of messages; `many_idle` has them.
_NO_PINGS = {"PING_INTERVAL": "300"}
_CLOSED_AT_ONCE = 500
_TARGET_CUSTOMERS = 10_000

# Run in LCH's own folder. The customers are away, so that nothing is delivered.
_FILL = """
import sys
from pathlib import Path
from lchook.store import StoreListener
from lchook.store.from_url import store_from_url
path, count = sys.argv[1], int(sys.argv[2])
store = store_from_url(f"sqlite://{path}", folder=Path(path).parent, ttl_seconds=86400, size=500)
store.open(StoreListener.null(), lambda *_: None)
for number in range(count):
    customer = f"away-{number % 1000}"
    text = '{"type":"text","customer_id":"%s","message_id":"%d","text":["Are you still there?"]}' % (customer, number)
    store.put(customer, text, f"fingerprint-{number}")
store.close()
"""


async def customers(bench: Bench) -> None:
    """A message's cost, and a disconnect's, with few and with many customers connected."""
    possible = connections_possible()
    levels = [
        level
        for level, all_up_to in zip(bench.plan.customers, accumulate(bench.plan.customers), strict=True)
        if all_up_to <= possible
    ]
    if len(levels) < len(bench.plan.customers):
        bench.say("  the limit of open files allows no more customers")
    for contender in bench.growing:
        # The target speaks of so many, and of LCH.
        meant = contender == bench.lch and levels[-1] == _TARGET_CUSTOMERS
        target = ratio_at_most(1.1) if meant else None
        async with AsyncExitStack() as stack:
            crowds = {level: await stack.enter_async_context(bench.crowd(contender, level, **_NO_PINGS)) for level in levels}
            lines = await _costs(bench, crowds)
            for direction, costs in lines.items():
                _add_rows(bench, contender, f"{direction}, cost", "customers", costs, target)
            closing = {level: [await _disconnect_cost(crowd)] for level, crowd in crowds.items()}
            _add_rows(bench, contender, "disconnect, cost", "customers", closing, None)
        title = f"{contender.name}: CPU time per message"
        bench.charts[f"customers-{contender.name.lower()}"] = _chart(title, "customers connected", lines)


async def waiting(bench: Bench) -> None:
    """A message's cost with few and with many messages waiting for customers who are away. Only LCH keeps them."""
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncExitStack() as stack:
            crowds = {}
            for level in bench.plan.waiting:
                file = Path(folder) / f"{level}.sqlite3"
                command = [sys.executable, "-c", _FILL, str(file), str(level)]
                await asyncio.to_thread(subprocess.run, command, cwd=bench.lch.root, check=True)
                crowds[level] = await stack.enter_async_context(bench.crowd(bench.lch, 100, prepare=file))
            lines = await _costs(bench, crowds)
    for direction, costs in lines.items():
        _add_rows(bench, bench.lch, f"{direction}, cost", "waiting", costs, None)
    bench.charts["waiting"] = _chart("LCH: CPU time per message", "messages waiting", lines)


async def _costs(bench: Bench, crowds: Mapping[int, Crowd]) -> dict[str, dict[int, list[float]]]:
    """Microseconds a message, by direction and level."""
    found = {}
    for direction in _DIRECTIONS:

        async def cost(crowd: Crowd, seconds: float, direction: str = direction) -> float:
            return 1e6 / await flood_of(crowd, direction, seconds)

        found[direction] = await interleaved(crowds, bench.plan, bench.plan.growth_rounds, cost)
    return found


async def _disconnect_cost(crowd: Crowd) -> float:
    """Microseconds for each of some more sockets, which close at once."""
    await crowd.connect(_CLOSED_AT_ONCE, idle=True)
    await crowd.settle()
    before = crowd.cpu_seconds()
    while crowd.idle:
        crowd.idle.pop().close()
    await crowd.settle()
    return 1e6 * (crowd.cpu_seconds() - before) / _CLOSED_AT_ONCE


def _add_rows(
    bench: Bench, contender: Contender, what: str, of_what: str, costs: Mapping[int, Sequence[float]], target: Target | None
) -> None:
    """One for each level above the lowest, beside the lowest."""
    lowest, *others = costs
    of_whom = "" if contender == bench.lch else f" ({contender.name})"
    for level in others:
        what_level = f"{what} at {level:,} {of_what}{of_whom}"
        name = f"at {lowest:,}:"
        # The target speaks of the highest level.
        wanted = target if level == others[-1] else None
        bench.rows.append(Row(what_level, "µs CPU", list(costs[level]), list(costs[lowest]), name, wanted))


def _chart(title: str, x_name: str, lines: Mapping[str, Mapping[int, Sequence[float]]]) -> str:
    points = {
        direction: [(float(level), median(values)) for level, values in costs.items()] for direction, costs in lines.items()
    }
    return chart(title, x_name, "µs", points)
