"""Calls that go out together."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Sequence

from lchook.store.call_groups import CallGroups
from tests.support.tools import ROOT
from tests.support.waiting import wait_until
from tests.unit.conftest import start_thread


class Server:
    """Doubles numbers, once it may. Notes which came together."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.may = threading.Event()

    def perform(self, calls: Sequence[int]) -> list[int | Exception]:
        self.groups.append(list(calls))
        assert self.may.wait(10)
        if 1000 in calls:
            raise OSError("all of them")
        return [ValueError(f"not {call}") if call < 0 else 2 * call for call in calls]


class Callers:
    """Call in threads of their own."""

    def __init__(self, groups: CallGroups[int, int]) -> None:
        self._groups = groups
        self._threads: list[threading.Thread] = []
        self.results: dict[int, int | Exception] = {}

    def call(self, number: int) -> None:
        def run() -> None:
            [self.results[number]] = self._groups.run(number)

        self._threads.append(start_thread(run))

    def wait(self) -> dict[int, int | Exception]:
        for thread in self._threads:
            thread.join(10)
        return self.results


def test_calls_made_while_others_are_under_way_go_out_together_and_each_has_its_own_result() -> None:
    server = Server()
    groups: CallGroups[int, int] = CallGroups(server.perform, max_groups=1)
    callers = Callers(groups)
    callers.call(0)
    wait_until(lambda: server.groups == [[0]], "the first")
    for number in (1, -2, 3):
        callers.call(number)
    wait_until(lambda: len(groups._callers) == 3, "the others")
    server.may.set()

    results = callers.wait()
    assert [sorted(group) for group in server.groups] == [[0], [-2, 1, 3]]
    assert (results[0], results[1], results[3]) == (0, 2, 6)
    assert isinstance(results[-2], ValueError), "and nobody else's"


def test_several_groups_are_under_way_and_what_fails_as_a_whole_fails_for_its_group() -> None:
    server = Server()
    groups: CallGroups[int, int] = CallGroups(server.perform, max_groups=2)
    callers = Callers(groups)
    for count, number in enumerate((1, 1000), start=1):
        callers.call(number)
        wait_until(lambda count=count: len(server.groups) == count, "a group of its own")
    callers.call(2)
    wait_until(lambda: groups._callers, "the third")
    assert len(server.groups) == 2
    server.may.set()

    results = callers.wait()
    assert isinstance(results[1000], OSError)
    assert (results[1], results[2]) == (2, 4)


def test_a_group_is_bounded_and_one_callers_calls_stay_together() -> None:
    server = Server()
    groups: CallGroups[int, int] = CallGroups(server.perform, max_groups=1)
    callers = Callers(groups)
    callers.call(0)
    wait_until(lambda: server.groups, "the first")
    for number in range(1, 300):
        callers.call(number)
    wait_until(lambda: len(groups._callers) == 299, "the others")
    server.may.set()
    assert callers.wait() == {number: 2 * number for number in range(300)}
    assert [len(group) for group in server.groups] == [1, 200, 99]
    assert groups.run(*range(500)) == [2 * number for number in range(500)]


_ONE_TURN = """
from gevent import monkey; monkey.patch_all()
import gevent
from lchook.store.call_groups import CallGroups
sizes = []
def perform(calls):
    sizes.append(len(calls))
    gevent.sleep(0.01)
    return calls
groups = CallGroups(perform, max_groups=4)
def twice(number):
    assert groups.run(number) == [number] and groups.run(-number) == [-number]
gevent.joinall([gevent.spawn(twice, number) for number in range(50)], raise_error=True)
print(sizes)
"""


def test_calls_of_one_turn_of_the_event_loop_go_out_together() -> None:
    command = [sys.executable, "-c", _ONE_TURN]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert run.stdout == "[50, 50]\n", run.stderr
