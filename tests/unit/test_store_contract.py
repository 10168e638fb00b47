"""What all stores have in common: SQLite in a file and in memory, and Redis."""

from __future__ import annotations

import json
import threading
import time

import pytest

from lchook.core.outbox_effects import Submission
from lchook.store import Removal, Store
from tests.unit.conftest import Clock, CreateStore


def texts(store: Store, customer_id: str = "c", *, after: int = 0, limit: int = 100) -> list[str]:
    return [message.text for message in store.fetch(customer_id, after, limit).messages]


def put(store: Store, *texts_: str, customer_id: str = "c") -> None:
    for text in texts_:
        assert store.put(customer_id, text, None).kept


def test_messages_come_back_in_the_order_in_which_they_were_put(store: Store) -> None:
    put(store, '"a"', '"b"', '"c"')
    put(store, '"for another"', customer_id="other")

    assert texts(store) == ['"a"', '"b"', '"c"']
    assert texts(store, "other") == ['"for another"']
    assert texts(store, "nobody") == []


def test_messages_stay_until_they_are_removed(store: Store) -> None:
    put(store, "1", "2", "3")
    first, second, third = store.fetch("c", 0, 100).messages
    assert first.number < second.number < third.number

    store.remove([Removal("c", [first.number, third.number], last=False)])
    assert texts(store) == ["2"]
    store.remove([Removal("c", [second.number, second.number, 12345], last=True)])
    assert texts(store) == []


def test_messages_are_fetched_from_a_number_on_and_some_at_a_time(store: Store) -> None:
    put(store, "1", "2", "3", "4")
    messages = store.fetch("c", 0, 100).messages

    assert texts(store, after=messages[1].number) == ["3", "4"]
    assert texts(store, limit=3) == ["1", "2", "3"]


def test_a_repeat_is_not_kept_though_the_message_is_gone(store: Store) -> None:
    assert store.put("c", "1", "same").kept
    store.remove([Removal("c", [store.fetch("c", 0, 1).messages[0].number], last=True)])

    assert not store.put("c", "1", "same").kept
    assert store.put("c", "2", "another").kept
    assert texts(store) == ["2"]


def test_a_full_mailbox_loses_its_oldest_messages_and_says_so(create_store: CreateStore) -> None:
    store = create_store(size=3)
    dropped = [store.put("c", str(number), None).dropped for number in range(5)]

    assert dropped == [0, 0, 0, 1, 1]
    assert texts(store) == ["2", "3", "4"]
    assert store.put("other", "1", None).dropped == 0


def test_clearing_empties_one_mailbox_and_counts(store: Store) -> None:
    put(store, "1", "2")
    put(store, "3", customer_id="other")

    assert store.clear("c") == 2
    assert store.clear("c") == 0
    assert texts(store) == []
    assert texts(store, "other") == ["3"]


def test_only_the_messages_that_had_come_in_so_long_ago_are_dropped(store: Store, clock: Clock) -> None:
    put(store, "1", "2")
    clock.now += 0.2
    # Redis has a clock of its own.
    time.sleep(0.2)
    put(store, "3")

    assert store.clear("c", seconds_ago=0.1) == 2
    assert store.clear("c", seconds_ago=60) == 0
    assert texts(store) == ["3"]
    assert store.mailbox_backlog().messages == 1


def test_messages_whose_time_is_over_are_neither_fetched_nor_kept(create_store: CreateStore, clock: Clock) -> None:
    store = create_store(ttl_seconds=0.5)
    put(store, *(str(number) for number in range(8)))
    put(store, "1", customer_id="other")
    clock.now += 0.6
    # Redis has a clock of its own.
    time.sleep(0.6)
    put(store, "young")

    assert texts(store, limit=5) == ["young"]
    assert store.expire() == 9
    assert store.expire() == 0
    assert texts(store) == ["young"]


def test_numbers_grow_even_when_everything_was_removed(store: Store) -> None:
    put(store, "1")
    (before,) = store.fetch("c", 0, 1).messages
    store.clear("c")
    put(store, "2")

    assert texts(store, after=before.number) == ["2"]


def test_texts_and_ids_come_back_as_they_were(store: Store) -> None:
    customer_id = "ümläut 'quote' \"double\" %s ? {} \n 🙂"
    text = json.dumps({"text": ["Grüße 🙂\n'; DROP TABLE letters --"], "colons": "1:2:3"})
    put(store, text, customer_id=customer_id)

    assert texts(store, customer_id) == [text]


def test_many_threads_at_once_lose_and_double_nothing(create_store: CreateStore) -> None:
    store = create_store(size=1000)
    firsts: list[str] = []

    def work(number: int) -> None:
        for n in range(20):
            store.put("c", f"{number}-{n}", f"{number}-{n}")
            # Each is put twice, and each key arrives from all threads.
            store.put("c", f"{number}-{n}", f"{number}-{n}")
            submission = Submission(f"key {n}", f"{number}-{n}", n, "{}")
            if store.enqueue("c", [submission], take=False).answers[0].state == "queued":
                firsts.append(f"key {n}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    kept = texts(store, limit=1000)
    assert sorted(kept) == sorted(f"{number}-{n}" for number in range(5) for n in range(20))
    assert sorted(firsts) == sorted(f"key {n}" for n in range(20))
    for number in range(5):
        of_one = [text for text in kept if text.startswith(f"{number}-")]
        assert of_one == [f"{number}-{n}" for n in range(20)]


@pytest.mark.parametrize("customer_id", ["", "c " * 100])
def test_any_customer_id_has_a_mailbox(store: Store, customer_id: str) -> None:
    put(store, "1", customer_id=customer_id)
    assert texts(store, customer_id) == ["1"]
