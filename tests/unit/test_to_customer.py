"""to_customer.py: what is sent, on which socket, and when it is done. With real sockets, and with Redis: tests/chaos."""

from __future__ import annotations

import itertools
import json
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from lchook.core.messages import customer_from_dms
from lchook.flows.to_customer import ToCustomer
from lchook.store import FetchResult, PutResult, Removal, StoreError, StoreListener
from lchook.store.sqlite import SqliteStore
from tests.support.waiting import wait_until
from tests.unit.conftest import Clock, start_thread

ACK_TIMEOUT_SECONDS = 10.0
HEARTBEAT_SECONDS = 45.0


class FailingStore(SqliteStore):
    """A store in memory that fails while it is told to, and lets other things happen while messages are fetched."""

    fails = False
    meanwhile: Callable[[], None] | None = None
    fetches = removals = 0

    def _check(self) -> None:
        if self.fails:
            raise StoreError("the disk is full")

    def put(self, customer_id: str, text: str, fingerprint: str | None) -> PutResult:
        self._check()
        return super().put(customer_id, text, fingerprint)

    def fetch(self, customer_id: str, after: int, limit: int) -> FetchResult:
        self._check()
        self.fetches += 1
        fetched = super().fetch(customer_id, after, limit)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return fetched

    def remove(self, removals: Sequence[Removal]) -> None:
        self._check()
        self.removals += 1
        super().remove(removals)


class Flow:
    """A ToCustomer, its clients' sockets, and what was sent on them."""

    def __init__(self, clock: Clock, *, size: int = 1000, ttl_seconds: float = 3600.0) -> None:
        self.clock = clock
        self.store = FailingStore(None, ttl_seconds=ttl_seconds, size=size, clock=clock)
        self.store.open(StoreListener.null(), start_thread)
        # For each open socket: when the latest ping was sent that it has answered.
        self.answered_ping_at: dict[str, float] = {}
        self.sent: list[tuple[str, int]] = []
        # Connections that were asked whether they are alive; and those that answer.
        self.asked: list[str] = []
        self.alive: set[str] = set()
        # What is to be done soon; where it is None, that is done at once.
        self.soon: list[Callable[[], None]] | None = None
        self._acks: dict[tuple[str, int], Callable[..., None]] = {}
        self._webhooks = 0
        self.flow = ToCustomer(
            self.store,
            self,
            ack_timeout_seconds=ACK_TIMEOUT_SECONDS,
            heartbeat_seconds=HEARTBEAT_SECONDS,
            soon=self._soon,
            clock=clock,
        )

    def is_older(self, connection: str, other: str) -> bool:
        sockets = list(self.answered_ping_at)
        return connection in sockets and other in sockets and sockets.index(connection) < sockets.index(other)

    def _soon(self, task: Callable[[], None]) -> None:
        if self.soon is None:
            task()
        else:
            self.soon.append(task)

    def do_what_was_to_be_done_soon(self) -> None:
        tasks, self.soon = self.soon or [], []
        for task in tasks:
            task()

    def emit(self, connection: str, payload: str, acknowledged: Callable[..., None]) -> None:
        sid, message = connection, json.loads(payload)
        if sid in self.answered_ping_at:
            self.sent.append((sid, message.get("n", message["type"])))
            self._acks[self.sent[-1]] = acknowledged

    def answered_ping_age(self, connection: str) -> float | None:
        at = self.answered_ping_at.get(connection)
        return None if at is None else self.clock() - at

    def ask(self, connection: str, answered: Callable[[], object]) -> None:
        self.asked.append(connection)
        if connection in self.alive:
            answered()

    def speak(self, sid: str, customer_id: str = "c") -> None:
        """The customer says something on this socket, which is new or known."""
        self.answered_ping_at.setdefault(sid, self.clock() - 1)
        self.flow.spoke(customer_id, sid)
        self.flow.deliver_pending(customer_id)

    def resume(self, sid: str, customer_id: str = "c") -> None:
        self.answered_ping_at.setdefault(sid, self.clock() - 1)
        self.flow.resume(customer_id, sid)

    def close(self, sid: str) -> None:
        del self.answered_ping_at[sid]
        self.flow.disconnected(sid)

    def webhook(self, *numbers: int, customer_id: str = "c", type_: str = "text", fingerprint: str | None = None) -> None:
        for number in numbers:
            body = {"type": type_, "customer_id": customer_id, "n": number}
            if type_ != "text":
                del body["n"]
            self.flow.deliver(customer_from_dms(json.dumps(body).encode()), fingerprint=fingerprint)

    def acknowledge(self, sid: str, *numbers: int) -> None:
        for number in numbers:
            self._acks[sid, number]()

    def waiting(self, customer_id: str = "c") -> list[int]:
        return [json.loads(message.text)["n"] for message in self.store.fetch(customer_id, 0, 1000).messages]

    def pass_time(self, seconds: float, *, answering: tuple[str, ...] = ()) -> None:
        """Time passes, these sockets answer a ping a moment before its end, and the clock ticks."""
        self.clock.now += seconds
        for sid in answering:
            self.answered_ping_at[sid] = self.clock() - 0.1
        self.flow.tick()


