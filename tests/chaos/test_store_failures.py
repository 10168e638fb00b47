"""A store that fails: 503 to the webhook, words in the log, never a 200 for what was not kept; and no restart afterwards."""

from __future__ import annotations

import json
import resource
import signal
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.instance import Running, production
from tests.chaos.world import World
from tests.support.clients import PythonClient
from tests.support.jwts import ISSUER, SECRET
from tests.support.servers import free_port, run_to_its_end
from tests.support.waiting import wait_until


@pytest.fixture
def world() -> Iterator[World]:
    """One instance on a SQLite file, with one customer who is offline."""
    with World("sqlite", customers=0, LOG_LEVEL="warning", OUTBOX_TTL="1") as world:
        yield world


def kept_messages(path: Path) -> list[int]:
    with sqlite3.connect(path) as db:
        texts = db.execute("SELECT text FROM letters ORDER BY number").fetchall()
    db.close()
    return [json.loads(text)["number"] for (text,) in texts]


def test_a_full_disk_is_told_and_ends_by_itself(world: World) -> None:
    worker = world.instances[0].server.worker_pid
    unlimited = resource.prlimit(worker, resource.RLIMIT_FSIZE)
    resource.prlimit(worker, resource.RLIMIT_FSIZE, (400_000, unlimited[1]))

    answers = {number: world.webhook("c", number, filling="x" * 30_000) for number in range(20)}
    # Small ones, until nothing fits any more.
    answers |= {number: world.webhook("c", number) for number in range(20, 60)}
    assert set(answers.values()) == {200, 503}
    assert answers[59] == 503
    assert "the message cannot be kept" in world.instances[0].log

    resource.prlimit(worker, resource.RLIMIT_FSIZE, unlimited)
    answers |= {number: world.webhook("c", number) for number in range(60, 63)}
    assert [answers[number] for number in range(60, 63)] == [200] * 3
    promised = [number for number, status in answers.items() if status == 200]
    with PythonClient(world.instances[0].url, auth={"customer_id": "c"}) as client:
        assert [message["number"] for message in client.wait_for_messages(len(promised))] == promised
        assert client.say("c")["status"] == "sent"


def test_a_file_that_is_deleted_while_lch_runs_is_made_anew_and_customers_notice_nothing(world: World) -> None:
    with PythonClient(world.instances[0].url, auth={"customer_id": "c"}) as client:
        for number in range(3):
            assert world.webhook("c", number) == 200
        client.wait_for_messages(3)
        world.file.unlink()
        for number in range(3, 6):
            assert world.webhook("c", number) == 200

        assert [message["number"] for message in client.wait_for_messages(6)] == list(range(6))
    assert "deleted or replaced" in world.instances[0].log


def test_a_file_that_is_corrupted_while_lch_runs_is_told_and_replacing_it_helps(world: World) -> None:
    assert world.webhook("c", 0) == 200
    with world.file.open("r+b") as file:
        file.write(b"no database at all" * 1000)
    for rest in world.file.parent.glob("*-*"):
        rest.write_bytes(b"rubbish" * 10_000)
    wait_until(lambda: world.webhook("c", 1) == 503, "503")
    wait_until(lambda: "the message cannot be kept" in world.instances[0].log, lambda: world.instances[0].log)

    for rest in world.file.parent.glob("*"):
        rest.unlink()
    assert world.webhook("c", 2) == 200
    assert kept_messages(world.file) == [2]


@pytest.mark.parametrize("wrong", ["a folder", "below a file", "rubbish", "not writable"])
def test_a_store_that_cannot_be_opened_at_the_start_is_told_and_helped(wrong: str, tmp_path: Path) -> None:
    path = tmp_path / "lchook.sqlite3"
    match wrong:
        case "a folder":
            path.mkdir()
        case "below a file":
            (tmp_path / "file").write_text("a file")
            path = tmp_path / "file" / "lchook.sqlite3"
        case "rubbish":
            path.write_bytes(b"this is no database" * 1000)
        case "not writable":
            # Not even for root, unlike a folder without permissions.
            path = Path("/proc/lchook.sqlite3")
    with World("sqlite", customers=0, STORE_URL=f"sqlite://{path}", OUTBOX_TTL="1") as world:
        assert world.webhook("c", 1) == 503
        log = world.instances[0].log
        assert "webhooks are answered with 503 until it can" in log
        assert str(path) in log
        with PythonClient(world.instances[0].url) as client:
            answer = client.say("c")
            assert answer["status"] == "failed"
            assert "storage failed" in answer["error"]
        if wrong == "not writable":
            return
        if wrong == "below a file":
            path.parent.unlink()
        elif wrong == "a folder":
            path.rmdir()
        else:
            path.unlink()
        assert world.webhook("c", 2) == 200
        assert kept_messages(path) == [2]


