"""The conversation of all stores: SQLite in memory and in a file, and Redis; with two instances where there can be two."""

from __future__ import annotations

import itertools
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from lchook.core.conversation import Entries, Entry, entry_json, status_json, status_of
from lchook.core.outbox_effects import Queued, Submission
from lchook.core.outcomes import UNKNOWN_OUTCOME, Outcome
from lchook.store import Store, StoreListener
from lchook.store.redis import RedisStore
from lchook.store.sqlite import SqliteStore
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until
from tests.unit.conftest import Clock, start_thread

_tickets = itertools.count(1)
SENT = Outcome("sent", dms_status=200)


@dataclass
class Stores:
    """On the same data."""

    kind: str
    create: Callable[..., Store]
    later: Callable[[float], None]
    die: Callable[[Store], None]


@pytest.fixture(params=["memory", "file", "redis"])
def stores(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    clock: Clock,
    redis_server: RedisServer,
    redis_prefix: str,
    closed_redis_stores: list[RedisStore],
) -> Iterator[Stores]:
    made: list[Any] = []

    def create(*, ttl: float = 3600.0, size: int = 500, listener: StoreListener | None = None) -> Store:
        bounds: dict[str, Any] = {
            "ttl_seconds": 60,
            "size": 10,
            "conversation_ttl_seconds": ttl,
            "conversation_size": size,
        }
        if request.param == "redis":
            made.append(RedisStore(redis_server.url, prefix=redis_prefix, **bounds))
        else:
            path = tmp_path / "lchook.sqlite3" if request.param == "file" else None
            made.append(SqliteStore(path, clock=clock, **bounds))
        if listener is not None or request.param != "redis":
            made[-1].open(listener or StoreListener.null(), start_thread)
        store: Store = made[-1]
        return store

    def later(seconds: float) -> None:
        if request.param == "redis":
            time.sleep(seconds)
        else:
            clock.now += seconds

    def die(store: Any) -> None:
        if request.param == "redis":
            with redis_server.client() as client:
                client.set(f"{redis_prefix}ended:{store._instance}", "")
                client.delete(f"{redis_prefix}alive:{store._instance}")
        else:
            os.close(store._processes._lock)
            store._processes._lock = None

    yield Stores(request.param, create, later, die)
    for store in made:
        store.close()
    closed_redis_stores += [store for store in made if isinstance(store, RedisStore)]


@pytest.fixture
def store(stores: Stores) -> Store:
    return stores.create()


def say(store: Store, *texts: str, customer_id: str = "c", **fields: Any) -> Queued | None:
    """The customer says something, which is to be posted at once if nothing else is."""
    submissions = [
        Submission(fields.get("key", f"{customer_id} {text}"), str(next(_tickets)), text, json.dumps({"text": [text]}))
        for text in texts
    ]
    return store.enqueue(customer_id, submissions, take=True).taken.first


def hear(store: Store, *texts: str, customer_id: str = "c") -> None:
    """DMS says something."""
    for text in texts:
        store.put(customer_id, json.dumps({"text": [text]}), None)


def read(store: Store, after: int = 0, changed_after: int | None = None, *, joins: bool = False, who: str = "c") -> Entries:
    return store.read_conversation(who, after, after if changed_after is None else changed_after, joins=joins)


def texts(entries: Entries) -> list[str]:
    return [json.loads(entry.text)["text"][0] for entry in entries.entries]


def waiting(store: Store, customer_id: str = "c") -> list[str]:
    messages = store.fetch(customer_id, 0, 100).messages
    return [json.loads(message.text)["text"][0] for message in messages]


def test_both_sides_are_in_one_order_for_each_customer(store: Store) -> None:
    say(store, "1")
    hear(store, "2", "3")
    say(store, "4", "5")
    hear(store, "for another", customer_id="other")

    found = read(store)
    assert texts(found) == ["1", "2", "3", "4", "5"]
    assert [entry.origin for entry in found.entries] == ["customer", "dms", "dms", "customer", "customer"]
    numbers = [entry.number for entry in found.entries]
    assert numbers == sorted(set(numbers))
    assert found.latest > numbers[-1]
    assert not found.more
    assert texts(read(store, numbers[2])) == ["4", "5"]
    assert texts(read(store, who="other")) == ["for another"]
    assert read(store, who="nobody")[:3] == ([], [], False)


