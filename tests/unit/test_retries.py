"""retries.py: when there is a second try, how long after, and when there is none. Real posts: tests/app, tests/chaos."""

from __future__ import annotations

import itertools
import json
import threading
import time
from email.utils import formatdate
from typing import Any

import pytest

from lchook.core.tokens import Tokens
from lchook.dms.client import DmsAnswer, DmsClient, DmsError
from lchook.flows.retries import RetryingDms
from lchook.sandbox.dms import SandboxDms
from tests.support.jwts import ISSUER, SECRET, read

OK = DmsAnswer(200, None, "")
NOT_CONNECTED = DmsError("no connection to DMS", possibly_delivered=False)
BROKEN = DmsError("the connection to DMS broke", possibly_delivered=True)


class Dms:
    """Answers one thing after the other, and then the last again and again."""

    def __init__(self, *answers: DmsAnswer | DmsError) -> None:
        self._answers = list(answers)
        self.tries = 0

    def post(self, body: bytes) -> DmsAnswer:
        answer = self._answers[min(self.tries, len(self._answers) - 1)]
        self.tries += 1
        if isinstance(answer, DmsError):
            raise answer
        return answer


class Waits(RetryingDms):
    """Notes how long it would wait, and does not."""

    def __init__(self, dms: Any, *, budget_seconds: float = 30.0) -> None:
        super().__init__(dms, budget_seconds=budget_seconds)
        self.waited: list[float] = []

    def _sleep(self, seconds: float) -> None:
        self.waited.append(seconds)


@pytest.mark.parametrize(
    "first",
    [*(DmsAnswer(status, None, "") for status in (429, 502, 503, 504)), NOT_CONNECTED],
    ids=lambda each: str(each)[:30],
)
def test_what_dms_has_surely_not_taken_is_tried_again(first: DmsAnswer | DmsError) -> None:
    dms = Dms(first, OK)
    retrying = Waits(dms)

    assert retrying.post(b"{}") == OK
    assert dms.tries == 2
    assert retrying.retries == 1


@pytest.mark.parametrize("status", [200, 201, 302, 400, 401, 404, 413, 500])
def test_other_answers_are_the_outcome(status: int) -> None:
    dms = Dms(DmsAnswer(status, "1", ""))

    assert Waits(dms).post(b"{}").status == status
    assert dms.tries == 1


def test_what_was_possibly_delivered_is_not_tried_again() -> None:
    dms = Dms(BROKEN, OK)
    with pytest.raises(DmsError, match="broke"):
        Waits(dms).post(b"{}")
    assert dms.tries == 1


def test_waits_grow_and_are_not_all_alike() -> None:
    waits = []
    for _ in range(5):
        retrying = Waits(Dms(*[NOT_CONNECTED] * 6, OK))
        retrying.post(b"{}")
        waits.append(retrying.waited)

    assert len({wait[0] for wait in waits}) > 1
    assert all(0.5 <= wait[0] <= 1.0 for wait in waits)
    assert all(later > earlier for wait in waits for earlier, later in itertools.pairwise(wait[:5]))
    assert max(max(wait) for wait in waits) <= 8.5


def test_retry_after_in_seconds_is_honoured() -> None:
    retrying = Waits(Dms(DmsAnswer(429, "7", ""), OK))
    retrying.post(b"{}")
    assert retrying.waited == [7.0]


def test_retry_after_as_a_date_is_honoured() -> None:
    retrying = Waits(Dms(DmsAnswer(503, formatdate(time.time() + 7, usegmt=True), ""), OK))
    retrying.post(b"{}")
    assert 5 < retrying.waited[0] <= 7


@pytest.mark.parametrize("named", ["0", "-3", "soon", "", "9" * 400, "Thu, 01 Jan 1970 00:00:00 GMT"])
def test_a_retry_after_that_says_at_once_or_nothing_is_no_reason_to_hammer(named: str) -> None:
    retrying = Waits(Dms(DmsAnswer(429, named, ""), OK), budget_seconds=30)
    retrying.post(b"{}")
    assert all(wait >= 0.5 for wait in retrying.waited)


def test_a_wait_that_would_end_after_the_budget_is_not_begun() -> None:
    dms = Dms(DmsAnswer(429, "31", "come later"))
    assert Waits(dms, budget_seconds=30).post(b"{}").status == 429
    assert dms.tries == 1


def test_the_budget_ends_it_and_the_last_failure_is_told() -> None:
    dms = Dms(NOT_CONNECTED)
    started = time.monotonic()
    with pytest.raises(DmsError, match="no connection"):
        RetryingDms(dms, budget_seconds=2.0).post(b"{}")  # type: ignore[arg-type]

    assert dms.tries >= 2
    assert time.monotonic() - started < 2.5


def test_without_a_budget_there_is_one_try() -> None:
    dms = Dms(NOT_CONNECTED)
    with pytest.raises(DmsError):
        RetryingDms(dms, budget_seconds=0).post(b"{}")  # type: ignore[arg-type]
    assert dms.tries == 1


def test_stopping_wakes_who_waits_and_there_are_no_further_tries() -> None:
    dms = Dms(DmsAnswer(503, "20", ""))
    retrying = RetryingDms(dms, budget_seconds=30)  # type: ignore[arg-type]
    threading.Timer(0.2, retrying.stop).start()
    started = time.monotonic()

    assert retrying.post(b"{}").status == 503
    assert time.monotonic() - started < 5
    assert dms.tries <= 2


def test_each_try_has_a_fresh_token_and_the_same_message_id(dms: SandboxDms) -> None:
    now = [time.time()]
    client = DmsClient(
        url=dms.url,
        tokens=Tokens(issuer=ISSUER, secret=SECRET, clock=lambda: now[0]),
        token_ttl_seconds=30,
        connect_timeout_seconds=1,
        read_timeout_seconds=1,
    )
    dms.faults.set(dms="503", times=2)

    class OneSecondLater(Waits):
        def _sleep(self, seconds: float) -> None:
            now[0] += 1

    body = {"type": "text", "customer_id": "c", "message_id": 17, "text": ["Hi"]}
    try:
        assert OneSecondLater(client).post(json.dumps(body).encode()).status == 200
    finally:
        client.close()
    tokens = [read(post.headers["Authorization"].removeprefix("Bearer "))[1] for post in dms.received]
    assert [token["iat"] - tokens[0]["iat"] for token in tokens] == [0, 1, 2]
    assert [post.body for post in dms.received] == [body] * 3
