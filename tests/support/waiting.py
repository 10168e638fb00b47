"""Waiting for something to become true, with a deadline instead of a sleep."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(is_there: Callable[[], T], what: object, *, timeout_seconds: float = 10.0) -> T:
    """Call `is_there` until it returns something true, and return that.

    :param what: what is waited for; a function is called at the end, to tell what is there instead.
    :raises AssertionError: where it does not come in time.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        result = is_there()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_seconds} s for: {what() if callable(what) else what}")
        time.sleep(0.01)
