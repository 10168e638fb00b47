"""Calls that may block in the kernel (a disk, a library with threads of its own), made so that the event loop goes on.

What is called must not touch what is gevent's: patched locks and sockets, and the log.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import gevent
from gevent.threadpool import ThreadPool

from lchook.transport.runtime import is_gevent

T = TypeVar("T")


class BlockingCalls:
    """A few threads under gevent, the caller's own elsewhere."""

    def __init__(self, *, threads: int) -> None:
        self._threads = threads
        self._pool: ThreadPool | None = None

    def __call__(self, seconds: float, function: Callable[..., T], *args: Any) -> T:
        """What the function returns or raises.

        :param seconds: how long that is waited for. Where it is late it may have been done all the same.
        :raises TimeoutError: where it takes longer. Only under gevent.
        """
        if not is_gevent():
            return function(*args)
        if self._pool is None:
            # Not before the worker was forked.
            self._pool = ThreadPool(self._threads)
        with gevent.Timeout(seconds, TimeoutError(f"no answer within {seconds:g} s")):
            result, error = self._pool.spawn(_caught, function, args).get()
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]


def _caught(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, Exception | None]:
    """gevent (26.9) writes a trace of what is raised there, besides raising it."""
    try:
        return function(*args), None
    except Exception as error:
        return None, error
