"""Calls that go out together: those that are made in one turn of the event loop, and those that come while as many groups as
may be are under way.

There is no task of its own for it: who comes first sees to the group, and the others wait. Works with threads and with
greenlets; knows nothing of Redis.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from lchook.store import StoreError

Call = TypeVar("Call")
Result = TypeVar("Result")

# Makes calls, and returns of each its result or its error. May raise where that holds for all.
Perform = Callable[[Sequence[Call]], Sequence[Result | Exception]]

# More than these do not go out together: others want something of the server, too.
_MAX_CALLS = 200


class _Caller(Generic[Call, Result]):
    """Who made some calls, and waits for what they return."""

    __slots__ = ("calls", "leads", "results", "woken")

    def __init__(self, calls: Sequence[Call]) -> None:
        self.calls = calls
        self.results: Sequence[Result | Exception] = ()
        # This one is to see to a group.
        self.leads = False
        # Held as long as there is nothing new: a third of what an Event costs.
        self.woken = threading.Lock()
        self.woken.acquire()


class CallGroups(Generic[Call, Result]):
    """Makes calls in groups."""

    def __init__(self, perform: Perform[Call, Result], *, max_groups: int) -> None:
        """:param max_groups: how many are under way at once, at most."""
        self._perform = perform
        self._max_groups = max_groups
        self._lock = threading.Lock()
        self._callers: deque[_Caller[Call, Result]] = deque()
        # Groups under way, the one that is being gathered among them.
        self._groups = 0
        self._is_gathering = False

    def run(self, *calls: Call) -> Sequence[Result | Exception]:
        """Make the calls, with those of others; of each its result or its error. Errors of others are none of theirs."""
        caller: _Caller[Call, Result] = _Caller(calls)
        with self._lock:
            self._callers.append(caller)
            leads = not self._is_gathering and self._groups < self._max_groups
            if leads:
                self._begin()
        if leads:
            # Whoever is ready by now has a turn before this goes on.
            time.sleep(0)
            self._lead(caller)
            return caller.results
        caller.woken.acquire()
        if caller.leads:
            self._lead(caller)
        return caller.results

    def _begin(self) -> None:
        self._is_gathering = True
        self._groups += 1

    def _lead(self, leader: _Caller[Call, Result]) -> None:
        """See to a group, this caller's among it."""
        with self._lock:
            group, self._is_gathering = self._gathered(), False
            if self._callers and self._groups < self._max_groups:
                self._let_the_next_lead()
        calls = [call for caller in group for call in caller.calls]
        # For the others, where this one is killed.
        results: Sequence[Result | Exception] = [StoreError("the call was broken off")] * len(calls)
        try:
            results = self._perform(calls)
        except Exception as error:
            results = [error] * len(calls)
        finally:
            with self._lock:
                self._groups -= 1
                if self._callers and not self._is_gathering:
                    self._let_the_next_lead()
            first = 0
            for caller in group:
                caller.results = results[first : first + len(caller.calls)]
                first += len(caller.calls)
                if caller is not leader:
                    caller.woken.release()

    def _gathered(self) -> list[_Caller[Call, Result]]:
        """The callers that come first, the leader before all, as many as fit."""
        group = [self._callers.popleft()]
        count = len(group[0].calls)
        while self._callers and count + len(self._callers[0].calls) <= _MAX_CALLS:
            count += len(self._callers[0].calls)
            group.append(self._callers.popleft())
        return group

    def _let_the_next_lead(self) -> None:
        self._begin()
        self._callers[0].leads = True
        self._callers[0].woken.release()