@pytest.fixture
def flow(clock: Clock) -> Flow:
    return Flow(clock)


# In order, to the newest socket


def test_messages_go_to_the_socket_on_which_the_customer_spoke_last_and_to_no_other(flow: Flow) -> None:
    flow.speak("A")
    flow.webhook(1)
    flow.acknowledge("A", 1)
    flow.speak("B")
    flow.webhook(2)
    flow.webhook(3, customer_id="somebody else")

    assert flow.sent == [("A", 1), ("B", 2)]
    flow.speak("A")
    flow.acknowledge("B", 2)
    flow.webhook(4)
    assert flow.sent == [("A", 1), ("B", 2), ("A", 4)]


def test_messages_do_not_wait_for_each_others_acknowledgements(flow: Flow) -> None:
    flow.speak("A")
    flow.webhook(1, 2, 3)

    assert flow.sent == [("A", 1), ("A", 2), ("A", 3)]
    flow.acknowledge("A", 2, 1, 3)
    assert flow.waiting() == []
    assert flow.flow.counts["delivered"] == 3


def test_messages_for_somebody_who_is_not_there_wait_for_their_next_socket_in_order(flow: Flow) -> None:
    flow.webhook(*range(250))
    assert flow.sent == []
    flow.speak("A")

    assert flow.sent == [("A", number) for number in range(250)]


def test_a_client_that_says_who_it_is_gets_its_messages_at_once(flow: Flow) -> None:
    flow.webhook(1)
    flow.resume("A")

    assert flow.sent == [("A", 1)]


def test_one_socket_may_stand_for_several_customers(flow: Flow) -> None:
    flow.speak("A", "c")
    flow.speak("A", "d")
    flow.webhook(1, customer_id="c")
    flow.webhook(2, customer_id="d")
    assert flow.sent == [("A", 1), ("A", 2)]
    flow.close("A")
    flow.speak("B", "d")

    assert flow.sent[2:] == [("B", 2)]
    assert flow.waiting("c") == [1]


# Where a socket dies


def test_what_was_not_acknowledged_goes_to_the_next_socket_in_order_and_nothing_else(flow: Flow) -> None:
    flow.speak("A")
    flow.webhook(1, 2, 3)
    flow.acknowledge("A", 2)
    flow.close("A")
    flow.webhook(4)
    flow.speak("B")

    assert flow.sent[3:] == [("B", 1), ("B", 3), ("B", 4)]
    assert flow.flow.counts["unacknowledged_at_disconnect"] == 2


def test_messages_for_the_new_socket_wait_while_the_old_one_has_some_unacknowledged(flow: Flow) -> None:
    flow.speak("A")
    flow.webhook(1, 2)
    flow.speak("B")
    flow.webhook(3)
    assert flow.sent == [("A", 1), ("A", 2)]

    flow.acknowledge("A", 1)
    assert len(flow.sent) == 2
    flow.acknowledge("A", 2)
    assert flow.sent[2:] == [("B", 3)]


