"""to_dms.py: a queue per customer, with a DMS that answers when the test says so. Real posts: tests/app."""

from __future__ import annotations

import json
import queue
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lchook.core.messages import dms_from_client
from lchook.dms.client import DmsAnswer
from lchook.flows.to_dms import Outcome, ToDms
from lchook.store import Arrival, Bell, Store, StoreError
from lchook.store.from_url import store_from_url
from lchook.store.redis import RedisStore
from lchook.store.sqlite import SqliteStore
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until
from tests.unit.conftest import start_thread


class Dms:
    """Stands in for DmsClient: tells what is being posted, and answers when told to."""

    def __init__(self) -> None:
        self.posting: list[tuple[str, int]] = []
        self._answers: dict[str, queue.Queue[DmsAnswer | Exception]] = {}

    def post(self, body: bytes) -> DmsAnswer:
        message = json.loads(body)
        self.posting.append((message["customer_id"], message["message_id"]))
        answer = self._queue(message["customer_id"]).get(timeout=10)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def answer(self, customer_id: str, answer: DmsAnswer | Exception | None = None) -> None:
        self._queue(customer_id).put(answer or DmsAnswer(200, None, ""))

    def _queue(self, customer_id: str) -> queue.Queue[DmsAnswer | Exception]:
        return self._answers.setdefault(customer_id, queue.Queue())


class Flow:
    """A ToDms with that DMS, and the outcomes it told."""

    def __init__(
        self, *, max_queue_length: int = 100, store: Store | None = None, dms: Dms | None = None, patience_seconds: float = 5
    ) -> None:
        self.dms = dms or Dms()
        self.outcomes: dict[int, Outcome] = {}
        self.to_dms = ToDms(
            self.dms,  # type: ignore[arg-type]
            store or store_from_url("memory:", folder=Path(), ttl_seconds=60, size=10),
            start_task=start_thread,
            max_queue_length=max_queue_length,
            store_patience_seconds=patience_seconds,
        )

    def submit(self, customer_id: str, number: int, *, then: Exception | None = None) -> bool:
        def done(outcome: Outcome) -> None:
            self.outcomes[number] = outcome
            if then:
                raise then

        message = {"type": "text", "customer_id": customer_id, "message_id": number, "text": ["Hi"]}
        return self.to_dms.submit(dms_from_client(message, max_bytes=1000, resolve_customer=str), done)

    def wait_for(self, *numbers: int) -> list[str]:
        wait_until(lambda: self.outcomes.keys() >= set(numbers), lambda: f"{numbers} of {self.outcomes}")
        return [self.outcomes[number].status for number in numbers]


def test_a_customers_next_message_is_posted_when_the_one_before_is_done() -> None:
    flow = Flow()
    for number in (1, 2, 3):
        flow.submit("a", number)

    for number in (1, 2, 3):
        wait_until(lambda: flow.dms.posting, "a post")
        assert flow.dms.posting == [("a", each) for each in range(1, number + 1)]
        assert number not in flow.outcomes
        flow.dms.answer("a")
        flow.wait_for(number)
        if number < 3:
            wait_until(lambda before=number: len(flow.dms.posting) > before, "the next post")


def test_customers_do_not_wait_for_each_other() -> None:
    flow = Flow()
    flow.submit("hanging", 1)
    flow.submit("", 2)
    flow.submit("other", 3)
    flow.dms.answer("other")
    flow.dms.answer("")

    assert flow.wait_for(2, 3) == ["sent", "sent"]
    assert 1 not in flow.outcomes
    flow.dms.answer("hanging")
    flow.wait_for(1)


def test_more_than_may_wait_is_rejected_in_words_and_the_rest_goes_on() -> None:
    flow = Flow(max_queue_length=2)
    for number in (1, 2, 3):
        flow.submit("a", number)

    assert flow.outcomes[3].status == "rejected"
    assert "more than 2 messages are waiting" in (flow.outcomes[3].error or "")
    flow.submit("b", 4)
    for customer_id in ("a", "a", "b"):
        flow.dms.answer(customer_id)
    assert flow.wait_for(1, 2, 4) == ["sent"] * 3
    flow.submit("a", 5)
    flow.dms.answer("a")
    assert flow.wait_for(5) == ["sent"]


def test_an_error_that_nobody_thought_of_fails_one_message_and_not_those_behind_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    flow = Flow()
    flow.submit("a", 1, then=RuntimeError("the socket is gone"))
    flow.submit("a", 2)
    flow.submit("a", 3)
    flow.dms.answer("a")
    flow.dms.answer("a", ZeroDivisionError())
    flow.dms.answer("a")

    assert flow.wait_for(1, 2, 3) == ["sent", "failed", "sent"]
    assert "the socket is gone" in caplog.text
    assert "ZeroDivisionError" in caplog.text


