"""to_dms.py: a queue per customer, with a DMS that answers when the test says so. Real posts: tests/app."""

from __future__ import annotations

import json
import queue
import threading
from pathlib import Path
from typing import Any

import pytest

from lchook.dms import DmsAnswer
from lchook.messages import dms_from_client
from lchook.store.from_url import store_from_url
from lchook.to_dms import Outcome, ToDms
from tests.support.waiting import wait_until


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


def start_thread(target: Any, *args: Any) -> threading.Thread:
    thread = threading.Thread(target=target, args=args, daemon=True)
    thread.start()
    return thread


class Flow:
    """A ToDms with that DMS, and the outcomes it told."""

    def __init__(self, *, max_queue_length: int = 100) -> None:
        self.dms = Dms()
        self.outcomes: dict[int, Outcome] = {}
        store = store_from_url("memory:", folder=Path(), ttl_seconds=60, size=10)
        self._to_dms = ToDms(
            self.dms,  # type: ignore[arg-type]
            store,
            start_task=start_thread,
            max_queue_length=max_queue_length,
        )

    def submit(self, customer_id: str, number: int, *, then: Exception | None = None) -> None:
        def done(outcome: Outcome) -> None:
            self.outcomes[number] = outcome
            if then:
                raise then

        message = {"type": "text", "customer_id": customer_id, "message_id": number, "text": ["Hi"]}
        self._to_dms.submit(dms_from_client(message, max_bytes=1000, speaker=str), done)

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
