"""Functions that are called twice a second, as long as the process runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from lchook.core import events
from lchook.logs import Log

log = Log(__name__)

_SECONDS = 0.5


class PeriodicTasks:
    """Calls functions twice a second, from the first `start` on."""

    def __init__(self, *, start_task: Callable[..., object]) -> None:
        self._groups: list[tuple[Callable[[], None], ...]] = []
        self._start_task = start_task
        self._lock = threading.Lock()
        self._running = False
        self._stopped = False

    def add(self, *functions: Callable[[], None]) -> None:
        """Call these, too, one after the other; those of other calls do not wait for them. One that fails is logged, and
        called again."""
        self._groups.append(functions)
        if self._running:
            self._start_task(self._run, functions)

    def remove(self, *functions: Callable[[], None]) -> None:
        """Call these, which were added together, no more."""
        self._groups.remove(functions)

    def stop(self) -> None:
        """Call nothing any more."""
        self._stopped = True

    def start(self) -> None:
        """Begin, if it has not begun. Not done when the application is made, so that commands have no tasks."""
        if self._running:
            return
        with self._lock:
            start, self._running = not self._running, True
        if start:
            for functions in list(self._groups):
                self._start_task(self._run, functions)

    def _run(self, functions: tuple[Callable[[], None], ...]) -> None:
        while True:
            time.sleep(_SECONDS)
            if self._stopped or functions not in self._groups:
                return
            for function in functions:
                try:
                    function()
                except Exception:
                    log.exception(events.PERIODIC_TASK_FAILED)
