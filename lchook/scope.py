"""For which connection to Pega something runs, where there are several: each line of the log then says so.

Whatever enters a channel (an event, a webhook, a task, a callback) goes through its scope. Knows nothing of what runs there.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import fields
from typing import Any, TypeVar

from lchook.logs import Log
from lchook.store import StoreListener

F = TypeVar("F", bound=Callable[..., Any])

_current: ContextVar[str] = ContextVar("connection", default="")


class Scope:
    """One channel's."""

    def __init__(self, name: str) -> None:
        self._name = name
        Log.connection = _current.get

    def bound(self, function: F) -> F:
        """The same function, run in this scope by whoever calls it."""

        def within(*args: Any, **options: Any) -> Any:
            token = _current.set(self._name)
            try:
                return function(*args, **options)
            finally:
                _current.reset(token)

        return within  # type: ignore[return-value]

    def starter(self, start_task: Callable[..., object]) -> Callable[..., object]:
        """Starts tasks in this scope."""
        return lambda task, *args: start_task(self.bound(task), *args)

    def listener(self, listener: StoreListener) -> StoreListener:
        """The same, heard in this scope."""
        return StoreListener(**{each.name: self.bound(getattr(listener, each.name)) for each in fields(listener)})


class _NoScope(Scope):
    """Where there is one connection, nothing need be told apart, and nothing is done for it."""

    def __init__(self) -> None:
        pass

    def bound(self, function: F) -> F:
        return function

    def starter(self, start_task: Callable[..., object]) -> Callable[..., object]:
        return start_task

    def listener(self, listener: StoreListener) -> StoreListener:
        return listener


NO_SCOPE = _NoScope()
