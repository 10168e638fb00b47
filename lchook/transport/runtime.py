"""Greenlets where the process is monkey patched (gunicorn), threads elsewhere (`flask run`, pytest)."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import gevent
import gevent.lock
from gevent import monkey

from lchook.transport.greenlet_pool import greenlets
from lchook.transport.lean_connection import LeanConnection
from lchook.transport.native_thread import NativeThread

# Is there an event loop, and are tasks greenlets?
is_gevent = partial(monkey.is_module_patched, "socket")


def start_task(task: Callable[..., object], *args: object) -> None:
    """Run it soon, beside others. For what ends soon; under gevent its greenlet is reused."""
    if is_gevent():
        greenlets.start(task, *args)
    else:
        threading.Thread(target=task, args=args, daemon=True).start()


def start_service(task: Callable[..., object], *args: object) -> None:
    """Run what goes on for as long as the process."""
    if is_gevent():
        gevent.spawn(task, *args)
    else:
        threading.Thread(target=task, args=args, daemon=True).start()


def native_thread() -> NativeThread | None:
    """A thread beside the event loop, for what may block; `None` where there is no loop that would mind."""
    return NativeThread() if is_gevent() else None


def lean(connection: socket.socket) -> Any:
    """A connection for requests and their answers: this one, or in its place one of a lower price."""
    return LeanConnection(connection) if is_gevent() and not hasattr(connection, "pending") else connection


def bounded_semaphore(count: int) -> Any:
    """So many at once. gevent's, where it counts, costs a tenth of Python's."""
    return gevent.lock.BoundedSemaphore(count) if is_gevent() else threading.BoundedSemaphore(count)
