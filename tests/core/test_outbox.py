"""core/outbox.py against a model: messages, posts, the store's answers, ends of processes, in any order.

The model has one store and two instances. A call to the store is carried out at some moment after it was made, and
answered at some later one, or never. DMS takes a message, surely does not, or nobody knows. An instance may die at any
moment.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lchook.core.outbox import Outbox
from lchook.core.outbox_effects import (
    Complete,
    Delayed,
    Effect,
    Enqueue,
    Expired,
    Look,
    Post,
    Postpone,
    Queued,
    Report,
    Stored,
    Submission,
    Take,
    Tell,
    TellLater,
    Wait,
)
from lchook.core.outcomes import UNKNOWN_OUTCOME, Outcome
from lchook.core.retry_policy import PostResult

TTL_SECONDS = 300.0
PATIENCE_SECONDS = 30.0
MAX_QUEUE_LENGTH = 5


@dataclass(eq=False)
class Entry:
    number: int
    submission: Submission
    stored_at: float


class ModelStore:
    """What `lchook.store` promises for one customer's queue."""

    def __init__(self) -> None:
        self.queue: list[Entry] = []
        self.last_number = 0
        self.poster: str | None = None
        self.posting: int | None = None
        self.outcomes: dict[str, Outcome] = {}
        self.alive: set[str] = set()
        self.now = 0.0
        # What is kept for the customer's next connection, by key; the most that wait.
        self.statuses: dict[str, Outcome] = {}
        self.max_queue_length = MAX_QUEUE_LENGTH

    def enqueue(self, instance: str, effect: Enqueue) -> tuple[list[Stored], Queued | None]:
        answers = []
        for submission in effect.submissions:
            if submission.key in self.outcomes:
                answers.append(Stored("done", self.outcomes[submission.key]))
                continue
            same = [entry for entry in self.queue if entry.submission.key == submission.key]
            if same:
                mine = same[0].submission.ticket == submission.ticket
                answers.append(Stored("queued" if mine else "pending"))
                continue
            if len(self.queue) >= self.max_queue_length:
                answers.append(Stored("full", Outcome("rejected", error="full")))
                continue
            self.last_number += 1
            self.queue.append(Entry(self.last_number, submission, self.now))
            answers.append(Stored("queued"))
        return answers, self.take(instance) if effect.take else None

    def take(self, instance: str) -> Queued | None:
        if self.poster is not None and self.poster != instance:
            if self.poster in self.alive:
                return None
            self._give_up_what_it_was_posting()
        if not self.queue:
            self.poster = self.posting = None
            return None
        self.poster = instance
        entry = self.queue[0]
        self.posting = entry.number
        submission = entry.submission
        age_seconds = self.now - entry.stored_at
        return Queued(entry.number, submission.key, submission.message_id, submission.body, age_seconds=age_seconds)

    def postpone(self, instance: str, effect: Postpone) -> None:
        if self.poster == instance:
            self.posting = None
            if effect.give_up:
                self.poster = None

    def complete(self, instance: str, effect: Complete) -> Queued | None:
        if self.poster != instance:
            return None
        self._complete(effect.message.number, effect.outcome, tell_later=effect.tell_later)
        if effect.take:
            return self.take(instance)
        self.poster = self.posting = None
        return None

    def is_orphaned(self) -> bool:
        return bool(self.queue) and self.poster not in self.alive

    def _give_up_what_it_was_posting(self) -> None:
        if self.posting is not None:
            self._complete(self.posting, Outcome("failed", None, None, UNKNOWN_OUTCOME), tell_later=True)
        self.poster = self.posting = None

    def _complete(self, number: int, outcome: Outcome, *, tell_later: bool) -> None:
        for entry in list(self.queue):
            if entry.number == number:
                self.queue.remove(entry)
                self.outcomes[entry.submission.key] = outcome
                origin = entry.submission.ticket.partition(":")[0]
                if tell_later and origin not in self.alive:
                    self.statuses[entry.submission.key] = outcome


@dataclass(eq=False)
class Call:
    carry_out: Callable[[], Any]
    answer: Callable[[Any], list[Effect]]
    fail: Callable[[], list[Effect]]
    carried_out: bool = False
    result: Any = None


@dataclass(eq=False)
class Instance:
    name: str
    outbox: Outbox
    calls: list[Call] = field(default_factory=list)
    posts: list[Queued] = field(default_factory=list)
    # When it is to be woken.
    waits: list[float] = field(default_factory=list)