# Repeats


def test_a_repeat_of_a_message_under_way_gets_its_outcome_and_is_not_posted_again() -> None:
    flow, outcomes = Flow(), []
    assert flow.submit("a", 1)
    message = dms_from_client(
        {"type": "text", "customer_id": "a", "message_id": 1, "text": ["Hi"]}, max_bytes=1000, resolve_customer=str
    )
    assert not flow.to_dms.submit(message, outcomes.append)
    assert not outcomes
    flow.dms.answer("a")
    flow.wait_for(1)

    wait_until(lambda: [outcome.status for outcome in outcomes] == ["sent"], "the repeat's outcome")
    assert flow.dms.posting == [("a", 1)]


@pytest.mark.parametrize(
    ("answer", "status"), [(DmsAnswer(200, None, ""), "sent"), (DmsAnswer(400, None, ""), "failed")], ids=["sent", "failed"]
)
def test_a_repeat_of_a_message_that_is_done_gets_the_first_ones_outcome(answer: DmsAnswer, status: str) -> None:
    flow = Flow()
    flow.submit("a", 1)
    flow.dms.answer("a", answer)
    flow.wait_for(1)
    first = flow.outcomes.pop(1)
    assert not flow.submit("a", 1)

    assert flow.wait_for(1) == [status]
    assert flow.outcomes[1] == first
    assert flow.dms.posting == [("a", 1)]


def test_the_same_message_id_of_another_customer_or_type_is_another_message() -> None:
    flow = Flow()
    flow.submit("a", 1)
    flow.submit("b", 1)
    end = {"type": "customer_end_session", "customer_id": "a", "message_id": 1}
    assert flow.to_dms.submit(dms_from_client(end, max_bytes=1000, resolve_customer=str), lambda outcome: None)
    text = {"type": "text", "customer_id": "a", "message_id": "1", "text": ["a number is not its text"]}
    assert flow.to_dms.submit(dms_from_client(text, max_bytes=1000, resolve_customer=str), lambda outcome: None)
    for customer_id in "aaab":
        flow.dms.answer(customer_id)
    wait_until(lambda: len(flow.dms.posting) == 4, "four posts")


# Stopping


def test_while_it_stops_new_messages_are_rejected_in_words_and_those_under_way_are_finished() -> None:
    flow = Flow()
    flow.dms.stop = lambda: None  # type: ignore[attr-defined]
    flow.submit("a", 1)
    flow.submit("a", 2)
    flow.to_dms.stop()
    flow.submit("a", 3)

    assert flow.outcomes[3].status == "rejected"
    assert "connect again and repeat" in (flow.outcomes[3].error or "")
    assert flow.to_dms.under_way() == 2
    flow.dms.answer("a")
    flow.dms.answer("a")
    assert flow.wait_for(1, 2) == ["sent", "sent"]
    wait_until(lambda: flow.to_dms.under_way() == 0, "nothing under way")


# Where the store fails


class FailingStore(SqliteStore):
    """Fails for the methods named, before or after the work was done."""

    def __init__(self) -> None:
        super().__init__(None, ttl_seconds=60, size=10)
        self.open(Bell.deaf(), start_thread)
        self.failing: set[str] = set()
        self.does_it_all_the_same = False
        # Tickets that got their place.
        self.placed: list[str] = []

    def arrive(self, customer_id: str, ticket: str, key: str | None, **options: Any) -> Arrival:
        if "arrive" not in self.failing or self.does_it_all_the_same:
            arrival = super().arrive(customer_id, ticket, key, **options)
        if "arrive" in self.failing:
            raise StoreError("it is away")
        self.placed.append(ticket)
        return arrival

    def finish(self, customer_id: str, ticket: str, key: str | None, outcome: str | None) -> None:
        if "finish" in self.failing:
            raise StoreError("it is away")
        super().finish(customer_id, ticket, key, outcome)


@pytest.mark.parametrize("does_it", [False, True], ids=["not done", "done, but its answer is lost"])
def test_messages_wait_for_a_store_that_fails_for_a_while_and_keep_their_order(does_it: bool) -> None:
    store = FailingStore()
    store.failing, store.does_it_all_the_same = {"arrive"}, does_it
    flow = Flow(store=store)
    flow.submit("a", 1)
    store.failing = set()
    flow.submit("a", 2)
    for _ in range(2):
        flow.dms.answer("a")

    assert flow.wait_for(1, 2) == ["sent", "sent"]
    assert flow.dms.posting == [("a", 1), ("a", 2)]
    # For other instances, too.
    assert store.placed == ["1", "2"]


