"""core/feed.py against a model: entries, outcomes, connections, acknowledgements and the store's answers in any order.

The model has one log and two instances. A reading is carried out at some moment after it was asked for, and answered at some
later one, or never: then the feed is told that it failed, whether it was carried out or not. News may be late, and doubled.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lchook.core.conversation import Entries, Entry
from lchook.core.delivery import Removal
from lchook.core.feed import (
    MAX_IN_FLIGHT,
    Effect,
    Feed,
    Read,
    RemoveQueued,
    RetryLater,
    SendEntry,
    SendPage,
    SendStatus,
    SentEntries,
    Unfollow,
)

PAGE = 3


class ModelLog:
    """What `lchook.store` promises, for one customer."""

    def __init__(self) -> None:
        self.last = 0
        self.entries: dict[int, Entry] = {}
        self.mailbox: set[int] = set()
        self.followers: set[int] = set()
        self.news: set[int] = set()

    def append(self, origin: str) -> None:
        self.last += 1
        number = self.last
        queued = number if origin == "dms" else 0
        self.entries[number] = Entry(number, "", "dms" if queued else "customer", f"<{number}>", queued=queued)
        if queued:
            self.mailbox.add(queued)
        self.tell()

    def has_outcome(self, number: int) -> None:
        self.last += 1
        entry = self.entries[number]
        entry.outcome, entry.changed = '{"status":"sent"}', self.last
        self.tell()

    def tell(self) -> None:
        self.news |= self.followers

    def read(self, instance: int, asked: Read) -> Entries:
        self.followers.add(instance)
        if asked.joins and asked.after <= self.last:
            self.mailbox -= {number for number in self.mailbox if number <= asked.after}
        copies = [
            Entry(
                each.number,
                "",
                each.origin,
                each.text,
                each.outcome,
                each.changed,
                each.queued & -(each.queued in self.mailbox),
            )
            for each in self.entries.values()
        ]
        found = [each for each in copies if each.number > asked.after]
        changes = [each for each in copies if each.number <= asked.after and each.changed > asked.changed_after]
        return Entries(found[:PAGE], changes, len(found) > PAGE, self.last + 1)


@dataclass(eq=False)
class Client:
    """A connection, and what it was sent. `statuses` is what it believes of each of the customer's entries."""

    name: str
    instance: int
    after: int
    known: dict[int, str] = field(default_factory=dict)
    got: list[int] = field(default_factory=list)
    is_complete: bool = False
    unacknowledged: list[SentEntries] = field(default_factory=list)
    # How it stood after each event, and after how many of them it stands for sure.
    history: list[tuple[int, dict[int, str]]] = field(default_factory=lambda: [(0, {})])
    sure: int = 0

    def note(self) -> None:
        self.history.append((len(self.got), dict(self.known)))


@dataclass(eq=False)
class Call:
    read: Read
    feed: Feed
    answer: Entries | None = None


