"""to_dms.py: a queue per customer, with a DMS that answers when the test says so. Real posts: tests/app, tests/chaos."""

from __future__ import annotations

import json
import os
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from lchook.core.messages import dms_from_client
from lchook.core.outcomes import EXPIRED_OUTCOME, UNKNOWN_OUTCOME, Outcome
from lchook.dms.client import DmsAnswer, DmsError
from lchook.flows.dms_posts import DmsPosts
from lchook.flows.to_dms import ToDms
from lchook.store import Store, StoreError, StoreListener
from lchook.store.redis import RedisStore
from lchook.store.sqlite import SqliteStore
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until
from tests.unit.conftest import start_thread

NOT_TAKEN = DmsAnswer(503, None, "")
REFUSED = DmsAnswer(400, None, "")
ENDED = DmsError("the test has ended", possibly_delivered=True)


class Dms:
    """Stands in for DmsClient: tells what is being posted, and answers when told to."""

    all: ClassVar[list[Dms]] = []

    def __init__(self) -> None:
        self.posting: list[tuple[str, int]] = []
        self._answers: dict[str, queue.Queue[DmsAnswer | Exception]] = {}
        self._has_ended = False
        self.all.append(self)

    def post(self, body: bytes) -> DmsAnswer:
        message = json.loads(body)
        self.posting.append((message["customer_id"], message["message_id"]))
        if self._has_ended:
            raise ENDED
        answer = self._queue(message["customer_id"]).get(timeout=10)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def answer(self, customer_id: str, answer: DmsAnswer | Exception | None = None) -> None:
        self._queue(customer_id).put(answer or DmsAnswer(200, None, ""))

    def end(self) -> None:
        """No post waits any more: no thread of a test outlives it."""
        self._has_ended = True
        for answers in list(self._answers.values()):
            answers.put(ENDED)

    @property
    def numbers(self) -> list[int]:
        return [number for _, number in self.posting]

    def _queue(self, customer_id: str) -> queue.Queue[DmsAnswer | Exception]:
        return self._answers.setdefault(customer_id, queue.Queue())


@pytest.fixture(autouse=True)
def dms_ends() -> Iterator[None]:
    yield
    for dms in Dms.all:
        dms.end()
    Dms.all.clear()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Flow:
    """A ToDms with that DMS, the outcomes it told, and the statuses it sent to those who are here."""

    def __init__(
        self,
        *,
        max_queue_length: int = 100,
        store: Store | None = None,
        dms: Dms | None = None,
        patience_seconds: float = 5,
        ttl_seconds: float = 300,
    ) -> None:
        self.dms = dms or Dms()
        self.clock = Clock()
        self.outcomes: dict[int, Outcome] = {}
        self.statuses: list[dict[str, Any]] = []
        self.here: set[str] = set()
        # Connections that are closed.
        self.gone: set[int] = set()
        self.store = store or memory()
        self.to_dms = ToDms(
            DmsPosts(self.dms),  # type: ignore[arg-type]
            self.store,
            self,
            start_task=start_thread,
            max_queue_length=max_queue_length,
            ttl_seconds=ttl_seconds,
            store_patience_seconds=patience_seconds,
            clock=self.clock,
        )

    def send_status(self, customer_id: str, payload: dict[str, Any]) -> bool:
        if customer_id in self.here:
            self.statuses.append(payload)
        return customer_id in self.here

    def whereabouts(self, customer_id: str) -> tuple[bool, int]:
        return customer_id in self.here, 0

    def submit(self, customer_id: str, number: int, *, then: Exception | None = None, **fields: Any) -> None:
        def done(outcome: Outcome) -> bool:
            self.outcomes[number] = outcome
            if then:
                raise then
            return number not in self.gone

        message = {"type": "text", "customer_id": customer_id, "message_id": number, "text": ["Hi"], **fields}
        self.to_dms.submit(dms_from_client(message, max_bytes=1000, resolve_customer=str), done)

    def wait_for(self, *numbers: int) -> list[str]:
        wait_until(lambda: self.outcomes.keys() >= set(numbers), lambda: f"{numbers} of {self.outcomes}")
        return [self.outcomes[number].status for number in numbers]

    def is_stored(self, customer_id: str) -> bool:
        queue = self.to_dms._queues.get(customer_id)
        return queue is None or not queue.outbox.messages.incoming

    def wait_for_posts(self, count: int) -> None:
        wait_until(lambda: len(self.dms.posting) >= count, lambda: f"{count} posts, not {self.dms.posting}")

    def later(self, seconds: float) -> None:
        self.clock.now += seconds
        self.to_dms.tick()
        self.to_dms.sweep()

    @contextmanager
    def time_goes_on(self, seconds: float = 0.5) -> Iterator[None]:
        """As the ticker does it, but faster."""
        ends = threading.Event()

        def run() -> None:
            while not ends.wait(0.01):
                self.later(seconds)

        thread = start_thread(run)
        try:
            yield
        finally:
            ends.set()
            thread.join(5)