def test_a_store_that_fails_for_too_long_fails_the_messages_in_words_and_they_may_come_again() -> None:
    store = FailingStore()
    store.failing, store.does_it_all_the_same = {"arrive", "finish"}, True
    flow = Flow(store=store, patience_seconds=0.1)
    for number in (1, 2):
        flow.submit("a", number)
    assert flow.wait_for(1, 2) == ["failed", "failed"]
    assert "storage failed" in (flow.outcomes[1].error or "")
    assert not flow.dms.posting

    store.failing = set()
    flow.to_dms.tick()
    flow.outcomes.clear()
    flow.submit("a", 1)
    flow.dms.answer("a")
    assert flow.wait_for(1) == ["sent"]


def test_an_outcome_that_the_store_could_not_be_told_is_told_later() -> None:
    store = FailingStore()
    store.failing = {"finish"}
    flow = Flow(store=store)
    flow.submit("a", 1)
    flow.dms.answer("a")
    assert flow.wait_for(1) == ["sent"]
    flow.to_dms.tick()
    store.failing = set()
    flow.to_dms.tick()
    flow.outcomes.clear()
    flow.submit("a", 1)

    assert flow.wait_for(1) == ["sent"]
    assert flow.dms.posting == [("a", 1)]


# Several instances


class Instances:
    """Some instances on one Redis and one DMS."""

    def __init__(self, create_redis: Callable[..., RedisStore], server: RedisServer, prefix: str) -> None:
        self.dms = Dms()
        self.flows: list[Flow] = []
        self._server = server
        self._prefix = prefix
        for _ in range(2):
            store = create_redis(bell=Bell.deaf())
            self.flows.append(Flow(store=store, dms=self.dms))

    def dies(self, flow: Flow, *, places_too: bool = False) -> None:
        """Of the first instance, others see no more sign of life, and some seconds later its places are given up."""
        store: Any = flow.to_dms._store
        store._closed = True
        with self._server.client() as client:
            # So that nothing the test's threads still do brings it back.
            client.set(f"{self._prefix}ended:{store._instance}", "")
            client.delete(f"{self._prefix}alive:{store._instance}")
            if places_too:
                client.delete(f"{self._prefix}line-of:{store._instance}")


@pytest.fixture
def instances(create_redis: Callable[..., RedisStore], redis_server: RedisServer, redis_prefix: str) -> Instances:
    return Instances(create_redis, redis_server, redis_prefix)


def test_a_customers_messages_are_posted_in_the_order_in_which_they_came_in_at_any_instance(instances: Instances) -> None:
    first, second = instances.flows
    for number in range(10):
        instances.flows[number % 2].submit("a", number)
        instances.dms.answer("a")

    first.wait_for(*range(0, 10, 2))
    second.wait_for(*range(1, 10, 2))
    assert [number for _, number in instances.dms.posting] == list(range(10))


def test_a_repeat_at_another_instance_gets_the_first_ones_outcome(instances: Instances) -> None:
    first, second = instances.flows
    first.submit("a", 1)
    wait_until(lambda: instances.dms.posting, "the post")
    second.submit("a", 1)
    second.submit("a", 2)
    instances.dms.answer("a")
    instances.dms.answer("a")

    assert second.wait_for(1, 2) == ["sent", "sent"]
    assert instances.dms.posting == [("a", 1), ("a", 2)]


def test_repeats_of_what_waited_in_an_instance_that_died_are_posted_in_order_and_what_it_posted_is_lost(
    instances: Instances,
) -> None:
    dead, living = instances.flows
    for number in (1, 2, 3):
        dead.submit("a", number)
    wait_until(lambda: instances.dms.posting, "the post")
    # The client sends something else first, and then repeats what it has no outcome of.
    for number in (4, 1, 2, 3):
        living.submit("a", number)
    instances.dies(dead)
    assert living.wait_for(1) == ["failed"]
    assert "stopped meanwhile" in (living.outcomes[1].error or "")
    instances.dies(dead, places_too=True)
    for _ in range(3):
        instances.dms.answer("a")
    # One of the answers is for the post of the dead instance, if its thread still waits.
    instances.dms.answer("a")

    assert living.wait_for(2, 3, 4) == ["sent"] * 3
    assert [number for _, number in instances.dms.posting] == [1, 2, 3, 4]


def test_instances_that_wait_for_each_others_messages_do_not_wait_for_ever(instances: Instances) -> None:
    first, second = instances.flows
    first.submit("a", 0)
    wait_until(lambda: instances.dms.posting, "the post")
    # Each has one message first and the other's as a repeat.
    first.submit("a", 1)
    second.submit("a", 2)
    first.submit("a", 2)
    second.submit("a", 1)
    for _ in range(3):
        instances.dms.answer("a")

    assert first.wait_for(0, 1, 2) == ["sent"] * 3
    assert second.wait_for(1, 2) == ["sent"] * 2
    assert [number for _, number in instances.dms.posting] == [0, 1, 2]