def test_a_file_of_an_unknown_version_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "lchook.sqlite3"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE of_the_future (x)")
        db.execute("PRAGMA user_version = 1000")
    db.close()
    before = path.read_bytes()

    settings = {
        "DMS_URL": "http://127.0.0.1:9/",
        "JWT_ISSUER": ISSUER,
        "JWT_SECRET": SECRET,
        "STORE_URL": f"sqlite://{path}",
    }
    ended = run_to_its_end(production(free_port()), **settings)

    assert ended.returncode != 0
    assert "has format 1000, and this version of LCH knows format 3" in ended.stdout
    assert "Traceback" not in ended.stdout
    assert path.read_bytes() == before


def test_a_file_of_an_unknown_version_that_appears_while_lch_runs_is_a_store_that_fails(
    world: World, tmp_path: Path
) -> None:
    assert world.webhook("c", 0) == 200
    other = tmp_path / "other.sqlite3"
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE of_the_future (x)")
        db.execute("PRAGMA user_version = 1000")
    db.close()
    for rest in world.file.parent.glob("*-*"):
        rest.unlink()
    other.rename(world.file)

    assert world.webhook("c", 1) == 503
    assert "has format 1000" in world.instances[0].log
    world.file.unlink()
    assert world.webhook("c", 2) == 200


def test_two_processes_on_one_file_do_not_corrupt_it(world: World) -> None:
    port = free_port()
    settings = {
        "DMS_URL": world.dms.url,
        "JWT_ISSUER": ISSUER,
        "JWT_SECRET": SECRET,
        "STORE_URL": f"sqlite://{world.file}",
        "LOG_LEVEL": "warning",
    }
    with Running(production(port), port, **settings) as other:
        urls = (world.instances[0].url, other.url)
        statuses: dict[int, int] = {}

        def post(offset: int) -> None:
            for number in range(offset, 200, 4):
                statuses[number] = world.webhook(f"c{offset}", number, url=urls[offset % 2])

        posting = [threading.Thread(target=post, args=(offset,)) for offset in range(4)]
        for thread in posting:
            thread.start()
        for thread in posting:
            thread.join()
        other.kill()
    world.instances[0].server._signal(signal.SIGKILL)

    with sqlite3.connect(world.file) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    db.close()
    assert sorted(kept_messages(world.file)) == sorted(number for number, status in statuses.items() if status == 200)
    assert sum(status == 200 for status in statuses.values()) > 150


def test_redis_down_is_told_and_ends_by_itself() -> None:
    with World("redis", customers=2, kinds=("resume",), OUTBOX_TTL="1") as world:
        assert world.redis
        first, second = world.clients
        assert world.webhook(first.customer_id, 0) == 200
        world.redis.kill()
        assert world.webhook(first.customer_id, 1) == 503
        second.say(0)
        told = second.told[0]
        wait_until(lambda: told.outcome, "the outcome")
        assert told.outcome
        assert told.outcome["status"] == "failed"
        assert "storage failed" in told.outcome["error"]
        assert not world.dms.received
        wait_until(lambda: "Redis cannot be reached" in world.instances[0].log, "words in the log")

        world.redis.start()
        wait_until(lambda: world.webhook(first.customer_id, 2) == 200, "200")
        second.say(1)
        wait_until(lambda: not second.untold, "an outcome")
        wait_until(lambda: [receipt.number for receipt in first.receipts] == [0, 2], "both messages")
        wait_until(lambda: "Redis is back" in world.instances[0].log, "words in the log")


def test_a_redis_that_lost_everything_does_not_cut_off_customers_who_are_there() -> None:
    with World("redis", customers=1, kinds=("resume",), instances=2) as world:
        assert world.redis
        (client,) = world.clients
        for number in range(5):
            assert world.webhook(client.customer_id, number) == 200
        wait_until(lambda: len(client.receipts) == 5, "the messages")
        with world.redis.client() as redis:
            redis.flushall()
            redis.client_kill_filter(_type="pubsub")
        for number in range(5, 10):
            assert world.webhook(client.customer_id, number) == 200

        wait_until(lambda: [receipt.number for receipt in client.receipts] == list(range(10)), "the rest")