def test_where_the_old_socket_dies_instead_its_messages_come_first(flow: Flow) -> None:
    flow.speak("A")
    flow.webhook(1, 2)
    flow.speak("B")
    flow.webhook(3)
    flow.close("A")

    assert flow.sent[2:] == [("B", 1), ("B", 2), ("B", 3)]


def test_an_acknowledgement_on_the_old_socket_after_the_customer_left_the_new_one_counts(flow: Flow) -> None:
    flow.speak("A")
    flow.webhook(1)
    flow.speak("B")
    flow.close("B")
    flow.acknowledge("A", 1)
    assert flow.waiting() == []

    # Nothing is left of the customer when the old socket closes, too; and that harms nobody.
    flow.speak("A", "another customer")
    flow.close("A")
    flow.webhook(2, customer_id="another customer")
    flow.speak("C", "another customer")
    assert flow.sent[1:] == [("C", 2)]


def test_an_acknowledgement_counts_that_comes_when_its_socket_was_given_up_already(flow: Flow) -> None:
    flow.speak("A")
    flow.webhook(1, 2)
    flow.close("A")
    flow.acknowledge("A", 1)
    assert flow.waiting() == [2]
    flow.speak("B")
    assert flow.sent[2:] == [("B", 2)]

    # Even while the message is on its way to the next one.
    flow.acknowledge("A", 2)
    assert flow.waiting() == []
    flow.close("B")
    flow.speak("C")
    assert len(flow.sent) == 3


def test_where_an_older_socket_spoke_late_and_closes_the_younger_one_has_the_customer_again(flow: Flow) -> None:
    flow.speak("A")
    flow.speak("B")
    # What it said before it lost its client was held up on its way.
    flow.speak("A")
    flow.webhook(1)
    assert flow.sent == [("A", 1)]
    flow.close("A")
    flow.webhook(2)

    assert flow.sent[1:] == [("B", 1), ("B", 2)]
    flow.close("B")
    flow.webhook(3)
    assert flow.flow.whereabouts("c") == (False, 0)
    assert flow.waiting() == [1, 2, 3]


def test_a_younger_socket_that_is_closed_itself_or_an_older_one_is_not_fallen_back_on(flow: Flow) -> None:
    for sid in ("A", "B", "A"):
        flow.speak(sid)
    flow.close("B")
    flow.close("A")
    flow.webhook(1)
    assert flow.sent == []

    for sid in ("C", "D"):
        flow.speak(sid)
    flow.acknowledge("C", 1)
    flow.close("D")
    flow.webhook(2)
    assert flow.sent == [("C", 1)]


def test_a_socket_that_is_gone_already_when_it_speaks_is_not_taken_for_the_customers(flow: Flow) -> None:
    flow.flow.spoke("c", "gone")
    flow.flow.deliver_pending("c")
    flow.webhook(1)

    assert flow.flow.whereabouts("c") == (False, 0)
    flow.speak("A")
    assert flow.sent == [("A", 1)]


def test_customers_who_left_leave_nothing_behind(flow: Flow) -> None:
    for number in range(100):
        flow.speak(f"socket {number}", f"customer {number}")
        flow.webhook(number, customer_id=f"customer {number}")
        if number % 2:
            flow.acknowledge(f"socket {number}", number)
        flow.close(f"socket {number}")
    flow.pass_time(1000)

    assert not len(flow.flow._sessions)
    assert not flow.flow._customers_of
    assert not len(flow.flow._deliveries)


# Old connections, when the customer comes on another


def test_a_connection_with_messages_in_flight_is_asked_whether_it_is_alive_when_another_one_comes(
    flow: Flow,
) -> None:
    flow.speak("A")
    flow.speak("B")
    assert flow.asked == []
    flow.webhook(1)
    flow.speak("C")
    assert flow.asked == ["B"]
    flow.webhook(2)
    assert flow.sent == [("B", 1)]
    flow.close("B")

    assert flow.sent == [("B", 1), ("C", 1), ("C", 2)]


