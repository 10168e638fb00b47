"""Many small works in one transaction, and none of them waits for longer than is said.

A commit costs more than all that is written: whoever is ready while others' works are done goes into the next transaction,
together. The works are done where the event loop does not notice (see `aside`), in one place at a time; their callers wait,
and are told in words when they have waited for too long, even if the disk below hangs. Works with threads and with
greenlets; knows nothing of SQLite.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from lchook.locks import DecisionLock
from lchook.store import StoreError

Connection = TypeVar("Connection")

Work = Callable[[Connection], Any]
# Runs works: as they are, or in one transaction; then it raises where nothing was committed.
Run = Callable[[Callable[[Connection], None]], None]


class Signal(Protocol):
    """What one caller waits for, as `threading.Event`."""

    def wait(self, timeout: float) -> bool:
        """Is it set, now or within so many seconds? Always as many."""

    def set(self) -> None:
        """Let the caller go on."""


class Aside(Protocol):
    """Where works are done while their callers wait."""

    def __call__(self, function: Callable[[], None], then: Callable[[], None], /) -> None:
        """Call the first function where it may block, nobody else's call meanwhile, and then the second."""

    def signal(self) -> Signal:
        """A new one. It is set by what is called second."""


class InAThread:
    """Where threads are what waits: another one."""

    signal = threading.Event

    def __call__(self, function: Callable[[], None], then: Callable[[], None], /) -> None:
        def both() -> None:
            function()
            then()

        threading.Thread(target=both, daemon=True).start()


in_a_thread = InAThread()


class BusyError(StoreError):
    """Somebody else has what is needed. It is tried again as long as anybody waits for it."""


class _Job(Generic[Connection]):
    __slots__ = ("done", "error", "given_up", "result", "work", "writes")

    def __init__(self, work: Work[Connection], writes: bool, done: Signal) -> None:
        self.work = work
        self.writes = writes
        self.result: Any = None
        self.error: BaseException | None = None
        self.given_up = False
        self.done = done


class GroupCommit(Generic[Connection]):
    """Does works in groups, each group in one go."""

    def __init__(
        self,
        *,
        read: Run[Connection],
        transaction: Run[Connection],
        patience_seconds: float,
        aside: Aside = in_a_thread,
    ) -> None:
        """Where `read` or `transaction` raises StoreError nothing can be done now, for nobody. Any other exception may be
        the fault of one work, and each is then done by itself.

        :param patience_seconds: for how long a caller waits, from the moment of its call.
        :param aside: what its first function calls uses no locks and no log.
        """
        self._read = read
        self._transaction = transaction
        self._patience_seconds = patience_seconds
        self._aside = aside
        self._lock = DecisionLock()
        self._jobs: deque[_Job[Connection]] = deque()
        # Whether somebody sees to the jobs, and since when to those under way.
        self._running = False
        self._since = 0.0
        self._under_way: list[_Job[Connection]] = []
        # What was wrong last, for those who do not get as far as that.
        self._trouble = ""
        self._busy: BusyError | None = None

    def run(self, work: Work[Connection], *, writes: bool = True) -> Any:
        """Do the work, and return what it returns, once that is committed if it writes.

        The work may be done twice, where somebody else's made the first transaction fail.

        :raises StoreError: where it fails, or takes too long: then it may have been done all the same.
        """
        job = _Job(work, writes, self._aside.signal())
        with self._lock:
            seconds = time.monotonic() - self._since if self._running else 0.0
            if seconds > 2 * self._patience_seconds:
                # All who were here have given up by now, and so would this one.
                raise StoreError(f"it has not answered for {seconds:.0f} s{self._trouble}")
            self._jobs.append(job)
            begins = not self._running
            if begins:
                self._running, self._since = True, time.monotonic()
        if begins:
            self._aside(self._do, self._done)
        if not job.done.wait(self._patience_seconds):
            job.given_up = True
            raise StoreError(f"it did not answer within {self._patience_seconds:g} s{self._trouble}")
        if isinstance(job.error, StoreError):
            # One of its own for each caller: an exception notes who raises it.
            raise StoreError(str(job.error)) from job.error
        if job.error is not None:
            raise job.error
        return job.result

    def _done(self) -> None:
        jobs, self._under_way = self._under_way, []
        trouble = next((job.error for job in jobs if isinstance(job.error, StoreError)), self._busy)
        self._trouble = f": {trouble}" if trouble else ""
        self._busy = None
        with self._lock:
            self._running = bool(self._jobs)
            self._since = time.monotonic()
        if self._running:
            self._aside(self._do, self._done)
        for job in jobs:
            job.done.set()

    # Aside

    def _do(self) -> None:
        # All who are ready by now; what comes later is for the next time.
        jobs = [self._jobs.popleft() for _ in range(len(self._jobs))]
        for run, writes in ((self._read, False), (self._transaction, True)):
            group = [job for job in jobs if job.writes is writes and not job.given_up]
            if not group:
                continue
            error = self._try(run, group)
            if isinstance(error, BusyError):
                # Between the tries others come, who may not need what somebody else has.
                self._busy = error
                self._jobs.extendleft(reversed(group))
                continue
            self._under_way += group
            for job in group:
                if error is None or isinstance(error, StoreError) or len(group) == 1:
                    # Once for all: to try each by itself would take as long again.
                    job.error = error
                else:
                    # One of them may be at fault: each for itself.
                    job.error = self._try(run, [job])

    def _try(self, run: Run[Connection], group: list[_Job[Connection]]) -> BaseException | None:
        def all_of_them(connection: Connection) -> None:
            for job in group:
                # Its caller may have been told meanwhile that it was not done.
                if not job.given_up:
                    job.result = job.work(connection)

        try:
            run(all_of_them)
        except BaseException as error:
            return error
        return None
