"""A short run of the fuzzer; `python -m tests.fuzz` makes long ones."""

from __future__ import annotations

from tests.fuzz.harness import fuzzed_hook, is_plateau, run


def test_three_thousand_inputs_of_nonsense_are_noticed_by_nobody() -> None:
    with fuzzed_hook() as hook:
        report = run(hook, seed=20, inputs=3_000)
    assert report.total == 3_000
    assert len(report.inputs) == 8
    assert is_plateau(report.megabytes, allowed=15), report
