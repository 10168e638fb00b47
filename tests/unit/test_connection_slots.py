"""The slots for connections, with real greenlets."""

from __future__ import annotations

import gevent
import pytest
from gevent.event import Event

from lchook.transport.connection_slots import ConnectionSlots


def test_a_slot_that_is_retained_stays_taken_when_its_greenlet_ends_and_until_it_is_released() -> None:
    slots = ConnectionSlots(2)
    handed_over, waiting = Event(), Event()

    def handler(retains: bool) -> None:
        if retains:
            slots.retain(gevent.getcurrent())
        handed_over.set()
        waiting.wait()

    slots.spawn(handler, True)
    handed_over.wait()
    assert slots.free_count() == 1
    waiting.set()
    gevent.sleep(0.01)
    assert (len(slots), slots.free_count(), slots.full()) == (0, 1, False)

    slots.spawn(handler, False).join()
    assert slots.free_count() == 1
    slots.release()
    assert slots.free_count() == 2


def test_with_all_slots_taken_the_next_one_waits_for_one_that_is_released() -> None:
    slots = ConnectionSlots(1)
    slots.spawn(lambda: slots.retain(gevent.getcurrent())).join()
    assert slots.full()
    assert slots.wait_available(timeout=0.01) == 0

    slots.release()
    assert slots.wait_available(timeout=0.01) == 1
    assert not slots.full()


def test_a_slot_may_be_released_before_its_greenlet_ends() -> None:
    slots = ConnectionSlots(1)

    def handler() -> None:
        slots.retain(gevent.getcurrent())
        slots.release()

    slots.spawn(handler).join()

    assert slots.free_count() == 1


@pytest.mark.parametrize("size", [1, 3])
def test_slots_do_not_get_lost(size: int) -> None:
    slots = ConnectionSlots(size)
    for _ in range(10):
        slots.spawn(lambda: slots.retain(gevent.getcurrent())).join()
        slots.release()
        slots.spawn(lambda: None).join()
    assert slots.free_count() == size