def test_an_entry_on_the_wire(store: Store) -> None:
    queued = say(store, "1")
    hear(store, "2")
    first, second = (json.loads(entry_json(entry)) for entry in read(store).entries)
    assert set(first) == {"cursor", "at", "from", "payload", "status"}
    assert set(second) == set(first) - {"status"}
    assert (first["from"], first["payload"], first["status"]) == ("customer", {"text": ["1"]}, "pending")
    assert (second["from"], second["payload"]) == ("dms", {"text": ["2"]})
    assert first["cursor"] < second["cursor"]
    assert len(first["cursor"]) == 16
    assert first["at"].endswith("Z")
    assert first["at"][10] == "T"
    assert len(first["at"]) == 24

    assert queued is not None
    store.complete("c", queued, replace(SENT, message_id="1"), take=False, tell_later=False, remember_seconds=60)
    [changed] = read(store, int(second["cursor"])).changes
    assert json.loads(status_json(changed)) == {
        "cursor": first["cursor"],
        "message_id": "1",
        "status": "sent",
        "dms_status": 200,
    }


def test_repeats_make_no_second_entry(store: Store) -> None:
    say(store, "1")
    say(store, "1")
    assert store.put("c", '{"text":["2"]}', "same").kept
    assert not store.put("c", '{"text":["2"]}', "same").kept
    assert texts(read(store)) == ["1", "2"]


def test_the_outbox_s_outcome_is_the_entry_s_status_and_a_change_after_it(store: Store) -> None:
    first, after = say(store, "1", "2", "3"), read(store).entries
    assert [status_of(entry) for entry in after] == ["pending"] * 3
    assert first is not None
    second = store.complete("c", first, SENT, take=True, tell_later=False, remember_seconds=60).first
    assert second is not None
    failed = Outcome("failed", dms_status=400, error="DMS answered 400")
    store.complete("c", second, failed, take=True, tell_later=True, remember_seconds=60)

    assert [status_of(entry) for entry in read(store).entries] == ["sent", "failed", "pending"]
    found = read(store, after[-1].number)
    assert not found.entries
    assert [status_of(entry) for entry in found.changes] == ["sent", "failed"]
    assert found.changes[0].changed < found.changes[1].changed
    # Those that are known are not told again; and nobody is told of entries that they do not have.
    assert [status_of(entry) for entry in read(store, after[-1].number, found.changes[0].changed).changes] == ["failed"]
    assert [status_of(entry) for entry in read(store, after[0].number).changes] == ["sent"]
    # A later entry has a larger number than the changes before it.
    hear(store, "4")
    assert read(store).entries[-1].number > found.changes[1].changed


@pytest.mark.parametrize("stores", ["file", "redis"], indirect=True)
def test_what_a_dead_process_was_posting_has_an_unknown_outcome(stores: Stores) -> None:
    one, other = stores.create(), stores.create()
    assert say(one, "1") is not None
    stores.die(one)
    assert other.take("c").unknown
    [entry] = read(other).entries
    assert json.loads(entry.outcome) == {"message_id": "1", "status": "failed", "error": UNKNOWN_OUTCOME}


def test_so_many_entries_are_read_at_once_and_so_many_characters(store: Store) -> None:
    for number in range(150):
        hear(store, str(number))
    first = read(store)
    assert first.more
    assert texts(first) == [str(number) for number in range(100)]
    second = read(store, first.entries[-1].number)
    assert not second.more
    assert texts(second) == [str(number) for number in range(100, 150)]
    hear(store, *("x" * 300_000 for _ in range(3)))
    third = read(store, second.entries[-1].number)
    assert third.more
    assert len(third.entries) == 2
    assert len(read(store, third.entries[-1].number).entries) == 1


def test_the_oldest_entries_go_first(stores: Stores) -> None:
    store = stores.create(size=3)
    say(store, "0")
    hear(store, "1", "2", "3")
    hear(store, "1", customer_id="other")
    assert texts(read(store)) == ["1", "2", "3"]
    hear(store, "4", "5")
    assert texts(read(store)) == ["3", "4", "5"]
    assert texts(read(store, who="other")) == ["1"]


def test_entries_whose_time_is_over_are_neither_read_nor_kept(stores: Stores) -> None:
    store = stores.create(ttl=0.4)
    hear(store, "1")
    store.clear("c")
    stores.later(0.3)
    hear(store, "2")
    stores.later(0.2)
    assert texts(read(store)) == ["2"]
    store.expire()
    assert texts(read(store)) == ["2"]
    stores.later(0.3)
    assert read(store).entries == []
    assert store.forget("c").entries == 1
    hear(store, "3", customer_id="d")
    stores.later(0.5)
    store.expire()
    assert store.forget("d").entries == 0


