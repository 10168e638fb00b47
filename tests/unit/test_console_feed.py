"""Whom the console's feed tells what, and that it rests while nobody looks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from lchook.console.events import Filter, Redactor
from lchook.console.feed import Feed, Sources
from lchook.console.history import History
from lchook.console.time_series import TimeSeries
from lchook.core import events
from lchook.logs import LogEntry
from lchook.store import CustomerBacklog, MailboxBacklog, OutboxBacklog, StoreError
from tests.support.waiting import wait_until


class StoreDouble:
    def __init__(self) -> None:
        self.looks = 0
        self.fails = False

    def mailbox_backlog(self) -> MailboxBacklog:
        self.looks += 1
        if self.fails:
            raise StoreError("away")
        return MailboxBacklog(3, 1, 12.34)

    def outbox_backlog(self) -> OutboxBacklog:
        return OutboxBacklog(2, 1.26)

    def customer_backlogs(self, limit: int) -> list[CustomerBacklog]:
        return [CustomerBacklog("c1", 3, 12.34)]


class World:
    """A feed, its consoles' packets, and its tasks."""

    def __init__(self) -> None:
        self.history = History(1000)
        self.store: Any = StoreDouble()
        self.told: list[tuple[str, str, dict[str, Any]]] = []
        self.closed: list[str] = []
        self.does_not_read: set[str] = set()
        self.tasks: list[threading.Thread] = []
        sources = Sources(
            connections=lambda: 5,
            customers=lambda: 4,
            under_way=lambda: 1,
            on_the_way=lambda: 2,
            whereabouts=lambda customer_id: (True, 2),
            store=self.store,
        )
        self.feed = Feed(
            sources,
            time_series=TimeSeries(),
            history=self.history,
            redactor=Redactor([]),
            about={"instance": "here"},
            emit=lambda sid, event, data: self.told.append((sid, event, data)),
            unsent=lambda sid: 10**9 if sid in self.does_not_read else 0,
            close=self.closed.append,
            start_task=self.start_task,
        )

    def start_task(self, function: Any) -> None:
        self.tasks.append(threading.Thread(target=function, daemon=True))
        self.tasks[-1].start()

    def happens(self, times: int = 1) -> None:
        for _ in range(times):
            self.history.append(LogEntry(1.0, "info", "to_dms", events.SENT_TO_DMS, "to DMS: sent", {"customer": "c1"}))

    def of(self, sid: str, name: str) -> list[Any]:
        """What this console was told, by the name of one of its parts."""
        return [data[name] for to, _, data in list(self.told) if to == sid and name in data]

    def wait_for(self, sid: str, name: str) -> Any:
        return wait_until(lambda: self.of(sid, name), f"{name} for {sid}")[-1]

    def numbers(self, sid: str) -> list[int]:
        return [event["n"] for events in self.of(sid, "events") for event in events]


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    for sid in ("a", "b", "c"):
        world.feed.leave(sid)
    for task in world.tasks:
        task.join(5)
        assert not task.is_alive()


def test_nothing_runs_and_the_store_is_not_asked_while_nobody_looks(world: World) -> None:
    world.happens()
    assert not world.feed.is_running
    world.feed.join("a")
    world.feed.join("b")
    assert len(world.tasks) == 1
    world.wait_for("b", "waiting")
    world.feed.leave("a")
    assert world.feed.is_running
    world.feed.leave("b")
    wait_until(lambda: not world.feed.is_running, "the end of the task")
    world.tasks[0].join(5)
    looks = world.store.looks
    world.feed.join("c")
    assert len(world.tasks) == 2
    wait_until(lambda: world.store.looks > looks, "another look at the store")


def test_a_console_is_told_the_latest_at_first_and_each_event_once_from_then_on(world: World) -> None:
    world.happens(2)
    world.feed.join("a")
    assert world.numbers("a") == [1, 2]
    world.happens(3)
    wait_until(lambda: world.numbers("a") == [1, 2, 3, 4, 5], "the others")
    world.feed.join("b")
    assert world.numbers("b") == [1, 2, 3, 4, 5]
    world.happens()
    wait_until(lambda: world.numbers("a")[-1] == world.numbers("b")[-1] == 6, "the last one, for both")


def test_of_very_many_events_consoles_get_the_latest_and_how_many_are_missing(world: World) -> None:
    world.feed.join("a")
    world.wait_for("a", "waiting")
    world.happens(5000)
    missing = world.wait_for("a", "missing")
    told = world.of("a", "events")[1:]
    assert max(len(events) for events in told) <= 100
    wait_until(lambda: world.numbers("a")[-1] == 5000, "the latest event")
    assert sum(world.of("a", "missing")) + sum(len(events) for events in world.of("a", "events")) == 5000
    assert missing > 0


def test_figures_and_what_waits_are_told_when_they_change(world: World) -> None:
    world.feed.join("a")
    wait_until(lambda: len(world.of("a", "waiting")) == 2, "what waits")
    assert world.of("a", "now")[-1] == {"connections": 5, "customers": 4, "under_way": 1, "on_the_way": 2}
    assert world.of("a", "waiting")[-1] == {
        "messages": 3,
        "customers": 1,
        "oldest_seconds": 12.3,
        "outbox": 2,
        "outbox_oldest_seconds": 1.3,
        "list": [["c1", 3, 12.3, True, 2]],
    }
    world.happens()
    wait_until(lambda: world.numbers("a") == [1], "the event")
    assert (len(world.of("a", "now")), len(world.of("a", "waiting"))) == (2, 2)


def test_a_store_that_fails_is_said_to_and_the_feed_goes_on(world: World) -> None:
    world.store.fails = True
    world.feed.join("a")
    wait_until(lambda: {"error": "the store does not answer"} in world.of("a", "waiting"), "the word of it")
    world.happens()
    wait_until(lambda: world.numbers("a") == [1], "the event")


def test_a_console_that_does_not_read_is_closed_and_the_others_go_on(world: World) -> None:
    world.does_not_read.add("b")
    world.feed.join("a")
    world.feed.join("b")
    world.happens()
    wait_until(lambda: world.closed == ["b"], "its end")
    wait_until(lambda: 1 in world.numbers("a"), "the event for the other")


def test_questions_are_answered_from_all_that_is_remembered(world: World) -> None:
    world.happens(400)
    answer = world.feed.find(Filter(customer="c1", exact=True), 300)
    assert (len(answer["events"]), answer["complete"], answer["number"]) == (300, False, 400)
    assert world.feed.find(Filter(customer="c2", exact=True), 300)["events"] == []
