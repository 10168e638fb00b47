"""`python -m tests.fuzz --seed N --inputs N`: throw nonsense at an LCH of its own, and tell what it did to it."""

from __future__ import annotations

import argparse
import sys

from tests.fuzz.harness import fuzzed_hook, is_plateau, run

parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same inputs (default 1)")
parser.add_argument("--inputs", type=int, default=100_000, help="how many (default 100,000)")
arguments = parser.parse_args()

with fuzzed_hook() as hook:
    try:
        report = run(hook, seed=arguments.seed, inputs=arguments.inputs, tell=print)
    except AssertionError as error:
        sys.exit(f"{error}\n\nThe end of the log:\n" + "\n".join(hook.server.log.splitlines()[-20:]))
print(report)
if not is_plateau(report.megabytes, allowed=10):
    sys.exit("memory goes on growing")
