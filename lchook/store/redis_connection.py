"""Redis (or Valkey), one server: connections to it, scripts, and what goes wrong. Knows no keys. Scripts that are run in one
turn of the event loop go out together, and each has an answer of its own.

After a failover the name in the address means another server, and connections to the former one may last: they are given up
as soon as it says that it takes nothing, or says nothing at all. Redis Cluster is not supported: a step touches keys of
several slots.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Sequence
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from lchook.store import StoreError, names, redis_scripts
from lchook.store.call_groups import CallGroups

# A script's name and its arguments.
Script = tuple[Any, ...]
_Command = tuple[Any, ...]

# A Redis on the same network answers within a millisecond. Longer than this, and callers are better told.
_TIMEOUT_SECONDS = 2.0
_MAX_CONNECTIONS = 64
# Groups of commands under way at once.
_MAX_GROUPS = 4
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
        # By name: what Redis knows it by, and its text.
        self._scripts = {
            name: (hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(), text)
            for name, text in redis_scripts.load().items()
        }
        self._groups: CallGroups[Script, Any] = CallGroups(self._perform, max_groups=_MAX_GROUPS)
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
        """Run a script, and return what it returns.

        :raises StoreError: where it fails.
        """
        return self._run_all((script, *args))[0]

    def _run_all(self, *calls: Script) -> list[Any]:
        """Run scripts, together with those of others, and return what they return.

        :raises StoreError: where one of them fails.
        """
        if not calls:
            return []
        if time.monotonic() < self._paused_until:
            raise StoreError("Redis: it did not answer in time a moment ago")
        results = self._groups.run(*calls)
        for result in results:
            if isinstance(result, Exception):
                # One of its own for each caller: an exception notes who raises it.
                raise StoreError(f"Redis: {result}") from result
        return list(results)

    def _perform(self, calls: Sequence[Script]) -> list[Any]:
        now = time.monotonic()
        if now < self._paused_until:
            raise redis.TimeoutError("it did not answer in time a moment ago")
        if self._paused_until:
            # One group tries; the others wait for what it finds.
            self._paused_until = now + 2 * _TIMEOUT_SECONDS
        pool = self._redis.connection_pool
        commands = [("EVALSHA", self._scripts[name][0], 0, self._prefix, self._instance, *args) for name, *args in calls]
        results = self._send(pool, commands)
        unknown = [n for n, result in enumerate(results) if isinstance(result, redis.exceptions.NoScriptError)]
        if unknown:
            # A server that was restarted, or is another one. Those did nothing.
            texts = {self._scripts[calls[number][0]] for number in unknown}
            self._send(pool, [("SCRIPT LOAD", text) for _, text in texts])
            self._again(pool, commands, unknown, results)
        refused = [n for n, result in enumerate(results) if isinstance(result, _NOT_THE_ONE)]
        if refused:
            self._renew(pool)
            self._again(self._redis.connection_pool, commands, refused, results)
        stalls = any(map(_is_stall, results))
        self._paused_until = time.monotonic() + _PAUSE_SECONDS if stalls else 0.0
        if stalls or any(isinstance(result, _NOT_THE_ONE) for result in results):
            self._renew(pool)
        return results

    def _again(
        self, pool: redis.ConnectionPool, commands: Sequence[_Command], numbers: Sequence[int], results: list[Any]
    ) -> None:
        """Send some of the commands again."""
        again = self._send(pool, [commands[number] for number in numbers])
        for number, result in zip(numbers, again, strict=True):
            results[number] = result

    def _send(self, pool: redis.ConnectionPool, commands: Sequence[_Command]) -> list[Any]:
        """Send commands in one go; of each its result or its error."""
        results: list[Any] = []
        try:
            connection: Any = pool.get_connection()
        except (redis.RedisError, OSError) as error:
            return [error] * len(commands)
        try:
            connection.send_packed_command(connection.pack_commands(commands))
            while len(results) < len(commands):
                try:
                    results.append(connection.read_response(disconnect_on_error=False))
                except (redis.ResponseError, redis.BusyLoadingError) as error:
                    # What the server says to this one.
                    results.append(error)
        except (redis.RedisError, OSError) as error:
            connection.disconnect()
            results += [error] * (len(commands) - len(results))
        except BaseException:
            connection.disconnect()
            raise
        finally:
            pool.release(connection)
        return results


def _is_stall(result: Any) -> bool:
    return isinstance(result, (redis.TimeoutError, TimeoutError)) or _is_exhausted(result)


def _is_exhausted(error: Any) -> bool:
    """All connections are taken, by those who wait for an answer. redis-py (8.1.0) has no error of its own for that."""
    return type(error) is redis.ConnectionError and str(error) == "No connection available."
