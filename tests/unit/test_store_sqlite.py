"""SQLite's file: what survives, what is refused, and how it recovers. With a whole LCH above it: tests/chaos."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lchook.store import REMEMBER_OUTCOME_SECONDS, REMEMBER_SECONDS, Bell, Removal, StoreError, UnknownFormatError, sqlite
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
        made[-1].open(Bell.deaf(), start_thread)
        return made[-1]

    yield create
    for store in made:
        store.close()


def texts(store: SqliteStore) -> list[str]:
    return [letter.text for letter in store.fetch("c", 0, 100).letters]


def test_the_folder_is_made_and_letters_survive_a_process_that_never_closed(create: Create) -> None:
    create().put("c", "1", "fingerprint")

    assert texts(create()) == ["1"]
    assert not create().put("c", "1", "fingerprint").kept


def test_a_message_under_way_in_a_process_that_ended_is_lost_and_one_that_was_done_is_known(create: Create) -> None:
    before = create()
    before.arrive("c", "1", "under way")
    before.arrive("c", "2", "done")
    before.finish("c", "2", "done", "{}")

    after = create()
    assert after.arrive("c", "1", "under way").state == "lost"
    assert after.arrive("c", "2", "done").state == "done"


def test_repeats_are_forgotten_in_time(create: Create, clock: Clock) -> None:
    store = create()
    store.put("c", "1", "fingerprint")
    store.arrive("c", "1", "key")
    clock.now += REMEMBER_SECONDS - 1
    assert not store.put("c", "1", "fingerprint").kept
    clock.now += 2
    assert store.put("c", "1", "fingerprint").kept
    store.expire()
    assert store.arrive("c", "2", "key").state == "pending"
    clock.now += REMEMBER_OUTCOME_SECONDS - REMEMBER_SECONDS - 2
    assert store.arrive("c", "2", "key").state == "pending"
    clock.now += 2
    assert store.arrive("c", "2", "key").state == "first"
    clock.now += REMEMBER_OUTCOME_SECONDS + 1
    store.expire()
    with sqlite3.connect(store._path) as db:  # type: ignore[arg-type]
        assert db.execute("SELECT (SELECT count(*) FROM seen), (SELECT count(*) FROM to_dms)").fetchone() == (0, 0)
    db.close()


def test_a_file_that_takes_the_place_of_a_deleted_one_does_not_number_its_letters_as_that_one_did(
    create: Create, path: Path
) -> None:
    store = create()
    for _ in range(50):
        store.put("c", "before", None)
    last = store.fetch("c", 0, 100).letters[-1].number
    path.unlink()
    store.put("c", "after", None)

    assert [letter.text for letter in store.fetch("c", last, 100).letters] == ["after"]


def test_a_file_of_another_version_is_refused_and_not_touched(create: Create, path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 2")
    db.close()
    before = path.read_bytes()

    with pytest.raises(UnknownFormatError, match="has format 2, and this version of LCH knows format 1"):
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
        lambda: store.arrive("c", "1", "key"),
        lambda: store.finish("c", "1", "key", "{}"),
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


def test_it_tells_a_letters_number_and_which_waits_before_it(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.sqlite3", ttl_seconds=60, size=2)
    store.open(Bell.deaf(), start_thread)
    first = store.put("c", "1", None)
    store.put("other", "2", None)
    second = store.put("c", "3", None)
    third = store.put("c", "4", None)

    assert [letter.number for letter in store.fetch("c", 0, 10).letters] == [second.number, third.number]
    assert (first.before, second.before, third.before) == (0, first.number, second.number)
    assert third.dropped == 1
    store.remove([Removal("c", [second.number, third.number], last=True)])
    assert store.put("c", "5", None).before == 0
    store.close()


def test_a_file_of_the_version_before_is_used_and_what_is_forgotten_in_it_is_found_without_a_scan(
    create: Create, path: Path, clock: Clock
) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as db:
        # As that version made it.
        db.executescript("""
            PRAGMA journal_mode = WAL;
            CREATE TABLE letters (
                number INTEGER PRIMARY KEY AUTOINCREMENT, customer TEXT NOT NULL, at REAL NOT NULL, text TEXT NOT NULL
            );
            CREATE INDEX letters_of_customer ON letters (customer, number);
            CREATE TABLE seen (fingerprint TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID;
            CREATE TABLE to_dms (key TEXT PRIMARY KEY, at REAL NOT NULL, process TEXT NOT NULL, outcome TEXT) WITHOUT ROWID;
            PRAGMA user_version = 1;
        """)
        db.execute("INSERT INTO letters (customer, at, text) VALUES ('c', ?, '1')", (clock.now,))
        db.executemany(
            "INSERT INTO to_dms VALUES (?, ?, 'another 1', '{}')",
            [
                (f"{number:032x}", clock.now - number)
                for number in range(REMEMBER_OUTCOME_SECONDS - 10, REMEMBER_OUTCOME_SECONDS + 2500)
            ],
        )
    db.close()

    store = create()
    assert texts(store) == ["1"]
    store.expire()
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT count(*), min(at) FROM to_dms").fetchone() == (11, clock.now - REMEMBER_OUTCOME_SECONDS)
        plan = db.execute("EXPLAIN QUERY PLAN SELECT key FROM to_dms WHERE at < 1 ORDER BY at LIMIT 9").fetchall()
        assert "USING COVERING INDEX to_dms_by_time" in plan[0][3]
        # The version before still takes it.
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
    db.close()


def test_of_very_many_messages_the_oldest_are_forgotten_sooner(
    create: Create, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_MOST_OUTCOMES", 500)
    monkeypatch.setattr(sqlite, "_EXPIRE_AT_ONCE", 10)
    store = create()
    for number in range(520):
        store.arrive("c", str(number), f"old {number}")
        store.finish("c", str(number), f"old {number}", "{}")
        clock.now += 1
    store.expire()
    assert store.arrive("c", "1", "old 0").state == "done", "it is younger than a webhook's repeats"
    clock.now += REMEMBER_SECONDS - 500
    again = create()
    again.expire()
    assert [again.arrive("c", "1", f"old {number}").state for number in (0, 19, 20, 519)] == [
        "first",
        "first",
        "done",
        "done",
    ]
