"""What the customer said is stored before anything else is done with it: processes end, DMS is away, and nothing is lost."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from lchook.core.outbox_effects import Submission
from lchook.core.outcomes import UNKNOWN_OUTCOME
from lchook.sandbox.dms import SandboxDms
from lchook.store import StoreListener
from lchook.store.sqlite import SqliteStore
from tests.chaos.instance import Instance
from tests.support.clients import PythonClient, text_message
from tests.support.hooks import QUICK
from tests.support.jwts import ISSUER, SECRET
from tests.support.redis_server import RedisServer
from tests.support.servers import Server, flask_command, free_port
from tests.support.waiting import wait_until

CUSTOMER = "kim"


class World:
    """Instances that share a store, and a DMS that outlives them."""

    def __init__(self, store: str, folder: Path, *, instances: int = 1, **settings: str) -> None:
        self.dms = SandboxDms(issuer=ISSUER, secret=SECRET, scripted=False).start()
        self.redis = RedisServer() if store == "redis" else None
        url = self.redis.url if self.redis else f"sqlite:///{folder / 'lchook.sqlite3'}"
        usual = {"DMS_URL": self.dms.url, "JWT_ISSUER": ISSUER, "JWT_SECRET": SECRET, "STORE_URL": url}
        timing = {"DMS_READ_TIMEOUT": "10", "OUTBOX_TTL": "300"}
        self.instances = [Instance({**QUICK, **usual, **timing, **settings}) for _ in range(instances)]
        self.instance = self.instances[0]

    def __enter__(self) -> World:
        if self.redis:
            self.redis.start()
        for instance in self.instances:
            instance.start()
        return self

    def __exit__(self, *_: object) -> None:
        for instance in self.instances:
            instance.stop()
        self.dms.stop()
        if self.redis:
            self.redis.stop()

    def connect(self, instance: int = 0) -> PythonClient:
        return PythonClient(self.instances[instance].url, auth={"customer_id": CUSTOMER})

    @property
    def received(self) -> list[int]:
        """The ids of what reached DMS, however it was answered."""
        return [post.body["message_id"] for post in self.dms.received if post.status in (200, None)]

    def wait_for(self, count: int, timeout_seconds: float = 20.0) -> list[int]:
        wait_until(
            lambda: len(self.received) >= count,
            lambda: f"{count} messages, not {self.received}; the log:\n{self.instance.log}",
            timeout_seconds=timeout_seconds,
        )
        return self.received


def say(client: PythonClient, *numbers: int) -> list[int]:
    return [client.emit("clientMessage", text_message(CUSTOMER, f"message {n}", message_id=n)) for n in numbers]


def wait_for_statuses(client: PythonClient, count: int, *, delayed: bool = False) -> dict[int, dict[str, object]]:
    """So many outcomes, or messages that are delayed, by id."""

    def found() -> dict[int, dict[str, object]]:
        return {each["message_id"]: each for each in client.statuses if (each["status"] == "delayed") is delayed}

    wait_until(lambda: len(found()) >= count, lambda: f"{count} statuses, not {client.statuses}", timeout_seconds=20)
    return found()


def test_typing_is_never_stored(tmp_path: Path) -> None:
    with World("sqlite", tmp_path) as world, world.connect() as client:
        world.dms.faults.set(dms="slow", delay_seconds=1.5)
        client.emit("clientMessage", {"type": "typing_indicator", "customer_id": CUSTOMER})
        wait_until(lambda: world.dms.received or world.instance.log.count("typing"), "the post")
        world.instance.kill()
        world.dms.faults.clear()
        world.instance.start()
        with world.connect() as other:
            assert other.say(CUSTOMER)["status"] == "sent"
        assert [post.body["type"] for post in world.dms.received].count("typing_indicator") <= 1


@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_case_15_after_kill_9_the_next_process_posts_what_was_not_posted(store: str, tmp_path: Path) -> None:
    with World(store, tmp_path) as world:
        world.dms.faults.set(dms="slow", delay_seconds=0.4)
        with contextlib.ExitStack() as stack:
            client = stack.enter_context(world.connect())
            numbers = say(client, *range(8))
            assert [client.ack(number)["status"] for number in numbers[:2]] == ["sent"] * 2
            wait_until(lambda: len(world.dms.received) == 3, "the third")
            world.instance.kill()
        world.instance.start()
        # Nobody needs to connect for it. With Redis, the dead process counts as alive for some seconds.
        assert world.wait_for(8) == list(range(8))
        with world.connect() as client:
            statuses = wait_for_statuses(client, 6)
            # The third was being posted; the others are told when they are done.
            assert statuses[2] == {"message_id": 2, "status": "failed", "error": UNKNOWN_OUTCOME}
            assert [statuses[number]["status"] for number in range(3, 8)] == ["sent"] * 5
            # Who repeats them gets the same outcomes.
            again = say(client, *range(8))
            assert [client.ack(number)["status"] for number in again] == ["sent", "sent", "failed", *["sent"] * 5]
        assert world.received == list(range(8))
        assert UNKNOWN_OUTCOME in world.instance.log
        assert 'event="unknown"} 1.0' in metrics(world)


@pytest.mark.parametrize("options", [(), ("--debug",)], ids=["plain", "with the reloader"])
def test_under_flask_run_what_a_process_left_is_posted_though_nobody_comes(
    options: tuple[str, ...], dms: SandboxDms, tmp_path: Path
) -> None:
    file = tmp_path / "lchook.sqlite3"
    body = json.dumps({"type": "text", "customer_id": CUSTOMER, "message_id": 1, "text": ["left"]})
    store = SqliteStore(file, ttl_seconds=60, size=10)
    store.open(StoreListener.null(), lambda *_: None)
    store.enqueue(CUSTOMER, [Submission("key", "1", 1, body)], take=False)
    store.close()
    port = free_port()
    settings = {"DMS_URL": dms.url, "JWT_ISSUER": ISSUER, "JWT_SECRET": SECRET, "STORE_URL": f"sqlite:///{file}"}
    with Server(flask_command(port, *options), port, **settings) as server:
        wait_until(lambda: dms.received, lambda: f"the post; the log:\n{server.log}")
        # Of the reloader's two processes, one does.
        assert server.log.count("messages that another process has left are taken over") <= 1
    assert [post.body["message_id"] for post in dms.received] == [1]


def metrics(world: World) -> str:
    return requests.get(f"{world.instance.url}/metrics", timeout=10).text


@pytest.mark.parametrize("store", ["sqlite", "memory"])
def test_case_16_a_message_waits_for_a_dms_that_is_away_and_its_sender_is_told(store: str, tmp_path: Path) -> None:
    settings = {"STORE_URL": "memory:"} if store == "memory" else {}
    with World("sqlite", tmp_path, **settings) as world, world.connect() as client:
        world.dms.faults.set(dms="503", retry_after_seconds=None)
        started = time.monotonic()
        first, second = say(client, 1, 2)
        assert set(wait_for_statuses(client, 2, delayed=True)) == {1, 2}
        assert time.monotonic() - started < 9
        assert "lch_outbox_messages 2.0" in metrics(world)
        assert 'lch_outbox_events_total{event="delayed"} 2.0' in metrics(world)
        time.sleep(max(0.0, started + (35 if store == "sqlite" else 10) - time.monotonic()))
        world.dms.faults.clear()
        assert [client.ack(number, timeout_seconds=12)["status"] for number in (first, second)] == ["sent", "sent"]
        assert world.received == [1, 2]
        assert "lch_outbox_messages 0.0" in metrics(world)


@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_a_graceful_stop_hands_over_what_waits(store: str, tmp_path: Path) -> None:
    with World(store, tmp_path) as world:
        with world.connect() as client:
            world.dms.faults.set(dms="slow", delay_seconds=1.0)
            numbers = say(client, 1, 2, 3, 4)
            wait_until(lambda: world.dms.received, "the first")
            # In seconds: it waits for one post, not for four.
            assert world.instance.terminate() < 8
            assert client.ack(numbers[0], timeout_seconds=2)["status"] == "sent"
        world.dms.faults.clear()
        world.instance.start()
        assert world.wait_for(4, 5.0 if store == "sqlite" else 20.0) == [1, 2, 3, 4]
        with world.connect() as client:
            assert {status["status"] for status in wait_for_statuses(client, 3).values()} == {"sent"}
        assert UNKNOWN_OUTCOME not in world.instance.log


def test_a_message_that_waits_for_dms_is_handed_over_too(tmp_path: Path) -> None:
    with World("sqlite", tmp_path) as world:
        world.dms.faults.set(dms="refused")
        with world.connect() as client:
            say(client, 1, 2)
            wait_until(lambda: "not taken yet" in world.instance.log, "a first try")
            assert world.instance.terminate() < 8
        world.dms.faults.clear()
        world.instance.start()
        assert world.wait_for(2, 5.0) == [1, 2]


def test_what_comes_while_it_stops_is_stored_for_the_next(tmp_path: Path) -> None:
    with World("sqlite", tmp_path) as world:
        world.dms.faults.set(dms="slow", delay_seconds=2.0)
        with world.connect() as client:
            say(client, 1)
            wait_until(lambda: world.dms.received, "the first")
            os.kill(world.instance.server.pid, signal.SIGTERM)
            wait_until(lambda: "Handling signal: term" in world.instance.log, "that it stops")
            time.sleep(0.4)
            say(client, 2, 3)
            assert world.instance.terminate() < 8
        world.dms.faults.clear()
        world.instance.start()
        assert world.wait_for(3, 5.0) == [1, 2, 3]


def test_at_a_reload_two_processes_do_not_post_the_same(tmp_path: Path) -> None:
    """SIGHUP: the new worker starts while the old one finishes."""
    with World("sqlite", tmp_path) as world:
        world.dms.faults.set(dms="slow", delay_seconds=0.3)
        count = 0
        for _ in range(3):
            with contextlib.suppress(Exception), world.connect() as client:
                say(client, *range(count, count + 6))
                count += 6
                wait_until(lambda want=count: len(world.received) >= want - 4, "some")
                os.kill(world.instance.server.pid, signal.SIGHUP)
                time.sleep(0.7)
        assert count == 18
        assert world.wait_for(count) == list(range(count))
        assert UNKNOWN_OUTCOME not in world.instance.log


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[World]:
    with World("redis", tmp_path, instances=2) as world:
        yield world


def test_when_an_instance_dies_another_one_posts_within_15_seconds(pair: World) -> None:
    pair.dms.faults.set(dms="slow", delay_seconds=5.0)
    with pair.connect(0) as client:
        say(client, 1, 2, 3)
        wait_until(lambda: pair.dms.received, "the first")
        # What is received and not yet stored is the client's to repeat.
        wait_until(lambda: "lch_outbox_messages 3.0" in metrics(pair), "three in the store")
        pair.instances[0].kill()
        pair.dms.faults.clear()
        started = time.monotonic()
        assert pair.wait_for(3) == [1, 2, 3]
        assert time.monotonic() - started < 15
    with pair.connect(1) as client:
        statuses = wait_for_statuses(client, 3)
        assert [statuses[number]["status"] for number in (1, 2, 3)] == ["failed", "sent", "sent"]


def test_a_customers_order_holds_across_instances(pair: World) -> None:
    pair.dms.faults.set(dms="slow", delay_seconds=0.1)
    with pair.connect(0) as one, pair.connect(1) as other:
        numbers = []
        for number in range(12):
            client = (one, other)[number % 2]
            numbers.append((client, *say(client, number)))
            time.sleep(0.03)
        assert {client.ack(number)["status"] for client, number in numbers} == {"sent"}
    assert pair.received == list(range(12))


def test_the_console_and_the_metrics_show_it(tmp_path: Path) -> None:
    with World("sqlite", tmp_path) as world, world.connect() as client:
        say(client, 1)
        client.settle()
        text = metrics(world)
        for name in ("lch_outbox_messages", "lch_outbox_oldest_seconds", "lch_dms_retries_total", "lch_messages_under_way"):
            assert f"\n{name}" in text
