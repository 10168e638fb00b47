"""core/session.py against a model: webhooks, connections, acknowledgements and the store's answers in any order.

The model has one store and one or two instances. A call to the store is carried out at some moment after it was made, and
answered at some later one, or never: then the caller is told that it failed, whether it was carried out or not.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lchook.core.delivery import (
    Ask,
    Claim,
    Delivery,
    Effect,
    Fetch,
    Left,
    Message,
    Release,
    Removal,
    Remove,
    Retry,
    Send,
    StandsBy,
    TakenBack,
)
from lchook.core.receivers import MAX_RESUMED
from lchook.core.session import FETCH_LIMIT, Session

CUSTOMER = "c"


class ModelStore:
    """What `lchook.store` promises, for one customer."""

    def __init__(self, *, numbers_known: bool) -> None:
        self.numbers_known = numbers_known
        self.mailbox: list[int] = []
        self.last_number = 0
        self.owner: int | None = None
        # 0: they have not spoken there.
        self.came_at: float = 0
        self.standing_by: set[int] = set()
        self.leases: set[int] = set()
        self.due: set[int] = set()

    def put(self, instance: int) -> tuple[Message, int, bool]:
        self.last_number += 1
        before = self.mailbox[-1] if self.mailbox else 0
        self.mailbox.append(self.last_number)
        number = self.last_number if self.numbers_known else 0
        return Message(number, f"<{self.last_number}>"), before, self._notify(instance)

    def claim(self, instance: int, came_at: float, is_weak: bool) -> None:
        if self.owner == instance:
            self.came_at = max(self.came_at, came_at)
            return
        loser = None
        if self.owner is not None:
            came_at = 0 if is_weak else came_at
            loser = self.owner if is_weak or came_at >= self.came_at else instance
            self.standing_by.add(loser)
        if loser != instance:
            self.owner, self.came_at = instance, came_at

    def fetch(self, instance: int, after: int) -> tuple[list[Message], Any, bool]:
        if self.owner is None:
            self.owner, self.came_at = instance, 0
        elif self.owner != instance:
            return [], "elsewhere", self.came_at == 0
        if self.leases - {instance}:
            return [], "held", False
        found = [Message(number, f"<{number}>") for number in self.mailbox if number > after][:FETCH_LIMIT]
        if found:
            self.leases.add(instance)
        return found, "ours", False

    def remove(self, instance: int, removal: Removal) -> None:
        self.mailbox = [number for number in self.mailbox if number not in removal.numbers]
        if removal.last:
            self._end_lease(instance)

    def release(self, instance: int, release: Release) -> None:
        if self.owner == instance:
            self.owner = None
            self.due |= self.standing_by - {instance}
            self.standing_by.clear()
        if not release.waiting:
            self._end_lease(instance)

    def _end_lease(self, instance: int) -> None:
        if instance in self.leases:
            self.leases.discard(instance)
            self._notify(instance)

    def _notify(self, instance: int) -> bool:
        if self.owner is not None and self.owner != instance:
            self.due.add(self.owner)
        return self.owner == instance


@dataclass(eq=False)
class Call:
    """A call to the store that is under way."""

    carry_out: Callable[[], Any]
    answer: Callable[[Any], list[Effect]]
    fail: Callable[[], list[Effect]]
    session: Session
    carried_out: bool = False
    result: Any = None


@dataclass(eq=False)
class Connection:
    name: str
    instance: int
    open: bool = True
    has_resumed: bool = False
    unacknowledged: list[Delivery] = field(default_factory=list)

    def __repr__(self) -> str:
        return self.name


class Instance:
    """Performs the effects of a session, as the flow does, and forgets it when it is idle."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.number = number
        self.session: Session | None = None
        self.calls: list[Call] = []
        self.removal_wanted = self.retry_wanted = False

    def get(self) -> Session:
        if self.session is None:
            self.session = Session(CUSTOMER)
        return self.session

    def perform(self, session: Session, effects: list[Effect]) -> None:
        store = self.world.store
        for effect in effects:
            match effect:
                case Send(delivery, message):
                    self.world.sent(delivery, message)
                case Claim():
                    self._call(
                        session,
                        lambda e=effect: store.claim(self.number, e.attached_at, e.is_weak),
                        lambda _: session.claimed(),
                        session.claim_failed,
                    )
                case Fetch(after):
                    self._call(
                        session,
                        lambda n=after: store.fetch(self.number, n),
                        lambda result: session.fetched(result[0], result[1], is_weak=result[2]),
                        session.fetch_failed,
                    )
                case Release():
                    self._call(
                        session,
                        lambda e=effect: store.release(self.number, e),
                        lambda _, e=effect: session.released(e),
                        lambda e=effect: session.release_failed(e),
                    )
                case Remove():
                    self.removal_wanted = True
                case Retry():
                    self.retry_wanted = True
                case Ask(connection):
                    self.world.asks.append((self, connection))
                case TakenBack() | Left() | StandsBy():
                    pass
        if self.session is session and session.is_idle:
            self.session = None

    def flush(self) -> None:
        self.removal_wanted = False
        session = self.get()
        removal = session.removal()
        if removal is not None:
            store = self.world.store
            self._call(
                session,
                lambda: store.remove(self.number, removal),
                lambda _: session.removed(removal),
                lambda: session.remove_failed(removal),
            )
        self.perform(session, [])

    def _call(
        self,
        session: Session,
        carry_out: Callable[[], Any],
        answer: Callable[[Any], list[Effect]],
        fail: Callable[[], list[Effect]],
    ) -> None:
        self.calls.append(Call(carry_out, answer, fail, session))