def test_nothing_is_kept_where_it_is_off_and_what_was_kept_goes(stores: Stores) -> None:
    off = stores.create(ttl=0)
    say(off, "1")
    hear(off, "2")
    assert off.forget("c").entries == 0
    if stores.kind == "file":
        on = stores.create()
        hear(on, "3")
        off.expire()
        assert read(on).entries == []


@pytest.mark.parametrize("stores", ["file", "redis"], indirect=True)
def test_messages_that_the_conversation_lacks_are_in_it_for_who_joins(stores: Stores) -> None:
    old, store = stores.create(ttl=0), stores.create()
    hear(old, "1", "2")
    hear(store, "3")
    assert texts(read(store)) == ["3"]
    assert sorted(texts(read(store, joins=True))) == ["1", "2", "3"]
    assert sorted(texts(read(store, joins=True))) == ["1", "2", "3"]
    assert all(entry.queued for entry in read(store).entries)


def test_what_who_joins_has_seen_is_out_of_the_mailbox(store: Store) -> None:
    hear(store, "1", "2", "3")
    entries = read(store).entries
    assert all(entry.queued for entry in entries)
    read(store, entries[1].number, joins=True)
    assert waiting(store) == ["3"]
    assert [bool(entry.queued) for entry in read(store).entries] == [False, False, True]
    # Nobody has seen what is not there yet.
    found = read(store, 999_999_999_999_999_999, joins=True)
    assert waiting(store) == ["3"]
    assert found.latest < 999_999_999_999_999_999


@pytest.mark.parametrize("stores", ["file", "redis"], indirect=True)
def test_news_is_told_here_and_to_other_instances_with_followers(stores: Stores) -> None:
    heard: dict[str, list[str]] = {"one": [], "other": []}
    passed_on: list[str] = []
    one, other = (
        stores.create(
            listener=replace(StoreListener.null(), news=heard[name].append, now=lambda _, text: passed_on.append(text))
        )
        for name in heard
    )
    hear(one, "1")
    assert heard["one"] == ["c"]
    if stores.kind == "file":
        return
    assert heard["other"] == []
    read(other)

    def said() -> list[str]:
        return [text for text in passed_on if text != '"hello"']

    # It listens a moment after it was opened.
    wait_until(lambda: one.pass_on("c", '"hello"', to_followers=True) or passed_on, "that the other one listens")
    queued = say(one, "2")
    wait_until(lambda: len(heard["other"]) == 1, "news of an entry")
    assert queued is not None
    one.complete("c", queued, SENT, take=False, tell_later=False, remember_seconds=60)
    wait_until(lambda: len(heard["other"]) >= 2, "news of a status")
    one.pass_on("c", '"typing"', to_followers=True)
    wait_until(lambda: said() == ['"typing"'], "what is not kept")
    other.unfollow("c")
    before = len(heard["other"])
    hear(one, "3")
    one.pass_on("c", '"typing"', to_followers=True)
    read(other)
    hear(one, "4")
    wait_until(lambda: len(heard["other"]) > before, "news of those who follow again")
    assert said() == ['"typing"']


@pytest.mark.parametrize("stores", ["redis"], indirect=True)
def test_a_message_over_a_connection_that_follows_does_not_move_the_customer(stores: Stores) -> None:
    one, other = stores.create(), stores.create()
    one.claim("c", seconds_ago=0)
    follows = Submission("key", "1", "1", "{}", claims=False)
    one.add_status("c", "{}")
    assert not other.enqueue("c", [follows], take=True).statuses
    assert other.fetch("c", 0, 10).state == "elsewhere"
    assert one.fetch("c", 0, 10).state == "ours"


