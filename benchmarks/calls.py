"""`python -m benchmarks.calls`: how many functions LCH's event loop calls for one message each way, and which.

Exact where CPU time is not: other users of the machine do not change it. SQLite's thread and the log's are not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import tempfile
from pathlib import Path

from benchmarks import processes
from benchmarks.bench import QUICK, Bench
from benchmarks.flows import TO_CUSTOMER, TO_DMS
from benchmarks.hooks import HERE, ROOT, Contender
from benchmarks.load import ToCustomer, ToDms, flood

_MESSAGES = 2_000
_PATIENCE_SECONDS = 10.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calls", description="Count the functions called a message.")
    parser.add_argument("--lch", type=Path, default=ROOT, metavar="FOLDER", help="the LCH in this folder")
    parser.add_argument("--show", type=int, default=20, metavar="N", help="so many of the functions, the most called first")
    arguments = parser.parse_args()
    asyncio.run(_run(Contender("LCH", arguments.lch.resolve()), arguments.show))


async def _run(lch: Contender, show: int) -> None:
    bench = await Bench.begin(QUICK, lch, [], print)
    for direction in (TO_DMS, TO_CUSTOMER):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "calls"
            settings = {"PYTHONPATH": str(HERE / "counting"), "CALLS_FILE": str(file)}
            async with bench.crowd(lch, QUICK.connected, **settings) as crowd:
                flow = ToDms(crowd) if direction == TO_DMS else await ToCustomer.connect(crowd)
                # What is done once is not a message's.
                await flood(crowd, flow, count=_MESSAGES)
                worker = processes.tree(crowd.servers[0].popen.pid)[-1]
                os.kill(worker, signal.SIGRTMIN)
                await flood(crowd, flow, count=_MESSAGES)
                os.kill(worker, signal.SIGRTMIN)
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    while not file.exists() or not file.stat().st_size:
                        await asyncio.sleep(0.1)
                flow.close()
            await asyncio.sleep(0.1)
            counts = [line.partition(" ") for line in file.read_text(encoding="utf-8").splitlines()]
        print(f"{direction}: {sum(int(count) for count, _, _ in counts) / _MESSAGES:.0f} functions a message")
        for count, _, name in counts[:show]:
            print(f"  {int(count) / _MESSAGES:6.2f} {name}")


if __name__ == "__main__":
    main()
