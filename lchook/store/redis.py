"""The store for several instances: Redis (or Valkey), with `appendonly yes` so that it survives its restarts. Its parts:
`redis_connection.py`, `redis_conversation.py`, and on them `redis_mailbox.py` and `redis_outbox.py`; its keys:
`redis_scripts.py`.

Notifications between instances are hints and may be lost. What is true is in Redis's keys, and each instance looks there
once a second for what it was not told.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import redis

from lchook.core import events
from lchook.logs import Log
from lchook.store import StoreError, StoreListener
from lchook.store.redis_mailbox import RedisMailbox
from lchook.store.redis_outbox import RedisOutbox

log = Log(__name__)

_SWEEP_SECONDS = 1.0
# Each sweep notifies this instance, too. Who does not hear it for so long listens at the wrong place.
_UNHEARD_SECONDS = 5.0


class RedisStore(RedisMailbox, RedisOutbox):
    """See `lchook.store.Store`."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """See the parts."""
        super().__init__(*args, **options)
        self._away = False
        # What other instances said was not heard for a while.
        self._missed = False
        self._closed = False

    def open(self, listener: StoreListener, start_task: Callable[..., object]) -> None:
        self._listener = listener
        try:
            self._run("stay_alive")
        except StoreError as error:
            self._tell_away(error)
        start_task(self._listen)
        start_task(self._sweep)

    def close(self) -> None:
        """Others need not wait to see whether this instance lives."""
        self._closed = True
        try:
            self._run("end")
        except StoreError as error:
            log.warning(events.REDIS_NOT_TOLD_OF_END, reason=error)

    def check(self) -> None:
        self._run("stay_alive")

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
                        elif pool is not self._redis.connection_pool or time.monotonic() - heard_at > _UNHEARD_SECONDS:
                            self._missed = True
                            break
            except (redis.RedisError, OSError):
                # Even if it is back before the next sweep.
                self._missed = True
                time.sleep(_SWEEP_SECONDS)
            except Exception:
                log.exception(events.LISTENING_FAILED)
                time.sleep(_SWEEP_SECONDS)

    def _heard(self, text: str) -> None:
        what, _, rest = text.partition(" ")
        if what == "due":
            self._listener.due(rest)
        elif what == "elsewhere":
            self._listener.elsewhere(rest)
        elif what == "news":
            self._listener.news(rest)
        elif what == "now":
            length, _, rest = rest.partition(" ")
            # The length counts bytes.
            both, size = rest.encode(), int(length)
            self._listener.now(both[:size].decode(), both[size:].decode())

    def _sweep(self) -> None:
        """Once a second: show that this instance lives, and look for messages it was not told of."""
        due, news = (f"{self._prefix}{what}:{self._instance}" for what in ("due", "news"))
        while not self._closed:
            try:
                self._run("stay_alive")
                if self._away:
                    log.warning(events.REDIS_BACK)
                if self._away or self._missed:
                    self._away = self._missed = False
                    self._back_at = time.monotonic()
                    self._listener.reconnected()
                while customers := self._redis.spop(due, 100):
                    for customer_id in customers:
                        self._listener.due(str(customer_id))
                while customers := self._redis.spop(news, 100) if self._keeps_conversation else None:
                    for customer_id in customers:
                        self._listener.news(str(customer_id))
            except (StoreError, redis.RedisError, OSError) as error:
                self._tell_away(error)
            except Exception:
                log.exception(events.SWEEPING_FAILED)
            time.sleep(_SWEEP_SECONDS)

    def _tell_away(self, error: Exception) -> None:
        if not self._away:
            if isinstance(error.__cause__, redis.ResponseError):
                log.error(events.REDIS_REFUSES, reason=error)
            else:
                log.error(events.REDIS_AWAY, reason=error)
        self._away = True
