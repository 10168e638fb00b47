"""A provider's keys, kept in this process: fetched in the background, and whoever needs one that is here waits for nothing.

When they are fetched, `core/key_refresh.py` says. Knows nothing of tokens or sockets.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import jwt

from lchook.core import events
from lchook.core.key_refresh import KeyRefresh
from lchook.core.key_set import KeySet, KeySetError
from lchook.core.tokens import TokenError
from lchook.logs import Log

log = Log("lchook.identity")

# For so long a connecting client waits for a key that is not known yet. Clients give up after 20 s.
_WAIT_SECONDS = 8.0
# More than this do not wait at once: anybody can send tokens with keys that do not exist.
_MAX_WAITING = 500
_AWAY = "the identity provider's keys cannot be had now: connect again in a minute"


class SigningKeys:
    """Call from anywhere."""

    def __init__(
        self,
        fetch: Callable[[], KeySet],
        start_task: Callable[..., object],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """:param fetch: may take seconds; runs in a task of its own, once at a time."""
        self._fetch = fetch
        self._start_task = start_task
        self._clock = clock
        self._changed = threading.Condition()
        self._refresh = KeyRefresh()
        self._keys: KeySet | None = None
        self._waiting = 0
        # What happened, for the metrics.
        self.counts = {"succeeded": 0, "failed": 0}

    def tick(self) -> None:
        """Fetch, if it is time."""
        with self._changed:
            if self._refresh.is_due(self._clock()):
                self._begin()

    def age_seconds(self) -> float:
        """How long ago the keys that are known were fetched; infinite where none are."""
        return self._clock() - self._refresh.succeeded_at

    def find(self, key_id: str | None, algorithm: str) -> jwt.PyJWK:
        """See `core/provider_tokens.py`."""
        key = self._known(key_id, algorithm, self._clock())
        return self._awaited(key_id, algorithm) if key is None else key

    def _known(self, key_id: str | None, algorithm: str, now: float) -> jwt.PyJWK | None:
        keys = self._keys
        return keys.find(key_id, algorithm) if keys is not None and self._refresh.keys_count(now) else None

    def _awaited(self, key_id: str | None, algorithm: str) -> jwt.PyJWK:
        """Wait for a fetch that begins from now on, or is under way and brings the key."""
        came_at = self._clock()
        with self._changed:
            if self._waiting >= _MAX_WAITING:
                raise TokenError(_AWAY)
            self._waiting += 1
            try:
                while True:
                    now = self._clock()
                    key = self._known(key_id, algorithm, now)
                    if key is not None:
                        return key
                    if self._refresh.has_answered_since(came_at):
                        raise TokenError("the token's key (kid) is none of the identity provider's")
                    left = came_at + _WAIT_SECONDS - now
                    if left <= 0 or self._refresh.has_failed(now):
                        raise TokenError(_AWAY)
                    if now >= self._refresh.may_begin_at:
                        self._begin()
                    self._changed.wait(min(left, max(0.01, self._refresh.may_begin_at - now)))
            finally:
                self._waiting -= 1

    def _begin(self) -> None:
        self._refresh.begin(self._clock())
        try:
            self._start_task(self._run)
        except Exception:
            # As where there is no room for another thread.
            self._refresh.failed()
            raise

    def _run(self) -> None:
        keys, reason, failed_before = None, "", self._refresh.failures
        try:
            keys = self._fetch()
        except KeySetError as error:
            reason = str(error)
        except Exception as error:
            log.unexpected(events.TASK_FAILED, error)
            reason = "internal error"
        with self._changed:
            before, self._keys = self._keys, keys or self._keys
            if keys is None:
                self._refresh.failed()
            else:
                self._refresh.succeeded()
            self.counts["failed" if keys is None else "succeeded"] += 1
            self._changed.notify_all()
        if keys is None:
            if not failed_before:
                log.error(events.KEYS_NOT_FETCHED, reason=reason)
        elif before is None or before.names != keys.names or failed_before:
            log.info(events.KEYS_FETCHED, keys=", ".join(keys.names)[:500], skipped=keys.skipped)