class Conversation(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.log = ModelLog()
        self.feeds = [Feed("c"), Feed("c")]
        self.calls: list[Call] = []
        self.removals: list[tuple[Feed, Removal]] = []
        self.retries: list[Feed] = []
        self.clients: dict[str, Client] = {}
        self.gone: list[Client] = []
        self.late: list[tuple[Feed, SentEntries]] = []
        self.acknowledged: set[int] = set()
        self.count = 0

    # What happens

    @rule(origin=st.sampled_from(["customer", "dms"]))
    def somebody_speaks(self, origin: str) -> None:
        self.log.append(origin)

    @precondition(lambda self: self.pending())
    @rule(data=st.data())
    def dms_has_it(self, data: st.DataObject) -> None:
        self.log.has_outcome(data.draw(st.sampled_from(self.pending())))

    @rule(instance=st.integers(0, 1))
    def connects(self, instance: int) -> None:
        self.join(instance, Client("", instance, 0))

    @precondition(lambda self: self.gone)
    @rule(instance=st.integers(0, 1), data=st.data())
    def connects_again(self, instance: int, data: st.DataObject) -> None:
        """With what it has, and maybe with its cursor's loss."""
        before = data.draw(st.sampled_from(self.gone))
        after = before.got[-1] if before.got else before.after
        self.join(instance, Client("", instance, after, dict(before.known)))

    @rule(instance=st.integers(0, 1))
    def connects_with_a_cursor_from_elsewhere(self, instance: int) -> None:
        client = Client("", instance, 0)
        self.join(instance, client, after=10**12)

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def closes(self, data: st.DataObject) -> None:
        client = self.clients.pop(data.draw(st.sampled_from(sorted(self.clients))))
        self.gone.append(client)
        feed = self.feeds[client.instance]
        # What was sent last may not have arrived.
        arrived = data.draw(st.integers(client.sure, len(client.history) - 1))
        count, client.known = client.history[arrived]
        del client.got[count:]
        self.late += [(feed, sent) for sent in client.unacknowledged if sent.sent_at <= arrived]
        self.perform(feed, feed.leave(client.name))

    @precondition(lambda self: any(client.unacknowledged for client in self.clients.values()))
    @rule(data=st.data(), twice=st.booleans())
    def acknowledges(self, data: st.DataObject, twice: bool) -> None:
        client = self.clients[data.draw(st.sampled_from([n for n, c in self.clients.items() if c.unacknowledged]))]
        sent = client.unacknowledged.pop(data.draw(st.integers(0, len(client.unacknowledged) - 1)))
        for _ in range(1 + twice):
            self.acknowledge(self.feeds[client.instance], sent)
        client.sure = max(client.sure, int(sent.sent_at))

    @precondition(lambda self: self.late)
    @rule()
    def a_late_acknowledgement_comes(self) -> None:
        self.acknowledge(*self.late.pop())

    @precondition(lambda self: self.log.news)
    @rule(data=st.data(), twice=st.booleans())
    def news_comes(self, data: st.DataObject, twice: bool) -> None:
        instance = data.draw(st.sampled_from(sorted(self.log.news)))
        if not twice:
            self.log.news.discard(instance)
        self.perform(self.feeds[instance], self.feeds[instance].news())

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def the_store_reads(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(self.calls))
        if call.answer is None:
            call.answer = self.log.read(self.feeds.index(call.feed), call.read)

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def the_store_answers(self, data: st.DataObject) -> None:
        self.answer(data.draw(st.sampled_from(self.calls)))

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def the_store_fails(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(self.calls))
        self.calls.remove(call)
        self.perform(call.feed, call.feed.read_failed())

    @precondition(lambda self: self.removals)
    @rule(fails=st.booleans())
    def the_store_removes(self, fails: bool) -> None:
        feed, removal = self.removals.pop(0)
        self.log.mailbox -= set(removal.numbers)
        self.perform(feed, feed.remove_failed(removal) if fails else feed.removed(removal))

    @precondition(lambda self: self.retries)
    @rule()
    def some_time_passes(self) -> None:
        feed = self.retries.pop()
        self.perform(feed, feed.retry())

    # What must hold

    @invariant()
    def at_most_one_reading_is_under_way_for_each_instance(self) -> None:
        assert len({id(call.feed) for call in self.calls}) == len(self.calls)

    @invariant()
    def what_waits_to_be_read_is_being_read_or_has_no_room(self) -> None:
        for feed in self.feeds:
            if any(call.feed is feed for call in self.calls) or feed in self.retries:
                continue
            assert not [each for each in feed.followers.values() if each.is_behind and each.has_room]

    def teardown(self) -> None:
        for _ in range(20_000):
            if not self.go_on():
                break
        else:
            raise AssertionError("it never ends")
        for client in self.clients.values():
            assert client.is_complete
            assert client.got == [number for number in self.log.entries if number > client.after]
            for number, entry in self.log.entries.items():
                if entry.origin == "customer":
                    assert client.known[number] == ("sent" if entry.outcome else "pending")
        assert not self.acknowledged & self.log.mailbox
        if self.clients:
            assert not self.log.mailbox & {number for client in self.clients.values() for number in client.got}
        for instance, feed in enumerate(self.feeds):
            has_followers = any(client.instance == instance for client in self.clients.values())
            assert (instance in self.log.followers) == has_followers
            assert feed.is_idle is not has_followers

    def go_on(self) -> bool:
        """Let everything happen that is still to happen. Was there something?"""
        if self.calls:
            self.answer(self.calls[0])
        elif self.removals:
            self.the_store_removes(fails=False)
        elif self.retries:
            self.some_time_passes()
        elif self.log.news:
            instance = self.log.news.pop()
            self.perform(self.feeds[instance], self.feeds[instance].news())
        else:
            client = next((each for each in self.clients.values() if each.unacknowledged), None)
            if client is None:
                return False
            self.acknowledge(self.feeds[client.instance], client.unacknowledged.pop(0))
        return True

    # How it is performed

    def pending(self) -> list[int]:
        return [number for number, each in self.log.entries.items() if each.origin == "customer" and not each.outcome]

    def join(self, instance: int, client: Client, after: int | None = None) -> None:
        self.count += 1
        client.name = f"client {self.count}"
        client.history = [(0, dict(client.known))]
        self.clients[client.name] = client
        feed = self.feeds[instance]
        self.perform(feed, feed.join(client.name, client.after if after is None else after))

    def acknowledge(self, feed: Feed, sent: SentEntries) -> None:
        self.acknowledged |= {entry.number for entry in sent.entries if entry.origin == "dms"}
        self.perform(feed, feed.acknowledged(sent))

    def answer(self, call: Call) -> None:
        self.calls.remove(call)
        answer = call.answer or self.log.read(self.feeds.index(call.feed), call.read)
        self.perform(call.feed, call.feed.read(answer))

    def perform(self, feed: Feed, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Read():
                    self.calls.append(Call(effect, feed))
                case SendPage(sent, complete):
                    client = self.clients[sent.connection]
                    assert not client.unacknowledged
                    assert not client.is_complete
                    assert len(sent.entries) <= PAGE
                    assert complete or sent.entries
                    client.is_complete = complete
                    self.receive(client, sent)
                case SendEntry(sent):
                    client = self.clients[sent.connection]
                    assert client.is_complete
                    assert len(client.unacknowledged) < MAX_IN_FLIGHT + PAGE
                    self.receive(client, sent)
                case SendStatus(connection, entry):
                    assert entry.number in self.clients[connection].known
                    self.clients[connection].known[entry.number] = "sent"
                    self.clients[connection].note()
                case RemoveQueued():
                    if (removal := feed.removal()) is not None:
                        self.removals.append((feed, removal))
                case RetryLater():
                    self.retries.append(feed)
                case Unfollow():
                    self.log.followers.discard(self.feeds.index(feed))
                    self.log.news.discard(self.feeds.index(feed))

    def receive(self, client: Client, sent: SentEntries) -> None:
        for entry in sent.entries:
            assert entry.number > (client.got[-1] if client.got else client.after)
            client.got.append(entry.number)
            if entry.origin == "customer":
                client.known[entry.number] = "sent" if entry.outcome else "pending"
        client.unacknowledged.append(sent)
        # With this event.
        sent.sent_at = len(client.history)
        client.note()


TestConversation = Conversation.TestCase
TestConversation.settings = settings(
    max_examples=int(os.environ.get("EXAMPLES", "40")), stateful_step_count=50, deadline=None
)


def entries(*numbers: int, **fields: int) -> list[Entry]:
    return [Entry(number, "", "dms", "x" * fields.get("size", 1)) for number in numbers]


def follow(feed: Feed, connection: str = "a", after: int = 0) -> None:
    feed.join(connection, after)
    feed.read(Entries([], [], more=False, latest=10**6))
    feed.acknowledged(SentEntries("c", feed._last_number, connection))


def test_one_reading_serves_all_who_are_as_far() -> None:
    feed = Feed("c")
    follow(feed)
    follow(feed, "b")
    assert feed.news() == [Read(0, 0, joins=False)]
    effects = feed.read(Entries(entries(1, 2), [], more=False, latest=3))
    sent = [(effect.sent.connection, effect.sent.entries[0].number) for effect in effects if isinstance(effect, SendEntry)]
    assert sorted(sent) == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]


def test_who_does_not_acknowledge_gets_no_more_than_has_room() -> None:
    feed = Feed("c")
    follow(feed)
    feed.news()
    effects = feed.read(Entries(entries(1, 2, size=600_000), [], more=False, latest=3))
    assert len(effects) == 2
    assert feed.news() == []
    assert isinstance(effects[0], SendEntry)
    assert feed.acknowledged(effects[0].sent) == [Read(2, 0, joins=False)]


def test_a_reading_for_several_has_the_changes_that_any_of_them_lacks() -> None:
    feed = Feed("c")
    follow(feed, "a", 10)
    follow(feed, "b", 20)
    assert feed.news() == [Read(10, 10, joins=False)]


def test_each_who_joins_has_a_reading_of_its_own() -> None:
    """What they say that they have seen is out of the mailbox with it."""
    feed = Feed("c")
    nothing = Entries([], [], more=False, latest=10**6)
    assert feed.join("a", 3) == [Read(3, 3, joins=True)]
    assert feed.join("b", 5) + feed.join("c", 7) == []
    assert feed.read(nothing)[-1] == Read(5, 5, joins=True)
    assert feed.read(nothing)[-1] == Read(7, 7, joins=True)
