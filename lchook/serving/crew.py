"""Greenlets that stay for their next job.

To wake one that waits costs a tenth of starting one: Python (3.11) maps memory for the frames of each new greenlet, and
gives it back at its end. Under gevent only; knows nothing of the jobs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
from gevent import get_hub
from greenlet import getcurrent

from lchook.logs import Log

log = Log(__name__)

# More than this many do not stay: each weighs 20 KB or so.
_MOST_WAITING = 100


class Crew:
    """Does jobs, each in a greenlet of its own."""

    def __init__(self) -> None:
        self._waiting: list[Any] = []

    def start(self, job: Callable[..., object], *args: Any) -> None:
        """Do the job soon. From any greenlet, and from callbacks of the event loop."""
        if self._waiting:
            get_hub().loop.run_callback(self._waiting.pop().switch, job, args)
        else:
            gevent.spawn_raw(self._work, [(job, args)])

    def start_now(self, job: Callable[..., object]) -> None:
        """Do the job now. From callbacks of the event loop only, which go on when the job has to wait, or is done."""
        if self._waiting:
            self._waiting.pop().switch(job, ())
        else:
            gevent.spawn_raw(self._work, [(job, ())])

    def _work(self, first: list[tuple[Callable[..., object], tuple[Any, ...]]]) -> None:
        # In a list, because a greenlet keeps what it was started with.
        job, args = first.pop()
        hub = get_hub()
        while True:
            try:
                job(*args)
            except Exception:
                log.exception("a task failed")
            if len(self._waiting) >= _MOST_WAITING:
                return
            self._waiting.append(getcurrent())
            # While it waits, it keeps nobody's connection.
            job = args = None  # type: ignore[assignment]
            job, args = hub.switch()


# One for all of the process: what waits for a job does not care whose it is.
crew = Crew()
