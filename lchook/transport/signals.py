"""Waiting for one thing, for a time that many others wait for, too: without a timer for each. gevent only.

gevent's own ways start a timer and stop it, in Python, each time, which costs more than all else about a wait that is short.
"""

from __future__ import annotations

import itertools
import time
from typing import Any

from gevent import get_hub
from gevent.hub import Waiter


class Signal:
    """As an Event, for one greenlet. It is set in the event loop."""

    __slots__ = ("_waiter", "is_set")

    def __init__(self) -> None:
        self._waiter = Waiter()
        self.is_set = False

    def wait(self, timeout: float) -> bool:
        """Is it set, now or within so many seconds? Those are to be a number that many others wait for, too."""
        if not self.is_set:
            deadlines = _deadlines.get(timeout)
            if deadlines is None:
                deadlines = _deadlines[timeout] = _Deadlines(timeout)
            deadlines.add(self)
            try:
                self._waiter.get()
            finally:
                deadlines.waiting.pop(self, None)
        return self.is_set

    def set(self) -> None:
        """Let the greenlet go on."""
        self.is_set = True
        self._waiter.switch(None)

    def give_up(self) -> None:
        """Let the greenlet go on without it."""
        if not self.is_set:
            self._waiter.switch(None)


class _Deadlines:
    """All who wait for so many seconds: who began first is the first whose time is over."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        # Until when each waits, oldest first.
        self.waiting: dict[Signal, float] = {}
        self._timer: Any = None

    def add(self, signal: Signal) -> None:
        self.waiting[signal] = time.monotonic() + self._seconds
        if self._timer is None:
            self._start(self._seconds)

    def _start(self, seconds: float) -> None:
        self._timer = get_hub().loop.timer(max(0.0, seconds))
        self._timer.start(self._look)

    def _look(self) -> None:
        now = time.monotonic()
        # Whoever goes on may come back at once; until then the timer counts as running.
        for signal in list(itertools.takewhile(lambda signal: self.waiting[signal] <= now, self.waiting)):
            signal.give_up()
        self._timer.close()
        self._timer = None
        if self.waiting:
            self._start(next(iter(self.waiting.values())) - time.monotonic())


# By seconds: there are few, since they are settings, or rounded.
_deadlines: dict[float, _Deadlines] = {}