def test_one_that_only_resumes_stands_by_and_follows_where_the_customers_own_is_dead(flow: Flow) -> None:
    flow.resume("A")
    flow.speak("A")
    flow.resume("B")
    flow.webhook(1)
    assert (flow.sent, flow.asked) == ([("A", 1)], ["A"])

    del flow.answered_ping_at["A"]
    flow.flow.disconnected("A", was_dead=True)
    assert flow.sent == [("A", 1), ("B", 1)]


def test_what_is_acknowledged_after_its_connection_closed_does_not_go_out_again_before_the_store_is_told(flow: Flow) -> None:
    flow.resume("A")
    flow.webhook(1)
    flow.close("A")
    flow.soon = []
    flow.acknowledge("A", 1)
    flow.resume("B")

    assert flow.sent == [("A", 1)]
    flow.do_what_was_to_be_done_soon()
    assert flow.waiting() == []


# Clients that never acknowledge


def test_a_message_is_done_when_its_socket_has_answered_a_ping_that_was_sent_after_it(flow: Flow) -> None:
    flow.speak("A")
    flow.webhook(1)
    flow.pass_time(HEARTBEAT_SECONDS - 1, answering=("A",))
    assert flow.waiting() == [1]
    flow.pass_time(2)

    assert flow.waiting() == []
    assert flow.flow.counts["delivered_by_heartbeat"] == 1
    flow.close("A")
    flow.speak("B")
    assert flow.sent == [("A", 1)]


def test_a_socket_that_is_open_but_has_only_answered_pings_from_before_proves_nothing(flow: Flow) -> None:
    flow.speak("A")
    flow.webhook(1)
    # Its connection died right then; the pong to the ping before was under way.
    flow.pass_time(HEARTBEAT_SECONDS + 1)
    assert flow.waiting() == [1]
    flow.close("A")
    flow.speak("B")
    assert flow.sent == [("A", 1), ("B", 1)]


def test_a_proof_that_comes_late_is_looked_for_again(flow: Flow) -> None:
    flow.speak("A")
    flow.webhook(1)
    flow.pass_time(HEARTBEAT_SECONDS + 1)
    flow.pass_time(HEARTBEAT_SECONDS + 1, answering=("A",))

    assert flow.waiting() == []


def test_a_dead_socket_that_nobody_told_of_is_found_by_its_heartbeat(flow: Flow) -> None:
    flow.speak("A")
    flow.webhook(1)
    flow.speak("B")
    flow.webhook(2)
    del flow.answered_ping_at["A"]
    flow.pass_time(HEARTBEAT_SECONDS + 1, answering=("B",))

    assert flow.sent == [("A", 1), ("B", 1), ("B", 2)]


def test_nothing_is_held_back_for_a_client_that_was_seen_not_to_acknowledge(flow: Flow) -> None:
    flow.speak("A")
    flow.webhook(1)
    flow.pass_time(HEARTBEAT_SECONDS + 1, answering=("A",))
    flow.webhook(2)
    flow.speak("B")
    flow.webhook(3)
    assert flow.sent == [("A", 1), ("A", 2), ("B", 3)]

    # Until it acknowledges after all.
    flow.acknowledge("B", 3)
    flow.webhook(4)
    assert flow.sent[3:] == []
    flow.acknowledge("A", 2)
    assert flow.sent[3:] == [("B", 4)]


def test_messages_of_a_silent_clients_dead_socket_are_not_forgotten_over_younger_ones(flow: Flow) -> None:
    flow.speak("A")
    flow.webhook(1)
    flow.pass_time(HEARTBEAT_SECONDS + 1, answering=("A",))
    flow.webhook(2)
    flow.speak("B")
    flow.webhook(3)
    flow.close("A")

    assert flow.sent[1:] == [("A", 2), ("B", 3), ("B", 2)]


def test_messages_of_a_socket_that_dies_while_younger_ones_are_fetched_are_not_forgotten(flow: Flow) -> None:
    flow.speak("A")
    flow.webhook(1)
    flow.pass_time(HEARTBEAT_SECONDS + 1, answering=("A",))
    flow.webhook(2)
    flow.speak("B")
    flow.store.meanwhile = lambda: flow.close("A")
    # Another way than by this flow: it has to be fetched.
    flow.store.put("c", '{"type":"text","n":3}', None)
    flow.flow.deliver_pending("c")

    assert flow.sent[1:] == [("A", 2), ("B", 2), ("B", 3)]


