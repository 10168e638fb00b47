"""Of several addresses, the first that connects (RFC 8305, "happy eyeballs"). Attempts overlap; one deadline for all.

An attempt is a generator: it yields a file descriptor and what it waits for there (`select.POLLIN`, `POLLOUT`), and returns
the connection. So one greenlet or thread looks after all attempts. Knows nothing of what an attempt does.
"""

from __future__ import annotations

import select
import ssl
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from socket import socket
from typing import NamedTuple, TypeVar

# Where an attempt has not moved for so long, the next begins beside it.
STEP_SECONDS = 0.25

Address = TypeVar("Address")
Attempt = Generator[tuple[int, int], None, socket]


class Connected(NamedTuple):
    """The first connection, non-blocking; the place of its address; why those before it failed, None for silence."""

    connection: socket
    place: int
    failed: dict[int, Exception | None]


def first_to_connect(
    addresses: Sequence[Address], begin: Callable[[Address], Attempt], *, within_seconds: float
) -> Connected:
    """Try them in this order; the others are given up where one connects.

    :raises TimeoutError: where the time is over. :raises OSError: why the attempts failed, if all did.
    """
    now = time.monotonic()
    deadline = now + within_seconds
    # With many addresses and little time, all are tried in the first half of it.
    step_seconds = min(STEP_SECONDS, within_seconds / (2 * max(1, len(addresses))))
    waiting = deque(enumerate(addresses))
    failures: dict[int, Exception | None] = {}
    # By file descriptor: an attempt, its place, and what it waits for.
    running: dict[int, tuple[Attempt, int, int]] = {}
    next_start = now
    try:
        while waiting or running:
            if now >= deadline:
                raise TimeoutError("no connection in time")
            if waiting and (not running or now >= next_start):
                place, address = waiting.popleft()
                ready = [(begin(address), place)]
            else:
                until = min(next_start, deadline) if waiting else deadline
                ready = [running.pop(fd)[:2] for fd in _ready(running, until - now)]
            now = time.monotonic()
            if ready:
                next_start = now + step_seconds
            while ready:
                attempt, place = ready.pop()
                try:
                    fd, events = next(attempt)
                except StopIteration as done:
                    for other, _ in ready:
                        other.close()
                    failures.update((tried, None) for tried in range(place) if tried not in failures)
                    return Connected(done.value, place, failures)
                except (OSError, ValueError) as error:
                    failures[place] = error
                    next_start = now
                else:
                    running[fd] = attempt, place, events
    finally:
        for attempt, _, _ in running.values():
            attempt.close()
    errors = [error for error in failures.values() if error is not None] or [OSError("the host has no address")]
    # A certificate that is not accepted ends all tries: only where nothing else was wrong anywhere.
    raise next((error for error in errors if not isinstance(error, ssl.SSLError)), errors[-1])


def _ready(running: dict[int, tuple[Attempt, int, int]], seconds: float) -> list[int]:
    """The file descriptors at which something happened within this time."""
    poll = select.poll()
    for fd, (_, _, events) in running.items():
        poll.register(fd, events)
    return [fd for fd, _ in poll.poll(max(1, int(seconds * 1000)))]
