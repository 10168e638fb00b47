"""Redis (or Valkey), one server: connections to it, scripts, and what goes wrong. Knows no keys.

After a failover the name in the address means another server, and connections to the former one may last: they are given up
as soon as it says that it takes nothing, or says nothing at all. Redis Cluster is not supported: a step touches keys of
several slots.
"""

from __future__ import annotations

import time
import uuid
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from lchook.store import StoreError, names, redis_scripts

# A Redis on the same network answers within a millisecond. Longer than this, and callers are better told.
_TIMEOUT_SECONDS = 2.0
_MAX_CONNECTIONS = 64
# For so long nobody else asks a Redis that has just not answered in time: not hundreds of them, each for seconds.
_PAUSE_SECONDS = 1.0
# Said by a server that is not, or not yet, the one to ask. Nothing was done then.
_NOT_THE_ONE = (redis.ReadOnlyError, redis.BusyLoadingError, redis.exceptions.MasterDownError)
# In place of those that wait for the name service without a bound.
_BOUNDED: dict[Any, Any] = {redis.Connection: names.Connection, redis.SSLConnection: names.TlsConnection}


class RedisConnection:
    """Runs scripts. `_instance` is this process, for others."""

    def __init__(self, url: str, *, prefix: str = "lch:") -> None:
        """Without network activity.

        :param url: redis://, rediss:// or unix://, as redis-py understands it.
        """
        self._prefix = prefix
        self._instance = uuid.uuid4().hex[:12]
        self._url = url
        self._redis = redis.Redis(connection_pool=self._new_pool())
        self._scripts = {name: self._redis.register_script(text) for name, text in redis_scripts.load().items()}
        # Redis did not answer in time: not to be asked before then. 0: it answers.
        self._paused_until = 0.0

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
            self._url, max_connections=_MAX_CONNECTIONS, timeout=_TIMEOUT_SECONDS, **options
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


def _is_exhausted(error: Exception) -> bool:
    """All connections are taken, by those who wait for an answer. redis-py (8.1.0) has no error of its own for that."""
    return type(error) is redis.ConnectionError and str(error) == "No connection available."
