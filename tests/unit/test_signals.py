"""Signals: one timer for all who wait equally long, and each is let go at its own time."""

from __future__ import annotations

import time
from collections.abc import Callable

import gevent
from gevent import get_hub

from lchook.transport.signals import Signal

SECONDS = 0.1
# Machines that others use, too, are late.
LATE_SECONDS = 0.09


def in_the_loop(function: Callable[[], object]) -> None:
    get_hub().loop.run_callback(function)


def waited(signal: Signal) -> tuple[bool, float]:
    started = time.monotonic()
    return signal.wait(SECONDS), time.monotonic() - started


def test_who_waits_goes_on_when_it_is_set() -> None:
    signal = Signal()
    waiting = gevent.spawn(waited, signal)
    gevent.sleep(0.01)
    in_the_loop(signal.set)
    is_set, seconds = waiting.get(timeout=5)
    assert is_set
    assert seconds < SECONDS


def test_what_is_set_already_is_not_waited_for() -> None:
    signal = Signal()
    in_the_loop(signal.set)
    gevent.sleep(0)
    assert waited(signal)[0]


def test_each_is_let_go_at_its_own_time() -> None:
    waiting = []
    for _ in range(4):
        waiting.append(gevent.spawn(waited, Signal()))
        gevent.sleep(SECONDS / 5)
    for is_set, seconds in (each.get(timeout=5) for each in waiting):
        assert not is_set
        assert SECONDS <= seconds < SECONDS + LATE_SECONDS


def test_who_waits_again_at_once_holds_up_nobody() -> None:
    """The timer was then set for the newest in place of the oldest."""

    def waits_again() -> None:
        for _ in range(3):
            Signal().wait(SECONDS)

    again = gevent.spawn(waits_again)
    gevent.sleep(SECONDS / 10)
    is_set, seconds = gevent.spawn(waited, Signal()).get(timeout=5)
    assert not is_set
    assert seconds < SECONDS + LATE_SECONDS
    again.get(timeout=5)


def test_what_is_set_too_late_or_for_a_greenlet_that_is_gone_disturbs_nobody() -> None:
    late, gone = Signal(), Signal()
    assert gevent.spawn(waited, late).get(timeout=5)[0] is False
    waiting = gevent.spawn(waited, gone)
    gevent.sleep(0.01)
    waiting.kill()
    for signal in (late, gone):
        in_the_loop(signal.set)
    assert gevent.spawn(waited, Signal()).get(timeout=5)[0] is False
