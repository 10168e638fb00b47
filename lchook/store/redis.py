"""The store for several instances: Redis (or Valkey), one server, with `appendonly yes` so that it survives its restarts.

Notifications between instances are hints and may be lost. What is true is in Redis's keys, and each instance looks there
once a second for what it was not told. Redis Cluster is not supported: a step touches keys of several slots.

After a failover the name in the address means another server, and connections to the former one may last: they are given up
as soon as it says that it takes nothing, or says nothing at all.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from lchook.core.delivery import Removal
from lchook.logs import Log
from lchook.store import (
    REMEMBER_OUTCOME_SECONDS,
    REMEMBER_SECONDS,
    Arrival,
    Bell,
    Fetched,
    Kept,
    Letter,
    StoreError,
    Waiting,
    WaitingCustomer,
    names,
)
from lchook.store import redis_scripts as scripts

log = Log(__name__)

_SWEEP_SECONDS = 1.0
# Each sweep rings this instance's own bell. Who does not hear it for so long listens at the wrong place.
_DEAF_SECONDS = 5.0
# A Redis on the same network answers within a millisecond. Longer than this, and callers are better told.
_TIMEOUT_SECONDS = 2.0
_MOST_CONNECTIONS = 64
_EXPIRE_AT_ONCE = 100
# Mailboxes whose letters are counted for the metrics. Redis does nothing else meanwhile.
_MOST_COUNTED = 10_000
# For so long nobody else asks a Redis that has just not answered in time: not hundreds of them, each for seconds.
_PAUSE_SECONDS = 1.0
# Said by a server that is not, or not yet, the one to ask. Nothing was done then.
_NOT_THE_ONE = (redis.ReadOnlyError, redis.BusyLoadingError, redis.exceptions.MasterDownError)
# In place of those that wait for the name service without a bound.
_BOUNDED: dict[Any, Any] = {redis.Connection: names.Connection, redis.SSLConnection: names.TlsConnection}


class RedisStore:
    """See `lchook.store.Store`."""

    def __init__(self, url: str, *, ttl_seconds: float, size: int, prefix: str = "lch:") -> None:
        """Without network activity.

        :param url: redis://, rediss:// or unix://, as redis-py understands it.
        :param size: letters a mailbox holds at most.
        """
        self._ttl_milliseconds = int(ttl_seconds * 1000)
        self._size = size
        self._prefix = prefix
        self._instance = uuid.uuid4().hex[:12]
        self._url = url
        self._redis = redis.Redis(connection_pool=self._new_pool())
        self._scripts = {
            name: self._redis.register_script(script)
            for name, script in vars(scripts).items()
            if name.isupper() and not name.startswith("_") and isinstance(script, str)
        }
        self._bell = Bell.deaf()
        self._away = False
        # What other instances said was not heard for a while.
        self._missed = False
        self._closed = False
        # Redis did not answer in time: not to be asked before then. 0: it answers.
        self._paused_until = 0.0

    def open(self, bell: Bell, start_task: Callable[..., object]) -> None:
        self._bell = bell
        try:
            self._run("STAY_ALIVE")
        except StoreError as error:
            self._tell_away(error)
        start_task(self._listen)
        start_task(self._sweep)

    def close(self) -> None:
        """Others need not wait to see whether this instance lives."""
        self._closed = True
        try:
            self._run("END")
        except StoreError as error:
            log.warning("Redis could not be told that this instance ends", reason=error)

    def check(self) -> None:
        self._run("STAY_ALIVE")

    def waiting(self) -> Waiting:
        letters, customers, oldest_milliseconds = self._run("WAITING", _MOST_COUNTED)
        return Waiting(int(letters), int(customers), max(0.0, int(oldest_milliseconds) / 1000))

    def waiting_customers(self, limit: int) -> list[WaitingCustomer]:
        rows = self._run("WAITING_CUSTOMERS", limit)
        triples = zip(rows[::3], rows[1::3], rows[2::3], strict=True)
        return [WaitingCustomer(customer, int(count), max(0.0, int(age) / 1000)) for customer, count, age in triples]

    # Mailboxes

    def put(self, customer_id: str, text: str, fingerprint: str | None) -> Kept:
        kept, here, dropped = self._run("PUT", customer_id, text, fingerprint or "", REMEMBER_SECONDS, self._size)
        return Kept(kept=bool(kept), here=bool(here), dropped=dropped)

    def claim(self, customer_id: str, *, seconds_ago: float, weakly: bool = False) -> None:
        self._run("CLAIM", customer_id, int(seconds_ago * 1000), int(weakly))

    def fetch(self, customer_id: str, after: int, limit: int) -> Fetched:
        state, *rest = self._run("FETCH", customer_id, after, limit, self._ttl_milliseconds)
        if state == "elsewhere":
            return Fetched(state=state, weakly=bool(rest[0]))
        letters = [Letter(int(number), text) for number, text in zip(rest[::2], rest[1::2], strict=True)]
        return Fetched(letters, state)

    def remove(self, removals: Sequence[Removal]) -> None:
        for removal in removals:
            self._run("REMOVE", removal.customer_id, int(removal.last), *removal.numbers)

    def leave(self, customer_id: str, *, waiting: bool) -> None:
        self._run("LEAVE", customer_id, int(waiting))

    def clear(self, customer_id: str, *, seconds_ago: float = 0.0) -> int:
        return int(self._run("CLEAR", customer_id, int(seconds_ago * 1000)))

    def pass_on(self, customer_id: str, text: str) -> None:
        self._run("PASS_ON", customer_id, text)

    def expire(self) -> int:
        expired = 0
        while True:
            dropped, customers = self._run("EXPIRE", self._ttl_milliseconds, _EXPIRE_AT_ONCE)
            expired += int(dropped)
            if customers < _EXPIRE_AT_ONCE:
                return expired

    # Messages to DMS

    def arrive(
        self, customer_id: str, ticket: str, key: str | None, *, seconds_ago: float = 0.0, before: str | None = None
    ) -> Arrival:
        came = int(seconds_ago * 1000)
        state, turn, outcome, behind = self._run(
            "ARRIVE", customer_id, ticket, key or "", REMEMBER_OUTCOME_SECONDS, came, before or ""
        )
        return Arrival(state, turn=bool(turn), outcome=outcome or None, before=behind or None)

    def turn(self, customer_id: str, ticket: str, key: str | None) -> bool | None:
        turn = self._run("TURN", customer_id, ticket, key or "", REMEMBER_OUTCOME_SECONDS)
        return {0: False, 1: True}.get(turn)

    def finish(self, customer_id: str, ticket: str, key: str | None, outcome: str | None) -> None:
        self._run("FINISH", customer_id, ticket, key or "", REMEMBER_OUTCOME_SECONDS, outcome or "")

    # Redis

    def _new_pool(self) -> redis.ConnectionPool:
        options: dict[str, Any] = {
            "decode_responses": True,
            "socket_timeout": _TIMEOUT_SECONDS,
            "socket_connect_timeout": _TIMEOUT_SECONDS,
            "socket_keepalive": True,
            # redis-py would try ten times, for 4 s on a dead server, while a webhook waits.
            "retry": Retry(NoBackoff(), 0),
        }
        pool = redis.BlockingConnectionPool.from_url(
            self._url, max_connections=_MOST_CONNECTIONS, timeout=_TIMEOUT_SECONDS, **options
        )
        if pool.connection_class in _BOUNDED:
            pool.connection_class = _BOUNDED[pool.connection_class]
        return pool

    def _renew(self, pool: redis.ConnectionPool) -> None:
        """Whatever is asked from now on connects anew, and so looks the name up anew."""
        if self._redis.connection_pool is pool:
            self._redis.connection_pool = self._new_pool()
            # Those in use find out by themselves, and are closed with the pool.
            pool.disconnect(inuse_connections=False)

    def _run(self, script: str, *args: str | int) -> Any:
        now = time.monotonic()
        if now < self._paused_until:
            raise StoreError("Redis: it did not answer in time a moment ago")
        if self._paused_until:
            # One tries; the others wait for what it finds.
            self._paused_until = now + 2 * _TIMEOUT_SECONDS
        pool = self._redis.connection_pool
        try:
            try:
                result = self._call(script, *args)
            except _NOT_THE_ONE:
                self._renew(pool)
                result = self._call(script, *args)
        except (redis.RedisError, OSError) as error:
            stalls = isinstance(error, (redis.TimeoutError, TimeoutError)) or _is_exhausted(error)
            self._paused_until = time.monotonic() + _PAUSE_SECONDS if stalls else 0.0
            if stalls or isinstance(error, _NOT_THE_ONE):
                self._renew(pool)
            raise StoreError(f"Redis: {error}") from error
        self._paused_until = 0.0
        return result

    def _call(self, script: str, *args: str | int) -> Any:
        return self._scripts[script](args=[self._prefix, self._instance, *args])

    def _listen(self) -> None:
        """Hear what other instances tell this one. Subscribes again whenever the connection is lost, or heard nothing."""
        while not self._closed:
            try:
                with self._redis.pubsub(ignore_subscribe_messages=True) as pubsub:  # type: ignore[no-untyped-call]
                    pubsub.subscribe(f"{self._prefix}bell:{self._instance}")
                    pool, heard_at = self._redis.connection_pool, time.monotonic()
                    while not self._closed:
                        message = pubsub.get_message(timeout=_SWEEP_SECONDS)
                        if message is not None:
                            heard_at = time.monotonic()
                            self._heard(message["data"])
                        elif pool is not self._redis.connection_pool or time.monotonic() - heard_at > _DEAF_SECONDS:
                            self._missed = True
                            break
            except (redis.RedisError, OSError):
                # Even if it is back before the next sweep.
                self._missed = True
                time.sleep(_SWEEP_SECONDS)
            except Exception:
                log.exception("listening to other instances failed; it goes on")
                time.sleep(_SWEEP_SECONDS)

    def _heard(self, text: str) -> None:
        what, _, rest = text.partition(" ")
        if what == "due":
            self._bell.due(rest)
        elif what == "elsewhere":
            self._bell.elsewhere(rest)
        elif what == "turn":
            self._bell.turn(rest)
        elif what == "now":
            length, _, rest = rest.partition(" ")
            # The length counts bytes.
            both, size = rest.encode(), int(length)
            self._bell.now(both[:size].decode(), both[size:].decode())

    def _sweep(self) -> None:
        """Once a second: show that this instance lives, and look for letters it was not told of."""
        due = f"{self._prefix}due:{self._instance}"
        while not self._closed:
            try:
                self._run("STAY_ALIVE")
                if self._away:
                    log.warning("Redis is back")
                if self._away or self._missed:
                    self._away = self._missed = False
                    self._bell.reconnected()
                while customers := self._redis.spop(due, 100):
                    for customer_id in customers:
                        self._bell.due(str(customer_id))
            except (StoreError, redis.RedisError, OSError) as error:
                self._tell_away(error)
            except Exception:
                log.exception("sweeping failed; it goes on")
            time.sleep(_SWEEP_SECONDS)

    def _tell_away(self, error: Exception) -> None:
        if not self._away:
            if isinstance(error.__cause__, redis.ResponseError):
                log.error(
                    "Redis does not take what is to be kept; webhooks are answered with 503 until it does", reason=error
                )
            else:
                log.error("Redis cannot be reached; webhooks are answered with 503 until it can", reason=error)
        self._away = True


def _is_exhausted(error: Exception) -> bool:
    """All connections are taken, by those who wait for an answer. redis-py (8.1.0) has no error of its own for that."""
    return type(error) is redis.ConnectionError and str(error) == "No connection available."
