"""Greenlets where the process is monkey patched (gunicorn), threads elsewhere (`flask run`, pytest)."""

from __future__ import annotations

import threading
from collections.abc import Callable

import gevent
from gevent import monkey

from lchook.transport.greenlet_pool import greenlets
from lchook.transport.native_thread import NativeThread

Call = Callable[[Callable[[], None], Callable[[], None]], None]


def is_gevent() -> bool:
    """Is there an event loop, and are tasks greenlets?"""
    return bool(monkey.is_module_patched("socket"))


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


def native_thread() -> Call | None:
    """A thread beside the event loop, for what may block; `None` where there is no loop that would mind."""
    return NativeThread() if is_gevent() else None