def memory(**bounds: int) -> SqliteStore:
    store = SqliteStore(None, ttl_seconds=60, size=10, **bounds)
    store.open(StoreListener.null(), start_thread)
    return store


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
    flow = Flow(max_queue_length=2, store=memory(max_queue_length=2))
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

    def done(outcome: Outcome) -> bool:
        outcomes.append(outcome)
        return True

    flow.submit("a", 1)
    message = dms_from_client(
        {"type": "text", "customer_id": "a", "message_id": 1, "text": ["Hi"]}, max_bytes=1000, resolve_customer=str
    )
    flow.to_dms.submit(message, done)
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
    flow.submit("a", 1)

    assert flow.wait_for(1) == [status]
    assert flow.outcomes[1].is_repeated
    assert flow.outcomes[1] == first
    assert flow.dms.posting == [("a", 1)]


def test_the_same_message_id_of_another_customer_or_type_is_another_message() -> None:
    flow = Flow()
    flow.submit("a", 1)
    flow.submit("b", 1)
    flow.submit("a", 1, type="customer_end_session")
    flow.submit("a", 1, message_id="1", text=["a number is not its text"])
    for customer_id in "aaab":
        flow.dms.answer(customer_id)
    flow.wait_for_posts(4)


def test_messages_without_an_id_are_never_repeats() -> None:
    flow = Flow()
    for _ in range(2):
        flow.submit("a", 1, type="customer_end_session", message_id=None, text=None)
    flow.dms.answer("a", DmsAnswer(200, None, ""))
    message = {"type": "customer_end_session", "customer_id": "a"}
    parsed = dms_from_client(message, max_bytes=1000, resolve_customer=str)
    assert parsed.key is None


# Stopping


def test_while_it_stops_new_messages_are_rejected_in_words_and_those_under_way_are_finished() -> None:
    flow = Flow()
    flow.submit("a", 1)
    flow.submit("a", 2)
    flow.to_dms.stop()
    flow.submit("a", 3)

    assert flow.outcomes[3].status == "rejected"
    assert "connect again and repeat" in (flow.outcomes[3].error or "")
    assert flow.to_dms.unfinished() == 1
    assert flow.to_dms.pending() == 2
    flow.dms.answer("a")
    flow.dms.answer("a")
    assert flow.wait_for(1, 2) == ["sent", "sent"]
    wait_until(lambda: flow.to_dms.unfinished() == 0, "nothing under way")


def test_where_nobody_can_go_on_what_waits_for_dms_has_its_last_try_at_once() -> None:
    flow = Flow()
    for number in (1, 2):
        flow.submit("a", number)
    flow.dms.answer("a", NOT_TAKEN)
    wait_until(lambda: flow.to_dms.counts["tried_again"], "the first try")
    flow.to_dms.stop()
    flow.dms.answer("a", NOT_TAKEN)
    flow.dms.answer("a", NOT_TAKEN)
    assert flow.wait_for(1, 2) == ["failed", "failed"]
    assert flow.dms.numbers == [1, 1, 2]


