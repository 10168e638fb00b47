"""The flow of conversations on a real store in memory, with connections that do as a test says."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from lchook.core.feed import MAX_FOLLOWERS
from lchook.core.messages import MessageToCustomer
from lchook.flows.conversations import Conversations
from lchook.flows.to_customer import ToCustomer
from lchook.store import StoreError, StoreListener
from lchook.store.sqlite import SqliteStore
from tests.unit.conftest import start_thread

HEARTBEAT_SECONDS = 45.0


class FakeConnections:
    """They are there, and acknowledge at once, unless a test says otherwise."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, Any]] = []
        self.pending: list[Callable[..., object]] = []
        self.acknowledges = True
        self.closed: set[str] = set()
        self.ping_age = 0.0

    def emit(
        self, connection: str, payload: str, acknowledged: Callable[..., None], *, event: str = "serverMessage"
    ) -> None:
        self.sent.append((connection, event, json.loads(payload)))
        if self.acknowledges:
            acknowledged()
        else:
            self.pending.append(acknowledged)

    def send_event(self, connection: str, event: str, *args: Any) -> None:
        self.sent.append((connection, event, args[0]))

    def answered_ping_age(self, connection: str) -> float | None:
        return None if connection in self.closed else self.ping_age

    def is_older(self, connection: str, other: str) -> bool:
        return False

    def ask(self, connection: str, answered: Callable[[], object]) -> None:
        """They do not answer."""

    def of(self, connection: str, event: str) -> list[Any]:
        return [payload for name, what, payload in self.sent if (name, what) == (connection, event)]


class World:
    def __init__(self) -> None:
        self.now = 1000.0
        self.connections = FakeConnections()
        self.store = SqliteStore(None, ttl_seconds=60, size=100, conversation_ttl_seconds=3600)
        options: dict[str, Any] = {
            "ack_timeout_seconds": 10.0,
            "heartbeat_seconds": HEARTBEAT_SECONDS,
            "clock": lambda: self.now,
        }
        self.conversations = Conversations(self.store, self.connections, **options)
        self.to_customer = ToCustomer(self.store, self.connections, conversations=self.conversations, **options)
        news = self.conversations.news
        self.store.open(StoreListener(*(lambda *_: None for _ in range(4)), news=news), start_thread)

    def hear(self, *texts: str, type_: str = "text") -> None:
        for text in texts:
            payload = {"type": type_, "customer_id": "c", "message_id": text, "text": [text]}
            self.to_customer.deliver(MessageToCustomer("c", type_, payload), fingerprint=None)

    def texts(self, connection: str) -> list[str]:
        pages = [entry for page in self.connections.of(connection, "conversation") for entry in page["messages"]]
        live = self.connections.of(connection, "conversationMessage")
        return [entry["payload"]["text"][0] for entry in [*pages, *live]]

    def waiting(self) -> int:
        return len(self.store.fetch("c", 0, 100).messages)


@pytest.fixture
def world() -> World:
    return World()


def test_a_follower_s_acknowledgement_takes_the_message_out_of_the_mailbox(world: World) -> None:
    world.hear("1")
    assert world.waiting() == 1
    world.conversations.join("c", "a", 0)
    world.hear("2")
    assert world.texts("a") == ["1", "2"]
    assert world.waiting() == 0
    world.conversations.leave("a")
    world.hear("3")
    assert (world.waiting(), world.conversations.followers(), "c" in world.conversations) == (1, 0, False)
    assert world.conversations._feeds.all() == []


def test_pages_wait_for_acknowledgements_and_nothing_is_sent_in_between(world: World) -> None:
    world.hear(*(f"{number}" for number in range(99)), "99")
    world.store.remove([])
    world.connections.acknowledges = False
    for number in range(30):
        world.store.put("c", json.dumps({"text": [f"more {number}"]}), None)
    world.conversations.join("c", "a", 0)
    world.hear("live")
    assert [len(page["messages"]) for page in world.connections.of("a", "conversation")] == [100]
    world.connections.pending.pop(0)()
    pages = world.connections.of("a", "conversation")
    assert [(len(page["messages"]), page["complete"]) for page in pages] == [(100, False), (31, True)]
    world.hear("then")
    assert [entry["payload"]["text"] for entry in world.connections.of("a", "conversationMessage")] == [["then"]]


def test_who_never_acknowledges_is_served_by_heartbeats(world: World) -> None:
    world.connections.acknowledges = False
    world.hear("1")
    world.conversations.join("c", "a", 0)
    world.connections.ping_age = 1e9
    world.now += HEARTBEAT_SECONDS + 1
    world.conversations.tick()
    assert world.waiting() == 1, "its latest answer is to a ping from before"
    world.connections.ping_age = 1.0
    world.now += HEARTBEAT_SECONDS + 1
    world.conversations.tick()
    assert world.waiting() == 0
    assert world.conversations.counts["acknowledged_by_heartbeat"] == 1


def test_one_that_is_found_closed_is_given_up(world: World) -> None:
    world.connections.acknowledges = False
    world.conversations.join("c", "a", 0)
    world.connections.closed.add("a")
    world.now += HEARTBEAT_SECONDS + 1
    world.conversations.tick()
    assert world.conversations.followers() == 0
    world.conversations.join("c", "a", 0)
    assert world.conversations.followers() == 0


def test_what_is_not_kept_goes_to_all_who_follow_and_to_the_one_who_receives(world: World) -> None:
    for connection in ("a", "b"):
        world.conversations.join("c", connection, 0)
    world.to_customer.spoke("c", "plain")
    world.hear("typing", type_="typing_indicator")
    world.to_customer.send_status("c", {"message_id": 1, "status": "delayed"})
    world.to_customer.send_status("c", {"message_id": 1, "status": "sent"})
    for connection in ("a", "b", "plain"):
        assert len(world.connections.of(connection, "serverMessage")) == 1
    # What becomes of it they have from the conversation.
    assert [len(world.connections.of(connection, "messageStatus")) for connection in ("a", "b", "plain")] == [1, 1, 2]
    world.hear("1")
    assert [len(world.connections.of(connection, "serverMessage")) for connection in ("a", "b", "plain")] == [1, 1, 2]


def test_a_store_that_fails_is_asked_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise StoreError("away")

    world.conversations.join("c", "a", 0)
    with monkeypatch.context() as away:
        away.setattr(world.store, "read_conversation", fails)
        away.setattr(world.store, "remove", fails)
        world.hear("1")
        world.conversations.tick()
        assert world.texts("a") == []
    with monkeypatch.context() as away:
        away.setattr(world.store, "remove", fails)
        world.conversations.tick()
        assert world.texts("a") == ["1"]
        assert world.waiting() == 1
    world.conversations.tick()
    assert world.waiting() == 0


def test_so_many_follow_and_no_more(world: World) -> None:
    assert all(world.conversations.join("c", f"connection {number}", 0) for number in range(MAX_FOLLOWERS))
    assert not world.conversations.join("c", "one too many", 0)
    world.conversations.leave("connection 0")
    assert world.conversations.join("c", "one too many", 0)
