"""SQLite's file: what survives, what is refused, and how it recovers. With a whole LCH above it: tests/chaos."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lchook.core.outbox_effects import Queued, Submission
from lchook.core.outcomes import UNKNOWN_OUTCOME, Outcome
from lchook.store import (
    REMEMBER_SECONDS,
    REMEMBER_SENT_SECONDS,
    Removal,
    StoreError,
    StoreListener,
    UnknownFormatError,
    sqlite_outbox,
)
from lchook.store.checkpoints import Checkpoints
from lchook.store.group_commit import GroupCommit
from lchook.store.sqlite import SqliteStore
from tests.unit.conftest import Clock, start_thread

Create = Callable[[], SqliteStore]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "lchook.sqlite3"


@pytest.fixture
def create(path: Path, clock: Clock) -> Iterator[Create]:
    """Makes one process's store after the other, on one file."""
    made: list[SqliteStore] = []

    def create() -> SqliteStore:
        made.append(SqliteStore(path, ttl_seconds=60, size=10, clock=clock))
        made[-1].open(StoreListener.null(), start_thread)
        return made[-1]

    yield create
    for store in made:
        store.close()


def texts(store: SqliteStore) -> list[str]:
    return [message.text for message in store.fetch("c", 0, 100).messages]


def test_the_folder_is_made_and_messages_survive_a_process_that_never_closed(create: Create) -> None:
    create().put("c", "1", "fingerprint")

    assert texts(create()) == ["1"]
    assert not create().put("c", "1", "fingerprint").kept


def enqueue(store: SqliteStore, key: str) -> Queued | None:
    return store.enqueue("c", [Submission(key, key, 1, "{}")], take=True).taken.first


def send(store: SqliteStore, key: str) -> None:
    """A message comes and goes to DMS."""
    queued = enqueue(store, key)
    assert queued is not None
    sent = Outcome("sent", dms_status=200)
    store.complete("c", queued, sent, take=True, tell_later=False, remember_seconds=REMEMBER_SENT_SECONDS)


def state(store: SqliteStore, key: str) -> str:
    return store.enqueue("c", [Submission(key, f"again {key}", 1, "{}")], take=False).answers[0].state


def test_repeats_are_forgotten_in_time(create: Create, clock: Clock) -> None:
    store = create()
    store.put("c", "1", "fingerprint")
    send(store, "key")
    clock.now += REMEMBER_SECONDS - 1
    assert not store.put("c", "1", "fingerprint").kept
    clock.now += 2
    assert store.put("c", "1", "fingerprint").kept
    store.expire()
    assert state(store, "key") == "done"
    clock.now += REMEMBER_SENT_SECONDS - REMEMBER_SECONDS - 2
    assert state(store, "key") == "done"
    clock.now += 2
    store.expire()
    with sqlite3.connect(store._path) as db:  # type: ignore[arg-type]
        assert db.execute("SELECT (SELECT count(*) FROM seen), (SELECT count(*) FROM to_dms)").fetchone() == (0, 0)
    db.close()


def test_a_file_that_takes_the_place_of_a_deleted_one_does_not_number_its_messages_as_that_one_did(
    create: Create, path: Path
) -> None:
    store = create()
    for _ in range(50):
        store.put("c", "before", None)
    last = store.fetch("c", 0, 100).messages[-1].number
    path.unlink()
    store.put("c", "after", None)

    assert [message.text for message in store.fetch("c", last, 100).messages] == ["after"]


