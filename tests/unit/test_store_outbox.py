"""The outbox of all stores: SQLite in memory and in a file, and Redis. With two instances where the store can have them."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lchook.core.outbox_effects import Queued, Submission
from lchook.core.outcomes import LOST_OUTCOME, UNKNOWN_OUTCOME, Outcome
from lchook.store import KEEP_STATUS_SECONDS, REMEMBER_SECONDS, REMEMBER_SENT_SECONDS, Store, StoreListener, Taken
from lchook.store.redis import RedisStore
from lchook.store.sqlite import SqliteStore
from tests.support.redis_server import RedisServer
from tests.unit.conftest import Clock, start_thread

_tickets = itertools.count(1)
SENT = Outcome("sent", dms_status=200)
REFUSED = Outcome("failed", dms_status=400, error="DMS answered 400")


@dataclass
class Instances:
    """Stores on the same data."""

    kind: str
    create: Callable[..., Store]
    # The process ends, however it does.
    kill: Callable[[Store], None]
    # Time goes on, for what is remembered.
    later: Callable[[float], None]


@pytest.fixture(params=["memory", "file", "redis"])
def instances(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    clock: Clock,
    redis_server: RedisServer,
    redis_prefix: str,
    closed_redis_stores: list[RedisStore],
) -> Iterator[Instances]:
    made: list[Any] = []

    def create(**bounds: int) -> Store:
        if request.param == "redis":
            made.append(RedisStore(redis_server.url, ttl_seconds=60, size=10, prefix=redis_prefix, **bounds))
        else:
            path = tmp_path / "lchook.sqlite3" if request.param == "file" else None
            made.append(SqliteStore(path, ttl_seconds=60, size=10, clock=clock, **bounds))
            made[-1].open(StoreListener.null(), start_thread)
        store: Store = made[-1]
        return store

    def kill(store: Any) -> None:
        if request.param == "file":
            os.close(store._processes._lock)
            store._processes._lock = None
            return
        with redis_server.client() as client:
            client.set(f"{redis_prefix}ended:{store._instance}", "")
            client.delete(f"{redis_prefix}alive:{store._instance}")

    def later(seconds: float) -> None:
        if request.param != "redis":
            clock.now += seconds
            return
        with redis_server.client() as client:
            for key in client.scan_iter(f"{redis_prefix}*"):
                left = client.ttl(key)
                if left > 0 and ("to_dms" in str(key) or "status" in str(key)):
                    client.expire(key, max(0, int(left - seconds)))

    yield Instances(request.param, create, kill, later)
    for store in made:
        store.close()
    closed_redis_stores += [store for store in made if isinstance(store, RedisStore)]


@pytest.fixture
def store(instances: Instances) -> Store:
    return instances.create()


@pytest.fixture
def two(instances: Instances) -> tuple[Store, Store]:
    return instances.create(), instances.create()


# Memory is one process's.
shared_stores = pytest.mark.parametrize("instances", ["file", "redis"], indirect=True)


def message(number: int, key: str = "") -> Submission:
    return Submission(key or f"key {number}", str(next(_tickets)), number, f'{{"text":["Hi {number}"]}}')


def enqueue(store: Store, *numbers: int, take: bool = False, customer_id: str = "c") -> list[str]:
    return [answer.state for answer in store.enqueue(customer_id, [message(n) for n in numbers], take=take).answers]


def complete(store: Store, queued: Queued | None, outcome: Outcome = SENT, **options: Any) -> Queued | None:
    assert queued is not None
    usual = {"take": True, "tell_later": False, "remember_seconds": REMEMBER_SENT_SECONDS, **options}
    return store.complete("c", queued, outcome, **usual).first


def is_nothing(taken: Taken) -> bool:
    return taken.first is None and not taken.unknown


def posted(store: Store) -> list[Any]:
    """Take and complete all that waits."""
    numbers, first = [], store.take("c").first
    while first is not None:
        numbers.append(first.message_id)
        first = complete(store, first)
    return numbers


def test_messages_are_handed_out_one_by_one_in_their_order_and_as_they_were(store: Store) -> None:
    first = store.enqueue("c", [message(1)], take=True).taken.first
    assert enqueue(store, 2, 3) == ["queued", "queued"]
    assert first is not None
    assert (first.message_id, first.key, first.body, first.type) == (1, "key 1", '{"text":["Hi 1"]}', "text")
    second = complete(store, first)
    assert second is not None
    assert (second.message_id, second.body) == (2, '{"text":["Hi 2"]}')
    assert first.number < second.number
    assert complete(store, second, take=False) is None
    assert posted(store) == [3]
    assert is_nothing(store.take("c"))


@pytest.mark.parametrize("message_id", [None, 1, 1.5, "ümläut \" ' \\ 🙂", 1_700_000_000_000])
def test_ids_and_customers_come_back_as_they_were(store: Store, message_id: Any) -> None:
    customer_id = "ü 'quote' \"double\" %s \n 🙂"
    body = json.dumps({"text": ["🙂 \n'; DROP TABLE outbox --"]})
    submission = Submission("key", "1", message_id, body, "customer_end_session")
    first = store.enqueue(customer_id, [submission], take=True).taken.first
    again = store.take(customer_id).first
    for queued in (first, again):
        assert queued is not None
        assert queued.message_id == message_id
        assert type(queued.message_id) is type(message_id)
        assert (queued.body, queued.type, queued.key) == (body, "customer_end_session", "key")


def test_customers_do_not_wait_for_each_other(store: Store) -> None:
    assert store.enqueue("a", [message(1)], take=True).taken.first is not None
    assert store.enqueue("b", [message(2)], take=True).taken.first is not None


def test_a_repeat_waits_for_the_first_and_then_has_its_outcome(store: Store) -> None:
    first = store.enqueue("c", [message(1)], take=True).taken.first
    assert enqueue(store, 1) == ["pending"]
    assert store.look("c", ["key 1"]) == {}
    complete(store, first, REFUSED, remember_seconds=REMEMBER_SECONDS)
    [answer] = store.enqueue("c", [message(1)], take=True).answers
    assert answer.state == "done"
    assert answer.outcome == REFUSED
    assert answer.outcome.is_repeated
    assert store.look("c", ["key 1"]) == {"key 1": REFUSED}
    assert posted(store) == []


def test_repeats_within_one_call_and_behind_each_other(store: Store) -> None:
    assert enqueue(store, 1, 2, 1) == ["queued", "queued", "pending"]
    assert posted(store) == [1, 2]


def test_what_was_stored_and_not_answered_can_be_asked_again(store: Store) -> None:
    same = message(1)
    store.enqueue("c", [same], take=True)
    again = store.enqueue("c", [same, message(2)], take=True)
    assert [answer.state for answer in again.answers] == ["queued", "queued"]
    assert again.taken.first is not None
    assert again.taken.first.message_id == 1
    next_one = complete(store, again.taken.first)
    # Told again: the second is not taken out for the first.
    told_again = complete(store, again.taken.first)
    assert next_one is not None
    assert told_again is not None
    assert told_again.number == next_one.number
    assert posted(store) == [2]


def test_of_what_is_not_known_the_store_says_that_it_is_lost(store: Store) -> None:
    assert store.look("c", ["never came"]) == {"never came": Outcome("failed", error=LOST_OUTCOME)}


def test_sent_ones_are_remembered_for_a_day_and_others_for_minutes(instances: Instances) -> None:
    store = instances.create()
    for number, seconds in ((1, REMEMBER_SENT_SECONDS), (2, REMEMBER_SECONDS)):
        complete(store, store.enqueue("c", [message(number)], take=True).taken.first, remember_seconds=seconds)
    instances.later(REMEMBER_SECONDS - 5)
    store.expire()
    assert enqueue(store, 1, 2) == ["done", "done"]
    instances.later(10)
    assert enqueue(store, 1, 2) == ["done", "queued"]
    store.expire()
    instances.later(REMEMBER_SENT_SECONDS - REMEMBER_SECONDS)
    store.expire()
    assert enqueue(store, 1) == ["queued"]
    assert enqueue(store, 2) == ["pending"] or instances.kind == "redis", "it waits, however long"


def test_there_are_bounds_for_a_customer_and_for_all(instances: Instances) -> None:
    store = instances.create(max_queue_length=3, outbox_size=5)
    answers = store.enqueue("c", [message(number) for number in range(5)], take=False).answers
    assert [answer.state for answer in answers] == ["queued"] * 3 + ["full"] * 2
    assert answers[-1].outcome == Outcome("rejected", error="more than 3 messages are waiting: slow down")
    assert enqueue(store, 0) == ["pending"], "it is no new one"
    answers = store.enqueue("d", [message(number) for number in range(10, 13)], take=False).answers
    assert [answer.state for answer in answers] == ["queued", "queued", "full"]
    assert "too many messages of all customers" in str(answers[-1].outcome)
    assert posted(store) == [0, 1, 2]
    assert enqueue(store, 3) == ["queued"], "and there is room again"


def test_the_backlog_and_the_age_of_messages_are_told(instances: Instances, clock: Clock) -> None:
    store = instances.create()
    assert store.outbox_backlog() == (0, 0.0)
    enqueue(store, 1, 2)
    clock.now += 0.3
    time.sleep(0.3 if instances.kind == "redis" else 0)
    enqueue(store, 3, customer_id="d")
    backlog = store.outbox_backlog()
    assert backlog.messages == 3
    assert 0.25 < backlog.oldest_seconds < 5
    first = store.take("c").first
    assert first is not None
    assert 0.25 < first.age_seconds < 5
    assert posted(store) == [1, 2]
    assert store.outbox_backlog().messages == 1
    assert store.outbox_backlog().oldest_seconds < 0.25


# Statuses


def test_statuses_are_kept_for_the_customers_next_connection_and_come_with_the_next_message(instances: Instances) -> None:
    store = instances.create()
    assert store.take_statuses("c") == []
    store.add_status("c", "1")
    store.add_status("c", "2")
    store.add_status("d", "3")
    assert store.take_statuses("c") == ["1", "2"]
    assert store.take_statuses("c") == []
    assert list(store.enqueue("d", [message(1)], take=False).statuses) == ["3"]
    assert store.take_statuses("d") == []
    store.add_status("c", "4")
    instances.later(KEEP_STATUS_SECONDS + 1)
    assert store.take_statuses("c") == []


def test_the_outcome_of_a_message_that_nobody_here_waits_for_is_kept_for_the_customer(store: Store) -> None:
    store.enqueue("c", [message(1), message(2)], take=False)
    second = complete(store, store.take("c").first, REFUSED, tell_later=True)
    complete(store, second, REFUSED, tell_later=False)
    [status] = store.take_statuses("c")
    assert json.loads(status) == {"message_id": 1, "status": "failed", "dms_status": 400, "error": "DMS answered 400"}


@shared_stores
def test_unless_its_senders_instance_is_alive(instances: Instances, two: tuple[Store, Store]) -> None:
    senders, other = two
    enqueue(senders, 1, 2)
    first = other.take("c").first
    second = complete(other, first, tell_later=True)
    assert other.take_statuses("c") == []
    instances.kill(senders)
    complete(other, second, tell_later=True)
    assert len(other.take_statuses("c")) == 1


# Two instances


@shared_stores
def test_one_instance_posts_for_a_customer_and_the_others_messages_too(two: tuple[Store, Store]) -> None:
    first, second = two
    queued = first.enqueue("c", [message(1)], take=True).taken.first
    assert second.enqueue("c", [message(2)], take=True).taken.first is None
    assert is_nothing(second.take("c"))
    assert second.orphans(10) == []
    queued = complete(first, queued)
    assert queued is not None
    assert queued.message_id == 2
    assert complete(first, queued) is None
    assert second.look("c", ["key 2"]) == {"key 2": SENT}
    assert second.enqueue("c", [message(3)], take=True).taken.first is not None


@shared_stores
def test_what_one_gives_up_another_goes_on_with(two: tuple[Store, Store]) -> None:
    first, second = two
    queued = first.enqueue("c", [message(1)], take=True).taken.first
    assert queued is not None
    enqueue(first, 2)
    first.postpone("c", queued.number, give_up=False)
    assert is_nothing(second.take("c")), "it is only waiting"
    first.postpone("c", queued.number, give_up=True)
    assert second.orphans(10) == ["c"]
    assert posted(second) == [1, 2]
    assert second.orphans(10) == []


@shared_stores
def test_what_is_stored_while_an_instance_stops_is_found(two: tuple[Store, Store]) -> None:
    first, second = two
    queued = first.enqueue("c", [message(1)], take=True).taken.first
    enqueue(first, 2)
    complete(first, queued, take=False)
    enqueue(first, 3, customer_id="d")
    assert sorted(second.orphans(10)) == ["c", "d"]
    assert posted(second) == [2]


@shared_stores
@pytest.mark.parametrize("is_posted", [True, False], ids=["while it posted", "while it waited"])
def test_what_an_instance_leaves_that_dies(instances: Instances, two: tuple[Store, Store], is_posted: bool) -> None:
    dead, living = two
    queued = dead.enqueue("c", [message(1)], take=True).taken.first
    assert queued is not None
    enqueue(dead, 2, 3)
    if not is_posted:
        dead.postpone("c", queued.number, give_up=False)
    instances.kill(dead)
    assert living.orphans(10) == ["c"]
    taken = living.take("c")
    assert [message.message_id for message in taken.unknown] == ([1] if is_posted else [])
    assert posted(living) == ([2, 3] if is_posted else [1, 2, 3])
    if is_posted:
        unknown = Outcome("failed", error=UNKNOWN_OUTCOME)
        assert living.enqueue("c", [message(1)], take=True).answers == [("done", unknown)]
        [status] = [*living.take_statuses("c")] or ['{"message_id":1,"status":"failed","error":"…"}']
        assert json.loads(status)["message_id"] == 1
    # What comes from it after all changes nothing.
    assert complete(dead, queued, REFUSED) is None
    dead.postpone("c", queued.number, give_up=True)
    assert living.look("c", ["key 1"])["key 1"].status == ("failed" if is_posted else "sent")


@shared_stores
def test_the_unknown_outcome_is_kept_for_the_customer(instances: Instances, two: tuple[Store, Store]) -> None:
    dead, living = two
    dead.enqueue("c", [message(1)], take=True)
    instances.kill(dead)
    living.take("c")
    [status] = living.take_statuses("c")
    assert json.loads(status) == {"message_id": 1, "status": "failed", "error": UNKNOWN_OUTCOME}


@shared_stores
def test_a_message_that_comes_finds_out_that_the_one_who_posted_is_dead(
    instances: Instances, two: tuple[Store, Store]
) -> None:
    dead, living = two
    dead.enqueue("c", [message(1), message(2)], take=True)
    instances.kill(dead)
    enqueued = living.enqueue("c", [message(3)], take=True)
    assert [each.message_id for each in enqueued.taken.unknown] == [1]
    assert enqueued.taken.first is not None
    assert enqueued.taken.first.message_id == 2
    assert posted(living) == [2, 3]


@shared_stores
def test_orphans_are_found_among_thousands_of_waiting_customers_at_a_flat_cost(
    instances: Instances, two: tuple[Store, Store]
) -> None:
    dead, living = two
    for number in range(300):
        living.enqueue(f"c{number}", [message(number)], take=True)
    dead.enqueue("orphan", [message(1000)], take=True)
    instances.kill(dead)
    assert living.orphans(10) == ["orphan"]
    for number in range(20):
        enqueue(living, 2000 + number, customer_id=f"d{number}")
    assert len(living.orphans(10)) >= 10
