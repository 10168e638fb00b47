"""`python -m tests.chaos`: all scenarios with thousands of messages, and a table: lost, doubled, out of order."""

from __future__ import annotations

import argparse
import sys
import time

from tests.chaos import scenarios
from tests.chaos.counts import Count

_COLUMNS = "{:<12} {:<42} {:<7} {:>9} {:>8} {:>7} {:>5} {:>7} {:<22} {:>8} {:>7} {:>7}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--customers", type=int, default=40)
    parser.add_argument("--to-customer", type=int, default=3000, help="messages in each scenario")
    parser.add_argument("--to-dms", type=int, default=1500, help="messages in each scenario")
    parser.add_argument("--seconds", type=float, default=15.0, help="how long the faults last")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="scenarios with this in their names")
    options = parser.parse_args()

    wrong = 0
    head = (
        "flow",
        "fault",
        "store",
        "instances",
        "messages",
        "crossed",
        "lost",
        "doubled",
        "of these unavoidable",
        "disorder",
        "failed",
        "unknown",
    )
    print(_COLUMNS.format(*head), flush=True)
    stop_seconds: list[float] = []
    started = time.monotonic()
    for scenario in (*scenarios.TO_CUSTOMER, *scenarios.TO_DMS, *scenarios.DEAF, *scenarios.BOTH, *scenarios.CONNECTIONS):
        if options.only not in scenario.name:
            continue
        for store in scenario.stores:
            to_customer, to_dms, world = scenario.run(
                store,
                customers=options.customers,
                to_customer=options.to_customer,
                to_dms=options.to_dms,
                seconds=options.seconds,
                seed=options.seed,
            )
            stop_seconds += world.stop_seconds
            for flow, count in (("to customer", to_customer), ("to DMS", to_dms)):
                wrong += not count.is_right
                _print(flow, scenario, store, count)
    print(
        "\nUnavoidable: the acknowledgement was lost in flight (f), LCH was killed between seeing it and noting it (k),"
        "\nor the client acknowledges nothing (n), for which nothing is held back while its old connection may be alive."
        "\nfailed: reported as failed to whoever sent it; unknown: of these, what DMS may have all the same: it was being"
        "\nposted when its process was killed, or DMS gave no answer in time."
        "\nDeaf clients look at no acknowledgement and never repeat: their messages count from when they are stored."
    )
    if stop_seconds:
        stops = sorted(stop_seconds)
        print(
            f"SIGTERM, {len(stops)} times: gone after {stops[len(stops) // 2]:.1f} s (median), {stops[-1]:.1f} s (longest)."
        )
    print(f"{wrong} rows are wrong. It took {time.monotonic() - started:.0f} s.")
    sys.exit(bool(wrong))


def _print(flow: str, scenario: scenarios.Scenario, store: str, count: Count) -> None:
    kinds = ((count.in_flight, "f"), (count.interrupted, "k"), (count.unacknowledged, "n"))
    unavoidable = " ".join(f"{number} {kind}" for number, kind in kinds if number)
    disorder = f"{count.loosely_ordered} n" if count.loosely_ordered else count.out_of_order
    numbers = (count.messages, count.crossed, count.lost, count.doubled, unavoidable, disorder)
    failed, unknown = (str(count.failed), str(count.unknown)) if flow == "to DMS" else ("", "")
    print(_COLUMNS.format(flow, scenario.name, store, scenario.instances, *numbers, failed, unknown), flush=True)
    for problem in count.problems[:5]:
        print(f"    {problem}")


if __name__ == "__main__":
    main()