def test_a_file_of_another_version_is_refused_and_not_touched(create: Create, path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 4")
    db.close()
    before = path.read_bytes()

    with pytest.raises(UnknownFormatError, match="has format 4, and this version of LCH knows format 3"):
        create()
    assert path.read_bytes() == before


def test_a_foreign_database_is_refused(create: Create, path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE somebodys_accounts (x)")
    db.close()

    with pytest.raises(UnknownFormatError):
        create()


def test_a_store_that_fails_says_so_at_each_call_and_works_again_when_it_can(create: Create, path: Path) -> None:
    path.parent.write_text("a file where the folder should be")
    store = create()
    calls: list[Callable[[], object]] = [
        lambda: store.put("c", "1", None),
        lambda: store.fetch("c", 0, 1),
        lambda: store.remove([Removal("c", [1], last=True)]),
        lambda: store.clear("c"),
        lambda: store.expire(),
        lambda: enqueue(store, "key"),
        lambda: store.take("c"),
        lambda: store.look("c", ["key"]),
        lambda: store.orphans(10),
        lambda: store.take_statuses("c"),
        lambda: store.outbox_backlog(),
    ]
    for call in calls:
        with pytest.raises(StoreError, match=r"lchook\.sqlite3"):
            call()

    path.parent.unlink()
    for call in calls:
        call()


def test_what_fails_in_a_shared_transaction_fails_alone() -> None:
    done: list[str] = []

    def transaction(work: Callable[[list[str]], None]) -> None:
        made: list[str] = []
        work(made)
        done.extend(made)

    writes: GroupCommit[list[str]] = GroupCommit(read=transaction, transaction=transaction, patience_seconds=5)

    def fail(made: list[str]) -> None:
        raise ValueError("at fault")

    def work(number: int) -> None:
        if number == 7:
            with pytest.raises(ValueError, match="at fault"):
                writes.run(fail)
        else:
            writes.run(lambda made: made.append(str(number)))

    threads = [start_thread(work, number) for number in range(20)]
    for thread in threads:
        thread.join(5)
    assert sorted(done, key=int) == [str(number) for number in range(20) if number != 7]


def test_after_the_end_of_whoever_leads_others_still_commit() -> None:
    class EndOfTheGreenletError(BaseException):
        pass

    def transaction(work: Callable[[list[str]], None]) -> None:
        work([])

    def end(made: list[str]) -> None:
        raise EndOfTheGreenletError

    writes: GroupCommit[list[str]] = GroupCommit(read=transaction, transaction=transaction, patience_seconds=5)
    with pytest.raises(EndOfTheGreenletError):
        writes.run(end)
    thread = start_thread(writes.run, lambda made: made.append("1"))
    thread.join(5)
    assert not thread.is_alive()


def test_it_tells_a_messages_number_and_which_waits_before_it(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.sqlite3", ttl_seconds=60, size=2)
    store.open(StoreListener.null(), start_thread)
    first = store.put("c", "1", None)
    store.put("other", "2", None)
    second = store.put("c", "3", None)
    third = store.put("c", "4", None)

    assert [message.number for message in store.fetch("c", 0, 10).messages] == [second.number, third.number]
    assert (first.before, second.before, third.before) == (0, first.number, second.number)
    assert third.dropped == 1
    store.remove([Removal("c", [second.number, third.number], last=True)])
    assert store.put("c", "5", None).before == 0
    store.close()


def old_file(path: Path, *, with_index: bool) -> None:
    path.parent.mkdir()
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode = WAL")
    db.executescript(Path(__file__).with_name("sqlite_format_1.sql").read_text())
    if with_index:
        # Later versions made it in such files.
        db.execute("CREATE INDEX to_dms_by_time ON to_dms (at)")
    db.close()


@pytest.mark.parametrize("with_index", [False, True])
def test_a_file_of_format_1_is_migrated_in_place(create: Create, path: Path, clock: Clock, with_index: bool) -> None:
    old_file(path, with_index=with_index)
    clock.now = 1_790_000_020.0
    store = create()
    messages = store.fetch("kim", 0, 100).messages
    assert [message.text[-13:] for message in messages] == [f'["letter {number}"]}}' for number in range(3)]
    assert store.fetch('ümläut "quoted"', 0, 100).messages[0].text == '{"type":"text","text":["Gr\\u00fc\\u00dfe"]}'
    assert not store.put("kim", "again", "fingerprint 1").kept
    assert store.put("kim", "new", "new").number > messages[-1].number
    answers = store.enqueue(
        "kim", [Submission(key, key, 1, "{}") for key in ("sent", "failed", "under way", "x")], take=True
    )
    assert [answer.outcome for answer in answers.answers] == [
        Outcome("sent", dms_status=200),
        Outcome("failed", dms_status=400, error="DMS answered 400"),
        Outcome("failed", error=UNKNOWN_OUTCOME),
        None,
    ]
    assert answers.taken.first is not None
    assert answers.taken.first.key == "x"
    assert store.orphans(10) == []
    # Unknown ones for minutes, and sent ones for their day.
    clock.now += REMEMBER_SECONDS + 1
    store.expire()
    assert state(store, "sent") == "done"
    assert state(store, "waiting") == "queued"
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (3,)
    db.close()


def test_a_process_of_the_version_before_goes_on_beside_this_one(create: Create, path: Path, clock: Clock) -> None:
    """At a reload: it knows `letters` and `to_dms`, which are what they were."""
    old_file(path, with_index=True)
    clock.now = 1_790_000_020.0
    store = create()
    with sqlite3.connect(path) as db:
        db.execute("INSERT INTO to_dms VALUES ('its own', ?, 'another 7', NULL)", (clock.now,))
    assert state(store, "its own") == "done", "nobody waits for what this version cannot see"
    with sqlite3.connect(path) as db:
        db.execute('UPDATE to_dms SET outcome = \'{"status":"sent","dms_status":200}\' WHERE key = \'its own\'')
    db.close()
    assert store.look("c", ["its own"]) == {"its own": Outcome("sent", dms_status=200)}


def test_what_is_forgotten_is_found_without_a_scan(create: Create, path: Path, clock: Clock) -> None:
    store = create()
    with sqlite3.connect(path) as db:
        rows = range(REMEMBER_SENT_SECONDS - 10, REMEMBER_SENT_SECONDS + 2500)
        db.executemany("INSERT INTO to_dms VALUES (?, ?, '', '{}')", [(f"{n:032x}", clock.now - n) for n in rows])
    store.expire()
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT count(*), min(at) FROM to_dms").fetchone() == (11, clock.now - REMEMBER_SENT_SECONDS)
        query = "SELECT key FROM to_dms WHERE at < 1 ORDER BY at LIMIT 9"
        assert "USING COVERING INDEX to_dms_by_time" in db.execute(f"EXPLAIN QUERY PLAN {query}").fetchall()[0][3]
        for query, index in (
            ("SELECT min(poster) FROM outbox WHERE poster > 'x'", "outbox_by_poster"),
            ("SELECT customer FROM outbox WHERE poster = 'x' LIMIT 9", "outbox_by_poster"),
            ("SELECT poster FROM outbox WHERE customer = 'x' ORDER BY number LIMIT 1", "outbox_of_customer"),
        ):
            assert index in db.execute(f"EXPLAIN QUERY PLAN {query}").fetchall()[0][3]
    db.close()


def test_of_very_many_messages_the_oldest_are_forgotten_sooner_and_none_that_waits(
    create: Create, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_outbox, "_MAX_OUTCOMES", 500)
    monkeypatch.setattr(sqlite_outbox, "_FORGET_AT_ONCE", 10)
    store = create()
    store.enqueue("waiting", [Submission("waiting", "1", 1, "{}")], take=False)
    for number in range(520):
        send(store, f"old {number}")
        clock.now += 1
    store.expire()
    assert state(store, "old 0") == "done", "it is younger than a webhook's repeats"
    clock.now += REMEMBER_SECONDS - 500
    again = create()
    again.expire()
    assert [state(again, f"old {number}") for number in (0, 19, 20, 519)] == ["queued", "queued", "done", "done"]
    assert [
        answer.state for answer in again.enqueue("waiting", [Submission("waiting", "2", 1, "{}")], take=False).answers
    ] == ["pending"]


# Processes

_PROCESS = """
import sys
from pathlib import Path
from lchook.store.processes import Processes
processes = Processes(Path(sys.argv[1]))
processes.begin()
print(processes.me, flush=True)
sys.stdin.read()
"""


def test_a_process_that_was_killed_is_known_to_be_dead_at_once(create: Create, path: Path) -> None:
    store = create()
    command = [sys.executable, "-c", _PROCESS, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        other = process.stdout.readline().strip()
        assert store._processes.lives(other)
        process.kill()
        process.wait()
        assert not store._processes.lives(other)
    assert [file.name for file in path.parent.glob("*-process-*")] == [f"lchook.sqlite3-process-{store._processes.me}"]


def test_the_next_process_tidies_up_after_those_that_were_killed(create: Create, path: Path) -> None:
    before = create()
    os.close(before._processes._lock)  # type: ignore[arg-type]
    before._processes._lock = None
    after = create()
    assert [file.name for file in path.parent.glob("*-process-*")] == [f"lchook.sqlite3-process-{after._processes.me}"]
    after.close()
    assert list(path.parent.glob("*-process-*")) == []


def test_a_process_whose_files_were_deleted_is_alive_again(create: Create, path: Path) -> None:
    store, other = create(), create()
    for file in path.parent.glob("lchook*"):
        file.unlink()
    store.put("c", "1", None)
    assert other._processes.lives(store._processes.me)


def test_what_is_in_the_log_goes_into_the_file_beside_the_writer(tmp_path: Path) -> None:
    waiting: list[tuple[Callable[[], None], Callable[[], None]]] = []
    store = SqliteStore(
        tmp_path / "a.sqlite3", ttl_seconds=60, size=10_000, checkpoint_aside=lambda *calls: waiting.append(calls)
    )
    store.open(StoreListener.null(), start_thread)
    for number in range(600):
        store.put("c", str(number), None)
    # One at a time, however long it takes.
    [(checkpoint, done)] = waiting
    checkpoint()
    done()
    shutil.copy(tmp_path / "a.sqlite3", tmp_path / "without its log.sqlite3")
    with contextlib.closing(sqlite3.connect(tmp_path / "without its log.sqlite3")) as db:
        assert db.execute("SELECT count(*) FROM letters").fetchone() == (600,)
    store.put("c", "600", None)
    assert len(waiting) == 2, "and again, as soon as it is due"
    store.close()


def at_once(function: Callable[[], None], then: Callable[[], None]) -> None:
    function()
    then()


def test_a_checkpoint_of_a_file_that_is_gone_makes_no_new_one(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "gone.sqlite3", at_once)
    for _ in range(500):
        checkpoints.written()
    assert list(tmp_path.iterdir()) == []