def test_forgetting_removes_all_of_somebody_and_nothing_of_others(stores: Stores) -> None:
    store = stores.create()
    for customer_id in ("c", "d"):
        done = say(store, "done", customer_id=customer_id)
        assert done is not None
        store.complete(customer_id, done, replace(SENT, message_id="done"), take=False, tell_later=True, remember_seconds=60)
        say(store, "under way", "waits", customer_id=customer_id)
        hear(store, "1", "2", customer_id=customer_id)
        store.add_status(customer_id, "{}")

    assert store.forget("c") == (2, 2, 1, 1, 5)
    assert store.forget("c") == (0, 0, 0, 0, 0)
    assert waiting(store) == []
    assert read(store).entries == []
    assert store.take_statuses("c") == []
    assert store.look("c", ["c done"])["c done"].status == "failed"
    assert waiting(store, "d") == ["1", "2"]
    assert len(read(store, who="d").entries) == 5
    assert store.look("d", ["d done"])["d done"].status == "sent"
    assert store.outbox_backlog().messages == 2
    # They may come back.
    again = say(store, "done")
    assert again is not None
    assert texts(read(store)) == ["done"]
    assert store.complete("c", again, SENT, take=True, tell_later=False, remember_seconds=60).first is None


def test_forgetting_while_a_message_is_being_posted(store: Store) -> None:
    queued = say(store, "1", "2")
    store.forget("c")
    assert queued is not None
    assert store.complete("c", queued, SENT, take=True, tell_later=True, remember_seconds=60).first is None
    assert store.forget("c") == (0, 0, 0, 0, 0)
    assert store.outbox_backlog().messages == 0


@pytest.mark.parametrize("stores", ["file"], indirect=True)
def test_what_was_forgotten_is_not_in_the_file(stores: Stores, tmp_path: Path) -> None:
    store = stores.create()
    hear(store, *(f"a secret {number} " * 100 for number in range(10)))
    say(store, "another secret")
    store.forget("c")
    for file in tmp_path.glob("lchook.sqlite3*"):
        assert b"secret" not in file.read_bytes(), file


def test_cost_is_flat_in_the_length_of_the_log(tmp_path: Path) -> None:
    """Rows of a thousand entries are not looked at for one that comes, nor for one that is read."""
    store = SqliteStore(
        tmp_path / "x.sqlite3", ttl_seconds=60, size=2000, conversation_ttl_seconds=60, conversation_size=2000
    )
    store.open(StoreListener.null(), start_thread)
    steps: dict[int, int] = {}

    def steps_of(count: int) -> None:
        db = store._db
        assert db is not None
        ticks = [0]

        def tick() -> int:
            ticks[0] += 1
            return 0

        db.set_progress_handler(tick, 10)
        store._run(lambda db: store._append(db, "c", "{}", store._clock(), at=0.0))
        store.read_conversation("c", int(store._clock() * 1e6) - 1, 0, joins=False)
        db.set_progress_handler(None, 0)
        steps[count] = ticks[0]

    for count in range(1200):
        if count in (100, 1100):
            steps_of(count)
        store._run(lambda db: store._append(db, "c", "{}", store._clock(), at=0.0))
    store.close()
    assert steps[1100] <= steps[100] + 5, steps


def test_a_file_of_format_2_is_migrated_in_place(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "lchook.sqlite3"
    db = sqlite3.connect(path)
    db.executescript(Path(__file__).with_name("sqlite_format_2.sql").read_text())
    db.close()
    clock.now = 1_790_000_020.0
    store = SqliteStore(path, ttl_seconds=60, size=10, clock=clock, conversation_ttl_seconds=60)
    store.open(StoreListener.null(), start_thread)
    assert waiting(store, "kim") == ["letter 0", "letter 1"]
    assert store.look("kim", ["sent", "failed"])["sent"] == SENT
    taken = store.take("kim")
    assert taken.first is not None
    assert taken.first.body == '{"text":["waits"]}'
    assert texts(read(store, joins=True, who="kim")) == ["letter 0", "letter 1"]
    assert [entry.at for entry in read(store, who="kim").entries] == ["2026-09-21T14:13:20.000Z", "2026-09-21T14:13:21.000Z"]
    # A process of the version before may still use it.
    old = sqlite3.connect(path)
    old.execute("INSERT INTO outbox VALUES (1, 'c', 1.0, 'k', 't', '1', 'text', '{}', '', 0)")
    old.execute("INSERT INTO to_dms VALUES ('k', 1.0, '', '{}')")
    old.commit()
    old.close()
    store.close()


def test_entries_come_back_as_they_were(store: Store) -> None:
    text = json.dumps({"text": ['Grüße:\n"x" 1:2:c:3 𝄞'], "n": 1e22})
    store.put('ümläut "quoted" :', text, None)
    [entry] = store.read_conversation('ümläut "quoted" :', 0, 0, joins=True).entries
    assert isinstance(entry, Entry)
    assert entry.text == text
