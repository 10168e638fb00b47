"""What the mailbox costs: `python -m benchmarks.store_cost`. µs of CPU a message, each store against none.

To customer: put, fetch, remove. To DMS: enqueue (and take), complete. As in production in greenlets, one message at a time
and 50 at once.
Redis works in a process of its own: its CPU is shown beside.
"""

# ruff: noqa: E402 - as in gunicorn.conf.py, patching comes before all other imports.

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent

from benchmarks.processes import cpu_seconds
from lchook.core.delivery import Removal
from lchook.core.outbox_effects import Queued, Stored, Submission
from lchook.core.outcomes import Outcome
from lchook.store import (
    REMEMBER_SENT_SECONDS,
    Enqueued,
    FetchResult,
    PutResult,
    StoredMessage,
    StoreListener,
    Taken,
)
from lchook.store.redis import RedisStore
from lchook.store.sqlite import SqliteStore
from lchook.transport.native_thread import NativeThread
from tests.support.redis_server import RedisServer

AT_ONCE = 50
_TEXT = json.dumps({"type": "text", "customer_id": "c", "message_id": "m", "csr_name": "Ada", "text": ["Hello " * 20]})
_OUTCOME = Outcome("sent", 17, 200)


class NoStore:
    """What LCH would be without: every call returns at once."""

    _result = FetchResult([StoredMessage(1, _TEXT)])

    def put(self, customer_id: str, text: str, fingerprint: str | None) -> PutResult:
        return PutResult(kept=True, here=True)

    def fetch(self, customer_id: str, after: int, limit: int) -> FetchResult:
        return self._result

    def remove(self, removals: list[Removal]) -> None:
        pass

    def enqueue(self, customer_id: str, submissions: list[Submission], *, take: bool) -> Enqueued:
        return Enqueued([Stored("queued")], Taken(Queued(1, submissions[0].key, 17, _TEXT)))

    def complete(self, customer_id: str, message: Queued, outcome: Outcome, **options: object) -> Taken:
        return Taken()


def to_customer(store: NoStore | SqliteStore | RedisStore, customer_id: str, number: int) -> None:
    store.put(customer_id, _TEXT, f"{customer_id} {number}")
    messages = store.fetch(customer_id, 0, 100).messages
    store.remove([Removal(customer_id, [message.number for message in messages], last=True)])


def to_dms(store: NoStore | SqliteStore | RedisStore, customer_id: str, number: int) -> None:
    submission = Submission(f"{customer_id} {number}", str(number), number, _TEXT)
    first = store.enqueue(customer_id, [submission], take=True).taken.first
    assert first is not None
    usual = {"take": True, "tell_later": False, "remember_seconds": REMEMBER_SENT_SECONDS}
    store.complete(customer_id, first, _OUTCOME, **usual)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.store_cost", description=__doc__)
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3, help="the best one counts")
    options = parser.parse_args()

    print(
        f"{'store':<22} {'flow':<12} {'alone':>8} {f'{AT_ONCE} at once':>12}   µs of CPU a message; in brackets Redis's own"
    )
    with tempfile.TemporaryDirectory() as folder, RedisServer() as server:
        stores: dict[str, Callable[[], NoStore | SqliteStore | RedisStore]] = {
            "none": NoStore,
            "memory": lambda: _opened(SqliteStore(None, ttl_seconds=60, size=100)),
            "sqlite": lambda: _opened(SqliteStore(Path(folder) / "normal", **_asides(), ttl_seconds=60, size=100)),
            "sqlite, synced to disk": lambda: _opened(
                SqliteStore(Path(folder) / "full", **_asides(), ttl_seconds=60, size=100, synchronous="full")
            ),
            "redis": lambda: RedisStore(server.url, ttl_seconds=60, size=100),
        }
        for name, create in stores.items():
            store = create()
            pid = server.pid if name == "redis" else None
            for flow in (to_customer, to_dms):
                costs = [_best(store, flow, options.messages, at_once, options.rounds, pid) for at_once in (1, AT_ONCE)]
                print(f"{name:<22} {flow.__name__:<12} {costs[0]:>8} {costs[1]:>12}", flush=True)


def _asides() -> dict[str, NativeThread]:
    return {"aside": NativeThread(), "checkpoint_aside": NativeThread()}


def _opened(store: SqliteStore) -> SqliteStore:
    store.open(StoreListener.null(), gevent.spawn)
    return store


def _best(
    store: NoStore | SqliteStore | RedisStore,
    flow: Callable[..., None],
    messages: int,
    at_once: int,
    rounds: int,
    redis_pid: int | None,
) -> str:
    best, best_redis = float("inf"), 0.0
    numbers = _numbers()
    for _ in range(rounds):
        redis_before = cpu_seconds([redis_pid]) if redis_pid else 0.0
        before = time.process_time()
        tasks = [
            gevent.spawn(_work, store, flow, f"customer {task}", [next(numbers) for _ in range(messages // at_once)])
            for task in range(at_once)
        ]
        gevent.joinall(tasks, raise_error=True)
        cost = (time.process_time() - before) / messages * 1e6
        if cost < best:
            best = cost
            best_redis = (cpu_seconds([redis_pid]) - redis_before) / messages * 1e6 if redis_pid else 0.0
    return f"{best:.1f}" + (f" ({best_redis:.0f})" if redis_pid else "")


def _work(
    store: NoStore | SqliteStore | RedisStore, flow: Callable[..., None], customer_id: str, numbers: list[int]
) -> None:
    for number in numbers:
        flow(store, customer_id, number)


def _numbers() -> Iterator[int]:
    number = time.time_ns()
    while True:
        number += 1
        yield number


if __name__ == "__main__":
    main()