def test_a_customer_who_comes_back_while_the_store_says_that_they_are_elsewhere_is_here(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow.speak("A")
    fetch = flow.store.fetch

    def elsewhere_for_the_last_time(customer_id: str, after: int, limit: int) -> FetchResult:
        monkeypatch.setattr(flow.store, "fetch", fetch)
        flow.flow.spoke("c", "A")
        return FetchResult(state="elsewhere")

    monkeypatch.setattr(flow.store, "fetch", elsewhere_for_the_last_time)
    flow.webhook(1)
    assert flow.sent == [("A", 1)]


def test_a_customer_who_is_elsewhere_is_not_sent_anything_here(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    flow.speak("A")
    monkeypatch.setattr(flow.store, "fetch", lambda *_: FetchResult(state="elsewhere"))
    flow.flow.deliver_pending("c")
    monkeypatch.undo()
    flow.webhook(1)
    assert flow.sent == []
    # Until they speak here again.
    flow.speak("A")
    assert flow.sent == [("A", 1)]


def test_an_acknowledgement_that_is_late_is_logged_once_and_nothing_is_sent_again(
    flow: Flow, caplog: pytest.LogCaptureFixture
) -> None:
    flow.speak("A")
    flow.webhook(1, 2)
    flow.acknowledge("A", 2)
    for _ in range(3):
        flow.pass_time(ACK_TIMEOUT_SECONDS + 0.5)

    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "not acknowledged within 10 s customer='c'" in errors[0]
    assert flow.flow.counts["acknowledgement_timeout"] == 1
    assert flow.sent == [("A", 1), ("A", 2)]
    flow.acknowledge("A", 1)
    assert flow.waiting() == []


# What is not kept


@pytest.mark.parametrize("kind", ["typing_indicator", "wait_time"])
def test_what_is_worth_nothing_later_is_sent_to_who_is_there_and_not_kept(flow: Flow, kind: str) -> None:
    flow.webhook(1, type_=kind)
    flow.speak("A")
    assert flow.sent == []
    flow.webhook(1, type_=kind)
    assert flow.sent == [("A", kind)]
    flow.close("A")
    flow.speak("B")

    assert flow.sent == [("A", kind)]


def test_a_repeated_webhook_is_not_delivered_again(flow: Flow) -> None:
    flow.speak("A")
    flow.webhook(1, 1, fingerprint="same")

    assert flow.sent == [("A", 1)]
    assert flow.flow.counts["repeated_webhook"] == 1


def test_a_full_mailbox_loses_its_oldest_and_that_is_counted_and_logged(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    flow = Flow(clock, size=3)
    flow.webhook(1, 2, 3, 4, 5)
    flow.speak("A")

    assert flow.sent == [("A", 3), ("A", 4), ("A", 5)]
    assert flow.flow.counts["dropped_mailbox_full"] == 2
    assert "mailbox full: the oldest messages are dropped" in caplog.text


def test_messages_whose_time_is_over_are_dropped_counted_and_logged(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    flow = Flow(clock, ttl_seconds=60)
    flow.webhook(1, 2)
    flow.pass_time(61)
    flow.webhook(3)
    flow.speak("A")

    assert flow.sent == [("A", 3)]
    assert flow.flow.counts["dropped_expired"] == 2
    assert "messages are dropped: their time to live is over messages=2" in caplog.text


def test_the_end_of_the_session_drops_what_waits(flow: Flow) -> None:
    flow.webhook(1, 2)
    flow.flow.clear("c")
    flow.webhook(3)
    flow.speak("A")

    assert flow.sent == [("A", 3)]
    assert flow.flow.counts["dropped_session_ended"] == 2


# Where the store fails


def test_a_message_that_cannot_be_kept_is_refused_and_not_sent(flow: Flow) -> None:
    flow.speak("A")
    flow.store.fails = True
    with pytest.raises(StoreError):
        flow.webhook(1)
    assert flow.sent == []


def test_messages_that_could_not_be_fetched_are_sent_when_the_store_is_back(flow: Flow) -> None:
    flow.webhook(1)
    flow.store.fails = True
    flow.speak("A")
    flow.pass_time(1)
    assert flow.sent == []
    flow.store.fails = False
    flow.pass_time(1)

    assert flow.sent == [("A", 1)]


def test_messages_that_were_acknowledged_while_the_store_failed_are_removed_later_and_not_sent_again(flow: Flow) -> None:
    flow.speak("A")
    flow.webhook(1)
    flow.store.fails = True
    flow.acknowledge("A", 1)
    flow.close("A")
    flow.store.fails = False
    assert flow.waiting() == [1]
    flow.speak("B")
    flow.pass_time(1)

    assert flow.sent == [("A", 1)]
    assert flow.waiting() == []


def test_one_customer_whose_sending_fails_does_not_keep_the_clock_from_others(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    emit = flow.emit

    def failing(sid: str, payload: str, acknowledged: Callable[..., None]) -> None:
        if sid == "broken":
            raise RuntimeError("the engine has a fault")
        emit(sid, payload, acknowledged)

    monkeypatch.setattr(flow, "emit", failing)
    flow.speak("broken")
    flow.speak("A", "other")
    flow.webhook(1)
    flow.webhook(2, customer_id="other")
    flow.pass_time(1)

    assert flow.sent == [("A", 2)]
    flow.close("broken")
    flow.speak("B")
    assert flow.sent == [("A", 2), ("B", 1)]


def test_a_message_that_was_kept_though_the_store_seemed_to_fail_goes_out_when_its_webhook_is_repeated(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow.speak("A")
    put = flow.store.put

    def put_without_an_answer(*args: Any) -> PutResult:
        put(*args)
        raise StoreError("no answer in time")

    with monkeypatch.context() as patch:
        patch.setattr(flow.store, "put", put_without_an_answer)
        with pytest.raises(StoreError):
            flow.webhook(1, fingerprint="1")
    assert flow.sent == []
    flow.webhook(1, fingerprint="1")
    flow.webhook(1, fingerprint="1")

    assert flow.sent == [("A", 1)]


# Without asking the store


def test_a_message_is_not_fetched_where_all_before_it_were_sent(flow: Flow) -> None:
    flow.speak("A")
    fetches = flow.store.fetches
    flow.webhook(1, 2)
    flow.acknowledge("A", 1)
    flow.webhook(3)

    assert flow.sent == [("A", 1), ("A", 2), ("A", 3)]
    assert flow.store.fetches == fetches


def test_a_message_goes_after_one_that_was_not_sent(flow: Flow) -> None:
    flow.speak("A")
    # Another way than by this flow, as if its webhook were being handled just now.
    flow.store.put("c", '{"type":"text","n":1}', None)
    flow.webhook(2)
    assert flow.sent == [("A", 1), ("A", 2)]

    flow.close("A")
    flow.webhook(3)
    flow.speak("B")
    flow.webhook(4)
    assert flow.sent[2:] == [("B", 1), ("B", 2), ("B", 3), ("B", 4)]


def test_a_message_that_was_fetched_before_its_own_webhook_came_to_send_it_goes_once(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow.speak("A")
    put = flow.store.put

    def put_and_look(customer_id: str, text: str, fingerprint: str | None) -> PutResult:
        kept = put(customer_id, text, fingerprint)
        flow.flow.deliver_pending(customer_id)
        return kept

    monkeypatch.setattr(flow.store, "put", put_and_look)
    flow.webhook(1, 2)

    assert flow.sent == [("A", 1), ("A", 2)]


def test_a_message_that_is_too_much_to_be_on_the_way_now_is_fetched_later(flow: Flow) -> None:
    flow.speak("A")
    large = {"type": "text", "customer_id": "c", "text": ["x" * 3_000_000]}
    for number in (1, 2, 3):
        flow.flow.deliver(customer_from_dms(json.dumps({**large, "n": number}).encode()), fingerprint=None)
    assert flow.sent == [("A", 1)]
    flow.acknowledge("A", 1)
    flow.acknowledge("A", 2)

    assert flow.sent == [("A", 1), ("A", 2), ("A", 3)]


# The store is told together


def test_the_store_is_told_of_all_acknowledgements_that_came_in_at_once(flow: Flow) -> None:
    flow.speak("A", "c")
    flow.speak("B", "d")
    flow.webhook(1, 2)
    flow.webhook(3, customer_id="d")
    flow.soon = []
    flow.acknowledge("A", 1, 2)
    flow.acknowledge("B", 3)
    assert (len(flow.soon), flow.store.removals, flow.flow.unacknowledged()) == (1, 0, 3)

    flow.do_what_was_to_be_done_soon()
    assert (flow.store.removals, flow.flow.unacknowledged()) == (1, 0)
    assert flow.waiting("c") == flow.waiting("d") == []
    flow.webhook(4)
    flow.acknowledge("A", 4)
    flow.do_what_was_to_be_done_soon()
    assert flow.waiting("c") == []


def test_what_is_acknowledged_is_not_sent_again_before_the_store_is_told(flow: Flow) -> None:
    flow.speak("A")
    flow.webhook(1, 2)
    flow.soon = []
    flow.acknowledge("A", 1)
    flow.close("A")
    flow.speak("B")
    assert flow.sent == [("A", 1), ("A", 2), ("B", 2)]

    flow.acknowledge("B", 2)
    flow.close("B")
    flow.do_what_was_to_be_done_soon()
    assert flow.waiting() == []
    assert not len(flow.flow._sessions)


def test_a_store_that_fails_is_told_later(flow: Flow) -> None:
    flow.speak("A")
    flow.webhook(1)
    flow.soon = []
    flow.acknowledge("A", 1)
    flow.store.fails = True
    flow.do_what_was_to_be_done_soon()
    flow.store.fails = False
    assert flow.waiting() == [1]
    flow.pass_time(1)
    flow.do_what_was_to_be_done_soon()

    assert flow.waiting() == []
    assert flow.flow.unacknowledged() == 0


# At once


def test_under_threads_everything_arrives_in_order_while_sockets_come_and_go(flow: Flow) -> None:
    """As under `flask run`: webhooks, acknowledgements, messages and disconnects all in threads of their own."""
    flow.clock.now = 0
    lock = threading.Lock()
    received: list[int] = []
    ended = threading.Event()

    def emit(sid: str, payload: str, acknowledged: Callable[..., None]) -> None:
        with lock:
            if sid not in flow.answered_ping_at:
                return
            received.append(json.loads(payload)["n"])
        start_thread(acknowledge, sid, acknowledged)

    def acknowledge(sid: str, acknowledged: Callable[..., None]) -> None:
        if sid in flow.answered_ping_at:
            acknowledged()

    def come_and_go() -> None:
        before = ""
        for number in itertools.count():
            flow.speak(f"socket {number}")
            if before:
                with lock:
                    del flow.answered_ping_at[before]
                flow.flow.disconnected(before)
            before = f"socket {number}"
            if ended.is_set():
                return

    flow.emit = emit  # type: ignore[method-assign]
    going = start_thread(come_and_go)
    for number in range(500):
        flow.webhook(number)
    ended.set()
    going.join()
    wait_until(lambda: not flow.waiting(), lambda: f"an empty mailbox; {flow.waiting()} wait")

    firsts = list(dict.fromkeys(received))
    assert firsts == list(range(500))


def test_the_store_is_told_of_a_customer_whose_first_word_is_a_typing_indicator(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would go on believing that an instance has them which is dead."""
    claims: list[str] = []
    monkeypatch.setattr(flow.store, "claim", lambda customer_id, **_: claims.append(customer_id))
    flow.answered_ping_at["A"] = flow.clock()
    for _ in range(2):
        flow.flow.spoke("c", "A", claim=True)
        flow.flow.deliver_pending("c")

    assert claims == ["c"]