def test_a_graceful_stop_finishes_what_is_posted_and_hands_over_what_waits(tmp_path: Path) -> None:
    before, after = (Flow(store=file(tmp_path)) for _ in range(2))
    for number in (1, 2, 3):
        before.submit("a", number)
    before.submit("b", 10)
    before.wait_for_posts(2)
    before.dms.answer("b", NOT_TAKEN)
    wait_until(lambda: before.to_dms.counts["tried_again"], "the first try")
    before.to_dms.stop()
    before.submit("a", 4)
    wait_until(lambda: before.to_dms.unfinished() == 1, "only the post")
    before.dms.answer("a")
    assert before.wait_for(1) == ["sent"]
    wait_until(lambda: before.to_dms.unfinished() == 0, "an end")
    assert before.dms.numbers == [1, 10]
    before.store.close()

    with after.time_goes_on():
        for customer_id in "aaab":
            after.dms.answer(customer_id)
        after.wait_for_posts(4)
        assert [number for customer, number in after.dms.posting if customer == "a"] == [2, 3, 4]
        wait_until(lambda: after.store.outbox_backlog().messages == 0, "all of them")
    # Their senders are gone, and told when they come back.
    statuses = [json.loads(text) for text in after.store.take_statuses("a")]
    assert [(status["message_id"], status["status"]) for status in statuses] == [(number, "sent") for number in (2, 3, 4)]


# Second tries


def test_what_dms_has_surely_not_taken_is_posted_again_and_what_it_may_have_is_not() -> None:
    flow = Flow()
    with flow.time_goes_on():
        for answer in (NOT_TAKEN, DmsError("no connection to DMS", possibly_delivered=False), None):
            flow.dms.answer("a", answer)
        flow.submit("a", 1)
        assert flow.wait_for(1) == ["sent"]
        for number, answer in (
            (2, DmsAnswer(500, None, "")),
            (3, DmsError("timed out", possibly_delivered=True)),
            (4, DmsError("certificate", possibly_delivered=False, permanent=True)),
        ):
            flow.dms.answer("a", answer)
            flow.submit("a", number)
            assert flow.wait_for(number) == ["failed"]
    assert flow.dms.numbers == [1, 1, 1, 2, 3, 4]
    assert flow.outcomes[2].dms_status == 500
    assert flow.outcomes[3].error == "timed out"


