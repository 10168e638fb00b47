"""A Redis for all unit tests, and stores of each kind."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lchook.store import Store, StoreListener
from lchook.store.redis import RedisStore
from lchook.store.sqlite import SqliteStore
from tests.support.redis_server import RedisServer

_prefixes = itertools.count(1)
_THREADS = "a task of a store or flow"

CreateStore = Callable[..., Store]


class Clock:
    """Time that a test turns on."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def start_thread(target: Any, *args: Any) -> threading.Thread:
    thread = threading.Thread(target=target, args=args, daemon=True, name=_THREADS)
    thread.start()
    return thread


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def closed_redis_stores() -> Iterator[list[RedisStore]]:
    """Their tasks take a second to end, and only then their connections can be closed: once for all tests."""
    closed: list[RedisStore] = []
    yield closed
    for thread in threading.enumerate():
        if thread.name == _THREADS:
            thread.join(5)
    for store in closed:
        store._redis.connection_pool.disconnect()


@pytest.fixture
def redis_prefix() -> str:
    """Keys that no other test has."""
    return f"test-{next(_prefixes)}:"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def create_redis(
    redis_server: RedisServer, redis_prefix: str, closed_redis_stores: list[RedisStore]
) -> Iterator[Callable[..., RedisStore]]:
    """Makes instances' stores on one Redis. They do not listen to each other unless opened with a listener."""
    made: list[RedisStore] = []

    def create(*, listener: StoreListener | None = None, ttl_seconds: float = 60.0, size: int = 10) -> RedisStore:
        made.append(RedisStore(redis_server.url, ttl_seconds=ttl_seconds, size=size, prefix=redis_prefix))
        if listener is not None:
            made[-1].open(listener, start_thread)
        return made[-1]

    yield create
    for store in made:
        store.close()
    closed_redis_stores += made


@pytest.fixture(params=["memory", "file", "redis"])
def create_store(
    request: pytest.FixtureRequest, tmp_path: Path, clock: Clock, create_redis: Callable[..., RedisStore]
) -> Iterator[CreateStore]:
    """Makes a store of each kind, with at most ten messages in a mailbox."""
    made: list[SqliteStore] = []

    def create(*, ttl_seconds: float = 60.0, size: int = 10) -> Store:
        if request.param == "redis":
            return create_redis(ttl_seconds=ttl_seconds, size=size)
        path = tmp_path / "lchook.sqlite3" if request.param == "file" else None
        made.append(SqliteStore(path, ttl_seconds=ttl_seconds, size=size, clock=clock))
        made[-1].open(StoreListener.null(), start_thread)
        return made[-1]

    yield create
    for store in made:
        store.close()


@pytest.fixture
def store(create_store: CreateStore) -> Store:
    return create_store()
