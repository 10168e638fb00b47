"""`python -m benchmarks`: measure, print the table, leave it and the plots in results/."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import platform
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from benchmarks import flows, growth, hooks, setups, sockets
from benchmarks.bench import FULL, QUICK, Bench, Plan, connections_possible
from benchmarks.hooks import Contender, StartError
from benchmarks.load import LoadError
from benchmarks.report import Row, table

MEASURES: dict[str, Callable[[Bench], Awaitable[None]]] = {
    "throughput": flows.throughput,
    "latency": flows.latency,
    "slow-dms": flows.slow_dms,
    "connecting": sockets.connecting,
    "idle-memory": sockets.idle_memory,
    "many-idle": sockets.many_idle,
    "customers": growth.customers,
    "waiting": growth.waiting,
    "start": setups.start,
    "instances": setups.instances,
    "stores": setups.stores,
    "store-latency": setups.store_latency,
    "redis": setups.redis,
}
RESULTS = hooks.HERE / "results"


def main() -> None:
    arguments = _parse()
    peers, missing = hooks.node_hooks()
    if arguments.against is not None or arguments.against_python is not None:
        folder, python = arguments.against or arguments.lch, arguments.against_python or sys.executable
        peers, missing = [Contender("other", folder.resolve(), python)], ""
    if missing:
        print(f"Not beside all that it should be: {missing}.\n", flush=True)
    lch = Contender("LCH", arguments.lch.resolve())
    names = arguments.only or list(MEASURES)
    connections_possible()
    plan = QUICK if arguments.quick else FULL
    if arguments.rounds:
        plan = replace(plan, rounds=arguments.rounds, growth_rounds=arguments.rounds)
    # Everything here is short-lived or lives to the end; a collection in between would show up as latency.
    gc.disable()
    # However this ends, the servers end with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    bench, failures = asyncio.run(_run(lch, peers, names, plan))
    text = f"{_machine(arguments.quick)}\n\n{table(bench.rows)}\n"
    print(f"\n{text}")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "latest.md").write_text(text)
    for name, svg in bench.charts.items():
        (RESULTS / f"{name}.svg").write_text(svg)
    if arguments.summary:
        (RESULTS / "summary.md").write_text(f"# As `make bench` printed it\n\n{text}")
    if failures:
        sys.exit(f"failed: {', '.join(failures)}")


async def _run(lch: Contender, peers: list[Contender], names: list[str], plan: Plan) -> tuple[Bench, list[str]]:
    bench = await Bench.begin(plan, lch, peers, lambda text: print(text, flush=True))
    failures = []
    for name in names:
        print(f"{name}: {(MEASURES[name].__doc__ or '').strip()}", flush=True)
        started, known = time.monotonic(), len(bench.rows)
        try:
            await MEASURES[name](bench)
        except (LoadError, StartError, OSError, TimeoutError) as error:
            print(f"  FAILED: {type(error).__name__}: {error}", flush=True)
            bench.rows.append(Row(f"{name}: failed", ""))
            failures.append(name)
        for line in table(bench.rows[known:]).splitlines()[2:] if bench.rows[known:] else []:
            print(f"  {line}", flush=True)
        print(f"  ({time.monotonic() - started:.0f} s)", flush=True)
    return bench, failures


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure LCH beside Node hooks.")
    parser.add_argument("--quick", action="store_true", help="a first look at everything, in about two minutes")
    parser.add_argument("--only", action="append", choices=list(MEASURES), metavar="NAME", help=", ".join(MEASURES))
    parser.add_argument("--lch", type=Path, default=hooks.ROOT, metavar="FOLDER", help="measure the LCH in this folder")
    parser.add_argument("--against", type=Path, metavar="FOLDER", help="beside another LCH instead of the Node hooks")
    parser.add_argument("--against-python", metavar="PYTHON", help="beside the same LCH on another Python: its path")
    parser.add_argument("--rounds", type=int, metavar="N", help="instead of the plan's")
    parser.add_argument("--summary", action="store_true", help="write results/summary.md, too")
    return parser.parse_args()


def _machine(quick: bool) -> str:
    node = f", Node {hooks.node_version()}" if hooks.node_version() else ""
    words = (
        f"{datetime.now():%Y-%m-%d}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}{node}"
    )
    return words + (". A quick run: too few rounds to be quoted." if quick else "")


if __name__ == "__main__":
    main()
