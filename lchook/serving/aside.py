"""A native thread for calls that may block in the kernel, such as a disk's: the event loop goes on meanwhile. gevent only.

What is called there must not touch what is gevent's, patched locks and the log included. gevent's own thread pool does the
same, for half as much again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gevent import get_hub, monkey

_allocate_lock = monkey.get_original("_thread", "allocate_lock")
_start_thread = monkey.get_original("_thread", "start_new_thread")


class Aside:
    """One thread, for one call after the other: so that SQLite's connection is used by one thread only."""

    def __init__(self) -> None:
        # Held while there is nothing to do.
        self._idle = _allocate_lock()
        self._idle.acquire()
        self._function: Callable[[], None]
        self._then: Callable[[], None]
        self._returned: Any = None

    def __call__(self, function: Callable[[], None], then: Callable[[], None]) -> None:
        """Call a function there, and when it has returned, another one in the event loop, where it must not wait.

        To be called again when that has come.
        """
        if self._returned is None:
            # Not before the worker was forked. `ref`: what waits for a disk does not keep the loop from its end.
            self._returned = get_hub().loop.async_(ref=False)
            self._returned.start(self._call_then)
            _start_thread(self._work, ())
        self._function, self._then = function, then
        self._idle.release()

    def _work(self) -> None:
        while True:
            self._idle.acquire()
            self._function()
            self._returned.send()

    def _call_then(self) -> None:
        self._then()