class World(RuleBasedStateMachine):
    """One customer, two instances."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.store = ModelStore()
        self.names = itertools.count()
        self.tickets = itertools.count()
        self.instances: list[Instance] = []
        self.instances = [self._new_instance(), self._new_instance()]
        # Numbers in the order of their first posts; those that may not be posted again; those that DMS has.
        self.first_posts: list[int] = []
        self.final: set[int] = set()
        self.taken: dict[str, int] = {}
        # Tickets of submissions whose sender is still there; what they were told.
        self.submitted: dict[str, str] = {}
        self.keys: dict[str, str] = {}
        self.told: dict[str, Outcome] = {}
        # Stored by an instance that died before its sender was told.
        self.left_behind: set[str] = set()

    def _new_instance(self) -> Instance:
        name = f"i{next(self.names)}"
        self.store.alive.add(name)
        return Instance(name, Outbox("c", TTL_SECONDS, PATIENCE_SECONDS, MAX_QUEUE_LENGTH))

    def _perform(self, instance: Instance, effects: list[Effect]) -> None:
        store, outbox = self.store, instance.outbox
        for effect in effects:
            match effect:
                case Enqueue():
                    self._call(
                        instance,
                        lambda e=effect: store.enqueue(instance.name, e),
                        lambda result: outbox.enqueued(*result, self.now),
                        lambda: outbox.enqueue_failed(self.now),
                    )
                case Take():
                    self._call(
                        instance,
                        lambda: store.take(instance.name),
                        lambda result: outbox.taken(result, self.now),
                        lambda: outbox.take_failed(self.now),
                    )
                case Postpone():
                    self._call(
                        instance,
                        lambda e=effect: store.postpone(instance.name, e),
                        lambda _: outbox.postponed(),
                        lambda: outbox.postponed(),
                    )
                case Complete():
                    self._call(
                        instance,
                        lambda e=effect: store.complete(instance.name, e),
                        lambda result: outbox.completed(result, self.now),
                        lambda: outbox.complete_failed(self.now),
                    )
                case Look(keys):
                    self._call(
                        instance,
                        lambda k=keys: {key: store.outcomes[key] for key in k if key in store.outcomes},
                        lambda result: outbox.looked(result, self.now),
                        lambda: outbox.looked({}, self.now),
                    )
                case Post(message):
                    self._post(instance, message)
                case Wait(seconds):
                    instance.waits.append(self.now + seconds)
                case Tell(submission, outcome):
                    self._tell(submission, outcome)
                case Expired(_, age_seconds):
                    assert age_seconds > TTL_SECONDS
                case TellLater() | Delayed() | Report():
                    pass

    def _call(
        self,
        instance: Instance,
        carry_out: Callable[[], Any],
        answer: Callable[[Any], list[Effect]],
        fail: Callable[[], list[Effect]],
    ) -> None:
        instance.calls.append(Call(carry_out, answer, fail))

    def _post(self, instance: Instance, message: Queued) -> None:
        number = message.number
        assert message.age_seconds <= TTL_SECONDS, f"{number} is posted though it waited for too long"
        assert not instance.outbox.is_stopping, f"{number} is posted by an instance that stops"
        assert number not in self.final, f"{number} is posted again"
        assert not any(each.posts for each in self.instances), f"{number} is posted while another one is"
        if number not in self.first_posts:
            assert number > max(self.first_posts, default=0), f"{number} is posted after {self.first_posts}"
            self.first_posts.append(number)
        instance.posts.append(message)

    def _tell(self, submission: Submission, outcome: Outcome) -> None:
        assert submission.ticket not in self.told, "its sender is told twice"
        self.told[submission.ticket] = outcome
        if outcome.status == "sent":
            assert submission.key in self.taken, "its sender is told that DMS has it, and DMS does not"

    # What happens

    @rule(at=st.integers(0, 1), key=st.integers(0, 9))
    def a_message(self, at: int, key: int) -> None:
        instance = self.instances[at]
        ticket = f"{instance.name}:{next(self.tickets)}"
        self.submitted[ticket] = instance.name
        self.keys[ticket] = f"k{key}"
        # Few keys, so that some are repeats.
        self._perform(instance, instance.outbox.submit(Submission(f"k{key}", ticket, key, "{}"), self.now))

    @precondition(lambda self: self._posts())
    @rule(data=st.data(), result=st.sampled_from(["taken", "refused", "not taken", "not taken", "unknown"]))
    def dms_answers(self, data: st.DataObject, result: str) -> None:
        self._answer_post(*data.draw(st.sampled_from(self._posts())), result)

    def _posts(self) -> list[tuple[Instance, Queued]]:
        return [(instance, message) for instance in self.instances for message in instance.posts]

    def _answer_post(self, instance: Instance, message: Queued, result: str) -> None:
        instance.posts.remove(message)
        if result != "not taken":
            self.final.add(message.number)
        if result == "taken":
            self.taken[message.key] = message.number
        answer = {
            "taken": PostResult(200),
            "refused": PostResult(400),
            "not taken": PostResult(503),
            "unknown": PostResult(None, "timed out", possibly_delivered=True),
        }[result]
        self._perform(instance, instance.outbox.answered(answer, self.now))

    @rule(at=st.integers(0, 1))
    def an_instance_dies(self, at: int) -> None:
        self._end(at)

    def _end(self, at: int) -> None:
        instance = self.instances[at]
        self.store.alive.discard(instance.name)
        # What was being posted may be at DMS.
        self.final.update(message.number for message in instance.posts)
        for ticket, name in list(self.submitted.items()):
            if name == instance.name:
                del self.submitted[ticket]
        for entry in self.store.queue:
            submission = entry.submission
            if submission.ticket.startswith(f"{instance.name}:") and submission.ticket not in self.told:
                self.left_behind.add(submission.key)
        # Calls that were on their way may still be carried out.
        self.instances[at] = self._new_instance()

    @rule(at=st.integers(0, 1))
    def an_instance_stops(self, at: int) -> None:
        instance = self.instances[at]
        if not instance.outbox.is_stopping:
            self._perform(instance, instance.outbox.stop())

    @precondition(lambda self: self._calls())
    @rule(data=st.data())
    def a_call_is_carried_out(self, data: st.DataObject) -> None:
        _, call = data.draw(st.sampled_from(self._calls()))
        self._carry_out(call)

    @precondition(lambda self: self._calls())
    @rule(data=st.data())
    def a_call_is_answered(self, data: st.DataObject) -> None:
        self._answer(*data.draw(st.sampled_from(self._calls())))

    @precondition(lambda self: self._calls())
    @rule()
    def all_calls_are_answered(self) -> None:
        while calls := self._calls():
            self._answer(*calls[0])

    @precondition(lambda self: self._calls())
    @rule(data=st.data())
    def a_call_fails(self, data: st.DataObject) -> None:
        instance, call = data.draw(st.sampled_from(self._calls()))
        instance.calls.remove(call)
        self._perform(instance, call.fail())

    @rule(seconds=st.sampled_from([0.1, 0.5, 1.0, 10.0, 40.0, 400.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.store.now = self.now
        for instance in self.instances:
            for at in [at for at in instance.waits if at <= self.now]:
                instance.waits.remove(at)
                self._perform(instance, instance.outbox.woken(self.now))
            self._perform(instance, instance.outbox.tick(self.now))

    @precondition(lambda self: self.store.is_orphaned())
    @rule(at=st.integers(0, 1))
    def the_sweep_finds_an_orphan(self, at: int) -> None:
        self._perform(self.instances[at], self.instances[at].outbox.take_over())

    def _calls(self) -> list[tuple[Instance, Call]]:
        return [(instance, call) for instance in self.instances for call in instance.calls]

    def _carry_out(self, call: Call) -> None:
        if not call.carried_out:
            call.carried_out, call.result = True, call.carry_out()

    def _answer(self, instance: Instance, call: Call) -> None:
        self._carry_out(call)
        instance.calls.remove(call)
        self._perform(instance, call.answer(call.result))

    @invariant()
    def what_dms_took_is_not_told_as_rejected(self) -> None:
        for ticket, outcome in self.told.items():
            if outcome.status == "rejected":
                assert ticket not in self.taken

    def teardown(self) -> None:
        for at, instance in enumerate(self.instances):
            if instance.outbox.is_stopping:
                self._settle()
                self._end(at)
        assert self._settle(), "it does not settle"
        assert self.store.queue == []
        told = {self.keys[ticket] for ticket in self.told}
        assert self.left_behind <= told | set(self.store.statuses), "nobody is told what became of it"
        assert set(self.submitted) <= set(self.told)
        assert [instance.outbox.is_idle for instance in self.instances] == [True, True]

    def _settle(self) -> bool:
        """Everything that was begun ends; tells whether it did. One that stops leaves things to the others."""
        for _ in range(200):
            if calls := self._calls():
                self._answer(*calls[0])
            elif posts := self._posts():
                self._answer_post(*posts[0], "taken")
            elif self.store.is_orphaned() and any(not each.outbox.is_stopping for each in self.instances):
                self.the_sweep_finds_an_orphan(0 if not self.instances[0].outbox.is_stopping else 1)
                self.time_passes(1.0)
            elif any(instance.waits or not instance.outbox.is_idle for instance in self.instances):
                self.time_passes(1.0)
            else:
                return True
        return False


World.TestCase.settings = settings(
    max_examples=int(os.environ.get("EXAMPLES", "100")), stateful_step_count=50, deadline=None
)
TestOutbox = World.TestCase


def test_a_message_that_may_have_been_handed_out_is_asked_for_again() -> None:
    outbox = Outbox("c", TTL_SECONDS, PATIENCE_SECONDS)
    assert outbox.take_over() == [Take()]
    [wait] = outbox.take_failed(0.0)
    assert isinstance(wait, Wait)
    assert outbox.woken(wait.seconds) == [Take()]
