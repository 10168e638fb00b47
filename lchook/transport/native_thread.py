"""A native thread for calls that may block in the kernel, such as a disk's: the event loop goes on meanwhile. gevent only.

What is called there must not touch what is gevent's, patched locks and the log included.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from gevent import get_hub, monkey

from lchook.transport.signals import Signal

_allocate_lock = monkey.get_original("_thread", "allocate_lock")
_start_thread = monkey.get_original("_thread", "start_new_thread")

# To go there and back costs 60 µs of CPU, more than what is done there for one message. So under load it is done at most so
# often, for all who are ready by then: that is cheaper than to do each in the event loop.
_INTERVAL_SECONDS = 0.001
# After a pause so many go at once: with hundreds of messages a second, nobody waits for the interval.
_AT_ONCE = 20


class NativeThread:
    """One thread, for one call after the other: SQLite's connection is used by one thread only."""

    def __init__(self) -> None:
        # Held while there is nothing to do.
        self._idle = _allocate_lock()
        self._idle.acquire()
        self._function: Callable[[], None]
        self._then: Callable[[], None]
        self._next_at = 0.0
        self._timer: Any = None
        self._returned: Any = None

    # What one caller waits for: it is set by what `__call__` calls second.
    signal = Signal

    def __call__(self, function: Callable[[], None], then: Callable[[], None]) -> None:
        """Call a function there, and when it has returned, another one in the event loop, where it must not wait.

        To be called again when that has come.
        """
        loop = get_hub().loop
        if self._returned is None:
            # Not before the worker was forked. What waits for a disk does not keep the loop from its end (`ref`).
            self._returned = loop.async_(ref=False)
            self._returned.start(self._call_then)
            _start_thread(self._work, ())
        self._function, self._then = function, then
        now = time.monotonic()
        if now >= self._next_at:
            self._next_at = max(self._next_at, now - _AT_ONCE * _INTERVAL_SECONDS) + _INTERVAL_SECONDS
            # Once all that is ready by now has had its turn.
            loop.run_callback(self._idle.release)
        else:
            self._timer = loop.timer(self._next_at - now)
            self._next_at += _INTERVAL_SECONDS
            self._timer.start(self._idle.release)

    def _work(self) -> None:
        while True:
            self._idle.acquire()
            self._function()
            self._returned.send()

    def _call_then(self) -> None:
        self._then()
