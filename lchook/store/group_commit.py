"""Many small writes in one transaction: a commit costs more than all that is written.

Whoever comes first lets everybody else who is ready put their work beside, and then commits all of it. Nobody returns before
their own work is committed. Works with threads and with greenlets; knows nothing of SQLite.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

Connection = TypeVar("Connection")


class _Job(Generic[Connection]):
    __slots__ = ("committed", "error", "result", "work")

    def __init__(self, work: Callable[[Connection], Any]) -> None:
        self.work = work
        self.result: Any = None
        self.error: BaseException | None = None
        # Held until the job is done, if somebody else does it.
        self.committed: Any = None


class GroupCommit(Generic[Connection]):
    """Runs work in transactions that are shared."""

    def __init__(self, transaction: Callable[[Callable[[Connection], None]], None]) -> None:
        """:param transaction: runs a function in one transaction; raises where nothing was committed."""
        self._transaction = transaction
        self._lock = threading.Lock()
        self._jobs: list[_Job[Connection]] = []
        self._leading = False

    def run(self, work: Callable[[Connection], Any]) -> Any:
        """Do the work in a transaction, and return what it returns once that is committed.

        The work may be done twice, where somebody else's work made the first transaction fail.
        """
        job = _Job(work)
        with self._lock:
            leads = not self._leading
            if leads:
                self._leading = True
            else:
                job.committed = threading.Lock()
                job.committed.acquire()
            self._jobs.append(job)
        if leads:
            self._lead()
        else:
            job.committed.acquire()
        if job.error is not None:
            raise job.error
        return job.result

    def _lead(self) -> None:
        try:
            # All who are ready now come before the transaction begins.
            time.sleep(0)
        finally:
            while True:
                with self._lock:
                    jobs, self._jobs = self._jobs, []
                    if not jobs:
                        self._leading = False
                        break
                self._commit(jobs)

    def _commit(self, jobs: list[_Job[Connection]]) -> None:
        def all_of_them(connection: Connection) -> None:
            for job in jobs:
                job.result = job.work(connection)

        try:
            self._transaction(all_of_them)
        except Exception as error:
            if len(jobs) == 1:
                jobs[0].error = error
            else:
                # One of them may be at fault: each for itself.
                for job in jobs:
                    self._alone(job)
        except BaseException as error:
            # Such as the end of the leader's greenlet. Others who wait must still find somebody who leads.
            for job in jobs:
                job.error = error
        finally:
            for job in jobs:
                if job.committed is not None:
                    job.committed.release()

    def _alone(self, job: _Job[Connection]) -> None:
        def only_this(connection: Connection) -> None:
            job.result = job.work(connection)

        try:
            self._transaction(only_this)
        except Exception as error:
            job.error = error
