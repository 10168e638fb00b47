"""When a provider's keys are fetched anew, and how long those that are known count. Pure: times come in as arguments.

Fetched every few minutes; at once where a token names a key that is not known, because keys are rotated, but never more
often than every few seconds, because anybody can send such tokens; and with growing pauses where the provider gives none.
Known keys count for an hour without it: longer, and whoever can cut the way to the provider could keep a withdrawn key good.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

REFRESH_SECONDS = 300.0
MIN_INTERVAL_SECONDS = 3.0
_MAX_PAUSE_SECONDS = 60.0
GOOD_FOR_SECONDS = 3600.0


@dataclass(slots=True)
class KeyRefresh:
    """One provider's. Times are seconds of a clock that goes forward."""

    # Of the latest fetch; and of the latest that succeeded or failed, when it began.
    began_at: float = -math.inf
    is_fetching: bool = False
    succeeded_at: float = -math.inf
    failed_at: float = -math.inf
    failures: int = 0

    def begin(self, now: float) -> None:
        """A fetch begins."""
        self.began_at, self.is_fetching = now, True

    def succeeded(self) -> None:
        """It has brought keys."""
        self.is_fetching, self.succeeded_at, self.failures = False, self.began_at, 0

    def failed(self) -> None:
        """It has not."""
        self.is_fetching, self.failed_at = False, self.began_at
        self.failures += 1

    @property
    def may_begin_at(self) -> float:
        """When the next fetch may begin, if somebody needs it."""
        if self.is_fetching:
            return math.inf
        pause: float = min(MIN_INTERVAL_SECONDS * 2.0 ** min(max(0, self.failures - 1), 10), _MAX_PAUSE_SECONDS)
        return self.began_at + pause

    def is_due(self, now: float) -> bool:
        """Is it time to fetch, whether or not somebody needs it now?"""
        return now >= self.may_begin_at and (self.failures > 0 or now >= self.succeeded_at + REFRESH_SECONDS)

    def keys_count(self, now: float) -> bool:
        """Do the keys that are known count still?"""
        return now < self.succeeded_at + GOOD_FOR_SECONDS

    def has_answered_since(self, moment: float) -> bool:
        """Has a fetch succeeded that began after that?"""
        return self.succeeded_at >= moment

    def has_failed(self, now: float) -> bool:
        """Did the latest fetch fail, and is it too early for another?"""
        return self.failures > 0 and not self.is_fetching and now < self.may_begin_at
