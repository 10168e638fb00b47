"""Greenlets that are reused.

To wake one that waits costs a tenth of starting one: Python (3.11) maps memory for the frames of each new greenlet, and
gives it back at its end. Under gevent only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
from gevent import get_hub
from greenlet import getcurrent

from lchook.core import events
from lchook.logs import Log

log = Log(__name__)

# More than this many are not kept: each weighs 20 KB or so.
_MAX_IDLE = 100


class GreenletPool:
    """Runs functions, each in a greenlet of its own."""

    def __init__(self) -> None:
        self._idle: list[Any] = []

    def start(self, task: Callable[..., object], *args: Any) -> None:
        """Run it soon. From any greenlet, and from callbacks of the event loop."""
        if self._idle:
            get_hub().loop.run_callback(self._idle.pop().switch, task, args)
        else:
            gevent.spawn_raw(self._work, [(task, args)])

    def start_now(self, task: Callable[..., object]) -> None:
        """Run it now. From callbacks of the event loop only, which go on when it has to wait, or returns."""
        if self._idle:
            self._idle.pop().switch(task, ())
        else:
            gevent.spawn_raw(self._work, [(task, ())])

    def _work(self, first: list[tuple[Callable[..., object], tuple[Any, ...]]]) -> None:
        # In a list, because a greenlet keeps what it was started with.
        task, args = first.pop()
        hub = get_hub()
        while True:
            try:
                task(*args)
            except Exception:
                log.exception(events.TASK_FAILED)
            if len(self._idle) >= _MAX_IDLE:
                return
            self._idle.append(getcurrent())
            # While it is idle, it keeps nobody's connection alive.
            task = args = None  # type: ignore[assignment]
            task, args = hub.switch()


# One for all of the process.
greenlets = GreenletPool()