@pytest.mark.parametrize("named", ["7", "0", "-3", "soon", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_dms_may_say_how_long_to_wait(named: str) -> None:
    flow = Flow()
    flow.dms.answer("a", DmsAnswer(429, named, ""))
    flow.submit("a", 1)
    wait_until(lambda: flow.to_dms.counts["tried_again"], "the first try")
    flow.later(1.1)
    if named == "7":
        assert flow.dms.numbers == [1]
        flow.later(6)
    flow.wait_for_posts(2)
    flow.dms.answer("a")
    assert flow.wait_for(1) == ["sent"]


def test_a_message_is_given_up_when_it_has_waited_for_too_long_and_so_are_those_behind_it() -> None:
    flow = Flow(ttl_seconds=20)
    with flow.time_goes_on():
        for _ in range(50):
            flow.dms.answer("a", NOT_TAKEN)
        flow.submit("a", 1)
        assert flow.wait_for(1) == ["failed"]
        assert flow.outcomes[1].dms_status == 503
    assert 3 <= len(flow.dms.posting) <= 15


def test_one_that_waited_too_long_behind_others_is_not_posted(caplog: pytest.LogCaptureFixture) -> None:
    flow = Flow(ttl_seconds=20)
    for number in (1, 2):
        flow.submit("a", number)
    flow.clock.now += 15
    flow.submit("a", 3)
    flow.clock.now += 6
    # The store has a clock of its own.
    flow.store._clock = lambda clock=flow.store._clock: clock() + 21  # type: ignore[attr-defined,misc]
    flow.dms.answer("a")
    assert flow.wait_for(1, 2, 3)[:2] == ["sent", "failed"]
    assert flow.outcomes[2].error == EXPIRED_OUTCOME
    assert flow.to_dms.counts["expired"] >= 1
    assert EXPIRED_OUTCOME in caplog.text


def test_with_no_time_to_wait_each_is_tried_once() -> None:
    flow = Flow(ttl_seconds=0)
    for number in (1, 2):
        flow.submit("a", number)
    flow.dms.answer("a", NOT_TAKEN)
    flow.dms.answer("a")
    assert flow.wait_for(1, 2) == ["failed", "sent"]


# Senders who are gone


def test_who_waits_for_long_is_told_once_that_it_is_delayed() -> None:
    flow = Flow()
    flow.here.add("a")
    for number in (1, 2):
        flow.submit("a", number)
    flow.later(4)
    assert flow.statuses == []
    flow.later(2)
    wait_until(lambda: len(flow.statuses) == 2, "both")
    flow.later(2)
    flow.submit("a", 3)
    flow.later(1)
    assert flow.statuses == [{"message_id": number, "status": "delayed"} for number in (1, 2)]


def test_whose_connection_is_gone_is_told_on_another_now_or_at_the_next() -> None:
    flow = Flow()
    flow.gone |= {1, 2, 3}
    flow.here.add("a")
    flow.submit("a", 1)
    flow.dms.answer("a")
    wait_until(lambda: flow.statuses == [{"message_id": 1, "status": "sent", "dms_status": 200}], "the status")
    flow.here.discard("a")
    for number in (2, 3):
        flow.submit("a", number)
        flow.dms.answer("a", REFUSED)
    wait_until(lambda: flow.to_dms.counts["told_later"] == 3, "all of them")
    flow.here.add("a")
    flow.to_dms.deliver_statuses("a")
    refused = {"status": "failed", "dms_status": 400, "error": "DMS answered 400"}
    assert flow.statuses[1:] == [{"message_id": number, **refused} for number in (2, 3)]
    flow.to_dms.deliver_statuses("a")
    assert len(flow.statuses) == 3


def test_and_with_the_next_message() -> None:
    flow = Flow()
    flow.store.add_status("a", '{"message_id":1,"status":"sent"}')
    flow.here.add("a")
    flow.submit("a", 2)
    assert flow.statuses == [{"message_id": 1, "status": "sent"}]


# Where the store fails


class FailingStore(SqliteStore):
    """Fails for the methods named, before or after the work was done."""

    def __init__(self) -> None:
        super().__init__(None, ttl_seconds=60, size=10)
        self.open(StoreListener.null(), start_thread)
        self.failing: set[str] = set()
        self.does_it_all_the_same = False

    def enqueue(self, *args: Any, **options: Any) -> Any:
        return self._or_fail("enqueue", super().enqueue, *args, **options)

    def complete(self, *args: Any, **options: Any) -> Any:
        return self._or_fail("complete", super().complete, *args, **options)

    def take(self, *args: Any, **options: Any) -> Any:
        return self._or_fail("take", super().take, *args, **options)

    def _or_fail(self, name: str, method: Callable[..., Any], *args: Any, **options: Any) -> Any:
        if name not in self.failing:
            return method(*args, **options)
        if self.does_it_all_the_same:
            method(*args, **options)
        raise StoreError("it is away")


@pytest.mark.parametrize("does_it", [False, True], ids=["not done", "done, but its answer is lost"])
def test_messages_wait_for_a_store_that_fails_for_a_while_and_keep_their_order(does_it: bool) -> None:
    store = FailingStore()
    store.failing, store.does_it_all_the_same = {"enqueue", "take"}, does_it
    flow = Flow(store=store)
    flow.submit("a", 1)
    flow.later(0.6)
    store.failing = set()
    flow.submit("a", 2)
    with flow.time_goes_on():
        for _ in range(2):
            flow.dms.answer("a")

        assert flow.wait_for(1, 2) == ["sent", "sent"]
    assert flow.dms.posting == [("a", 1), ("a", 2)]


def test_a_store_that_fails_for_too_long_fails_the_messages_in_words_and_they_may_come_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = FailingStore()
    store.failing = {"enqueue", "take"}
    flow = Flow(store=store, patience_seconds=5)
    with flow.time_goes_on():
        for number in (1, 2):
            flow.submit("a", number)
        assert flow.wait_for(1, 2) == ["failed", "failed"]
        assert "storage failed" in (flow.outcomes[1].error or "")
        assert not flow.dms.posting
        assert caplog.text.count("a message waits for the store") == 1
        assert "not forwarded: storage failed" in caplog.text

        store.failing = set()
        flow.outcomes.clear()
        flow.submit("a", 1)
        flow.dms.answer("a")
        assert flow.wait_for(1) == ["sent"]


@pytest.mark.parametrize("does_it", [False, True], ids=["not done", "done, but its answer is lost"])
def test_an_outcome_that_the_store_could_not_be_told_is_told_later(does_it: bool) -> None:
    store = FailingStore()
    store.failing, store.does_it_all_the_same = {"complete"}, does_it
    flow = Flow(store=store)
    flow.submit("a", 1)
    flow.submit("a", 2)
    flow.dms.answer("a")
    assert flow.wait_for(1) == ["sent"]
    flow.later(1)
    assert flow.dms.numbers == [1], "those behind it wait"
    store.failing = set()
    with flow.time_goes_on():
        flow.dms.answer("a")
        assert flow.wait_for(2) == ["sent"]
    flow.outcomes.clear()
    flow.submit("a", 1)

    assert flow.wait_for(1) == ["sent"]
    assert flow.dms.numbers == [1, 2]


def test_customers_whose_calls_stall_hold_up_nobody_else() -> None:
    """The store stalls for some; time goes on for the others."""
    store, goes_on = FailingStore(), threading.Event()
    usual = store.take

    def take(customer_id: str) -> Any:
        if customer_id == "stalled":
            goes_on.wait(10)
        return usual(customer_id)

    store.take = take  # type: ignore[method-assign]
    flow = Flow(store=store)
    for customer_id in ("stalled", "other"):
        flow.dms.answer(customer_id, NOT_TAKEN)
        flow.submit(customer_id, 1 if customer_id == "other" else 2)
    wait_until(lambda: flow.to_dms.counts["tried_again"] == 2, "first tries")
    for customer_id in ("stalled", "other"):
        flow.dms.answer(customer_id)
    with flow.time_goes_on():
        assert flow.wait_for(1) == ["sent"]
        assert 2 not in flow.outcomes
        goes_on.set()
        assert flow.wait_for(2) == ["sent"]


# What a process leaves that was killed


def file(folder: Path) -> SqliteStore:
    store = SqliteStore(folder / "lchook.sqlite3", ttl_seconds=60, size=10)
    store.open(StoreListener.null(), start_thread)
    return store


def test_after_a_kill_the_next_process_goes_on_and_what_was_being_posted_is_unknown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before, after = Flow(store=file(tmp_path)), Flow(store=file(tmp_path))
    for number in range(1, 5):
        before.submit("a", number)
    before.wait_for_posts(1)
    after.later(2)
    assert after.dms.posting == []
    lock = before.store._processes._lock  # type: ignore[attr-defined]
    os.close(lock)
    before.store._processes._lock = None  # type: ignore[attr-defined]

    after.here.add("a")
    with after.time_goes_on():
        for _ in range(3):
            after.dms.answer("a")
        after.wait_for_posts(3)
        wait_until(lambda: len(after.statuses) == 4, lambda: f"all outcomes, not {after.statuses}")
    assert after.dms.numbers == [2, 3, 4]
    assert after.statuses[0] == {"message_id": 1, "status": "failed", "error": UNKNOWN_OUTCOME}
    assert [status["status"] for status in after.statuses[1:]] == ["sent"] * 3
    assert after.to_dms.counts["unknown"] == 1
    assert after.to_dms.counts["taken_over"] == 1
    assert UNKNOWN_OUTCOME in caplog.text


# Several instances


class Instances:
    """Some instances on one Redis and one DMS."""

    def __init__(self, create_redis: Callable[..., RedisStore], server: RedisServer, prefix: str) -> None:
        self.dms = Dms()
        self._server = server
        self._prefix = prefix
        self.flows = [Flow(store=create_redis(listener=StoreListener.null()), dms=self.dms) for _ in range(2)]

    def dies(self, flow: Flow) -> None:
        """Of this instance, others see no more sign of life."""
        store: Any = flow.store
        store._closed = True
        with self._server.client() as client:
            # So that nothing the test's threads still do brings it back.
            client.set(f"{self._prefix}ended:{store._instance}", "")
            client.delete(f"{self._prefix}alive:{store._instance}")


@pytest.fixture
def instances(create_redis: Callable[..., RedisStore], redis_server: RedisServer, redis_prefix: str) -> Instances:
    return Instances(create_redis, redis_server, redis_prefix)


def test_a_customers_messages_are_posted_in_the_order_in_which_they_came_in_at_any_instance(instances: Instances) -> None:
    first, second = instances.flows
    with first.time_goes_on(), second.time_goes_on():
        for number in range(10):
            flow = instances.flows[number % 2]
            flow.submit("a", number)
            # It is stored by whoever is at the customer's messages already.
            wait_until(lambda flow=flow: flow.is_stored("a"), "it is stored")
            instances.dms.answer("a")

        first.wait_for(*range(0, 10, 2))
        second.wait_for(*range(1, 10, 2))
    assert instances.dms.numbers == list(range(10))


def test_a_repeat_at_another_instance_gets_the_first_ones_outcome(instances: Instances) -> None:
    first, second = instances.flows
    with second.time_goes_on():
        first.submit("a", 1)
        second.submit("a", 1)
        second.submit("a", 2)
        instances.dms.answer("a")
        instances.dms.answer("a")
        assert second.wait_for(1, 2) == ["sent", "sent"]
    assert instances.dms.numbers == [1, 2]


def test_what_waited_in_an_instance_that_died_is_posted_in_order_and_what_it_posted_is_unknown(instances: Instances) -> None:
    dead, living = instances.flows
    for number in (1, 2, 3):
        dead.submit("a", number)
    wait_until(lambda: instances.dms.posting, "the post")
    # The client sends something else first, and then repeats what it has no outcome of.
    for number in (4, 1, 2, 3):
        living.submit("a", number)
    instances.dies(dead)
    with living.time_goes_on():
        assert living.wait_for(1) == ["failed"]
        assert living.outcomes[1].error == UNKNOWN_OUTCOME
        # One of the answers is for the post of the dead instance, if its thread still waits.
        for _ in range(4):
            instances.dms.answer("a")
        assert living.wait_for(2, 3, 4) == ["sent"] * 3
    assert instances.dms.numbers == [1, 2, 3, 4]


def test_instances_that_wait_for_each_others_messages_do_not_wait_for_ever(instances: Instances) -> None:
    first, second = instances.flows
    first.submit("a", 0)
    wait_until(lambda: instances.dms.posting, "the post")
    # Each has one message first and the other's as a repeat.
    first.submit("a", 1)
    second.submit("a", 2)
    first.submit("a", 2)
    second.submit("a", 1)
    with first.time_goes_on(), second.time_goes_on():
        for _ in range(3):
            instances.dms.answer("a")
        assert first.wait_for(0, 1, 2) == ["sent"] * 3
        assert second.wait_for(1, 2) == ["sent"] * 2
    assert instances.dms.numbers == [0, 1, 2]