class World(RuleBasedStateMachine):
    """One customer. Subclasses say how many instances there are, and what the store knows."""

    instances_number = 1
    numbers_known = True
    acknowledges_late = True
    # Whether connections prove that messages arrived by answering pings, for clients that never acknowledge.
    has_heartbeats = False

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.store = ModelStore(numbers_known=self.numbers_known)
        self.instances = [Instance(self, number) for number in range(self.instances_number)]
        self.connections: list[Connection] = []
        self.asks: list[tuple[Instance, str]] = []
        # (connection, message) in the order in which they were sent.
        self.sends: list[tuple[str, int]] = []
        # What the client has acknowledged, and LCH has heard of.
        self.acked: set[int] = set()
        self.no_acknowledgements_seen = False

    def sent(self, delivery: Delivery, message: Message) -> None:
        number = delivery.number
        assert number == message.number
        assert number not in self.acked, f"{number} goes out again after its acknowledgement"
        connection = next(each for each in self.connections if each.name == delivery.connection)
        firsts = {number for _, number in self.sends}
        if number not in firsts:
            assert number > max(firsts, default=0), f"{number} goes out after {max(firsts)}"
        if not self.no_acknowledgements_seen:
            before = [number for name, number in self.sends if name == connection.name]
            assert number > max(before, default=0), f"{number} goes out after {before} on one connection"
        self.sends.append((connection.name, number))
        if connection.open:
            connection.unacknowledged.append(delivery)

    def open_connections(self) -> list[Connection]:
        return [connection for connection in self.connections if connection.open]

    # What happens

    @rule(at=st.integers(0, 1))
    def webhook(self, at: int) -> None:
        instance = self.instances[at % len(self.instances)]
        message, before, here = self.store.put(instance.number)
        if instance.session is not None and (here or instance.session.connection is not None):
            instance.perform(instance.session, instance.session.stored(message, before))

    @rule(at=st.integers(0, 1), speaks=st.booleans(), is_older=st.booleans())
    def a_new_connection(self, at: int, speaks: bool, is_older: bool) -> None:
        self.connections.append(Connection(f"s{len(self.connections)}", at % len(self.instances)))
        self._attach(self.connections[-1], speaks, is_older)

    @precondition(lambda self: self.open_connections())
    @rule(data=st.data(), is_older=st.booleans())
    def the_customer_speaks_again(self, data: st.DataObject, is_older: bool) -> None:
        self._attach(data.draw(st.sampled_from(self.open_connections())), True, is_older)

    def _attach(self, connection: Connection, speaks: bool, is_older: bool) -> None:
        self.now += 1
        instance = self.instances[connection.instance]
        session = instance.get()
        current = session.connection
        is_older = is_older and any(each.name == current and each.open for each in self.connections)
        if not speaks:
            connection.has_resumed = True
            instance.perform(session, session.resumed(connection.name, self.now, is_older=is_older))
            return
        effects = session.spoke(connection.name, self.now, is_older=is_older)
        # The message to DMS is stored, and claims the customer.
        self.store.claim(instance.number, self.now, False)
        shared = len(self.instances) > 1
        instance.perform(session, effects + session.calls.heard(may_have_been_elsewhere=shared))

    @precondition(lambda self: self.asks)
    @rule()
    def a_connection_is_asked_whether_it_is_alive(self) -> None:
        instance, name = self.asks.pop(0)
        if instance.session is not None and any(each.name == name and each.open for each in self.connections):
            instance.perform(instance.session, instance.session.alive(name))

    @precondition(lambda self: self.open_connections())
    @rule(data=st.data(), was_dead=st.booleans())
    def a_connection_closes(self, data: st.DataObject, was_dead: bool) -> None:
        self._close(data.draw(st.sampled_from(self.open_connections())), was_dead=was_dead)

    def _close(self, connection: Connection, *, was_dead: bool = False) -> None:
        connection.open = False
        instance = self.instances[connection.instance]
        if instance.session is not None:
            instance.perform(instance.session, instance.session.detached(connection.name, was_dead=was_dead))

    @precondition(lambda self: self._owing())
    @rule(data=st.data())
    def an_acknowledgement(self, data: st.DataObject) -> None:
        connection = data.draw(st.sampled_from(self._owing()))
        self._acknowledge(connection, data.draw(st.integers(0, len(connection.unacknowledged) - 1)))

    def _owing(self) -> list[Connection]:
        return [each for each in self.connections if each.unacknowledged and (each.open or self.acknowledges_late)]

    @precondition(lambda self: self.has_heartbeats and any(each.unacknowledged for each in self.open_connections()))
    @rule(data=st.data())
    def a_heartbeat_that_proves_delivery(self, data: st.DataObject) -> None:
        connection = data.draw(st.sampled_from([each for each in self.open_connections() if each.unacknowledged]))
        self.no_acknowledgements_seen = True
        self._acknowledge(connection, 0, by_heartbeat=True)

    def _acknowledge(self, connection: Connection, index: int, *, by_heartbeat: bool = False) -> None:
        delivery = connection.unacknowledged.pop(index)
        self.acked.add(delivery.number)
        instance = self.instances[connection.instance]
        session = instance.get()
        instance.perform(session, session.acknowledged(delivery, by_heartbeat=by_heartbeat))

    # The store and the clock

    def _calls(self) -> list[tuple[Instance, Call]]:
        return [(instance, call) for instance in self.instances for call in instance.calls]

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
    @rule(data=st.data())
    def a_call_fails(self, data: st.DataObject) -> None:
        instance, call = data.draw(st.sampled_from(self._calls()))
        instance.calls.remove(call)
        instance.perform(call.session, call.fail())

    @precondition(lambda self: self._calls())
    @rule()
    def all_calls_are_answered(self) -> None:
        while calls := self._calls():
            self._answer(*calls[0])

    @precondition(lambda self: self._has_to_look_after())
    @rule()
    def time_passes(self) -> None:
        for instance in self.instances:
            self._look_after(instance)

    def _has_to_look_after(self) -> bool:
        return bool(self.store.due) or any(each.removal_wanted or each.retry_wanted for each in self.instances)

    def _look_after(self, instance: Instance) -> None:
        if instance.removal_wanted:
            instance.flush()
        if instance.retry_wanted:
            instance.retry_wanted = False
            session = instance.get()
            instance.perform(session, session.retry())
        if instance.number in self.store.due:
            self.store.due.discard(instance.number)
            if instance.session is not None:
                instance.perform(instance.session, instance.session.due())

    def _carry_out(self, call: Call) -> None:
        if not call.carried_out:
            call.carried_out, call.result = True, call.carry_out()

    def _answer(self, instance: Instance, call: Call) -> None:
        self._carry_out(call)
        instance.calls.remove(call)
        instance.perform(call.session, call.answer(call.result))

    # What must hold

    @invariant()
    def nothing_leaves_the_mailbox_unacknowledged(self) -> None:
        missing = set(range(1, self.store.last_number + 1)) - set(self.store.mailbox)
        assert missing <= self.acked

    def _settle(self) -> None:
        """Everything that was begun ends, and the client acknowledges what it gets."""
        for _ in range(1000):
            calls = self._calls()
            if calls:
                self._answer(*calls[0])
                continue
            if self.asks:
                self.a_connection_is_asked_whether_it_is_alive()
                continue
            waiting = [each for each in self.open_connections() if each.unacknowledged]
            if waiting:
                self._acknowledge(waiting[0], 0)
                continue
            before = (list(self.sends), list(self.store.mailbox))
            for instance in self.instances:
                self._look_after(instance)
            busy = any(instance.retry_wanted or instance.removal_wanted for instance in self.instances)
            if not busy and not self._calls() and before == (list(self.sends), list(self.store.mailbox)):
                return
        raise AssertionError("it does not settle")

    def teardown(self) -> None:
        self._settle()
        if any(each.has_resumed for each in self.open_connections()[-MAX_RESUMED:]):
            assert self.store.mailbox == [], "a connection that stands by gets nothing"
        self.a_new_connection(0, True, False)
        self._settle()
        assert self.store.mailbox == []
        assert {number for _, number in self.sends} == set(range(1, self.store.last_number + 1))
        for connection in self.open_connections():
            self._close(connection)
        self._settle()
        assert [instance.session for instance in self.instances] == [None] * len(self.instances)
        assert not self.store.leases


class OneInstanceThatKnowsNumbers(World):
    """As with SQLite."""


class OneInstance(World):
    numbers_known = False
    has_heartbeats = True


class TwoInstances(World):
    """As with Redis. An acknowledgement on a connection that is closed is not heard: the other instance may have sent the
    message anew by then."""

    instances_number = 2
    numbers_known = False
    acknowledges_late = False


_EXAMPLES = int(os.environ.get("EXAMPLES", "100"))
for _world in (OneInstanceThatKnowsNumbers, OneInstance, TwoInstances):
    _world.TestCase.settings = settings(max_examples=_EXAMPLES, stateful_step_count=50, deadline=None)
TestOneInstanceThatKnowsNumbers = OneInstanceThatKnowsNumbers.TestCase
TestOneInstance = OneInstance.TestCase
TestTwoInstances = TwoInstances.TestCase
