"""The places for connections, with real greenlets."""

from __future__ import annotations

import gevent
import pytest
from gevent.event import Event
from lchook.serving.worker import Places


def test_a_place_that_is_kept_stays_taken_when_its_greenlet_ends_and_until_it_is_given_back() -> None:
    places = Places(2)
    handed_over, waiting = Event(), Event()

    def handler(keeps: bool) -> None:
        if keeps:
            places.keep(gevent.getcurrent())
        handed_over.set()
        waiting.wait()

    places.spawn(handler, True)
    handed_over.wait()
    assert places.free_count() == 1
    waiting.set()
    gevent.sleep(0.01)
    assert (len(places), places.free_count(), places.full()) == (0, 1, False)

    places.spawn(handler, False).join()
    assert places.free_count() == 1
    places.give_back()
    assert places.free_count() == 2


def test_with_all_places_taken_the_next_one_waits_for_one_that_is_given_back() -> None:
    places = Places(1)
    places.spawn(lambda: places.keep(gevent.getcurrent())).join()
    assert places.full()
    assert places.wait_available(timeout=0.01) == 0

    places.give_back()
    assert places.wait_available(timeout=0.01) == 1
    assert not places.full()


def test_a_place_may_be_given_back_before_its_greenlet_ends() -> None:
    places = Places(1)

    def handler() -> None:
        places.keep(gevent.getcurrent())
        places.give_back()

    places.spawn(handler).join()

    assert places.free_count() == 1


@pytest.mark.parametrize("size", [1, 3])
def test_places_do_not_get_lost(size: int) -> None:
    places = Places(size)
    for _ in range(10):
        places.spawn(lambda: places.keep(gevent.getcurrent())).join()
        places.give_back()
        places.spawn(lambda: None).join()
    assert places.free_count() == size
