"""How often something may happen: so many times a second, with room for bursts. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Hashable

# Whoever was quiet may do this many seconds' worth at once.
_BURST_SECONDS = 10.0
_TIDY_EVERY = 10_000


class RateLimiter:
    """Limits the rate of each of many keys (the generic cell rate algorithm: one number a key)."""

    def __init__(self, per_second: float, *, clock: Callable[[], float]) -> None:
        """:param per_second: 0 for no limit. :param clock: seconds; it only goes forward."""
        self.per_second = per_second
        self._clock = clock
        self._interval = 1 / per_second if per_second else 0.0
        self._burst = max(_BURST_SECONDS, self._interval)
        # When the key would be free again if nothing more came.
        self._free_at: dict[Hashable, float] = {}
        self._until_tidying = _TIDY_EVERY

    def allows(self, key: Hashable) -> bool:
        """Count one for the key, if it may."""
        if not self._interval:
            return True
        now = self._clock()
        free_at = self._free_at.get(key, 0.0)
        free_at = (free_at if free_at > now else now) + self._interval
        if free_at - now > self._burst:
            return False
        self._free_at[key] = free_at
        self._until_tidying -= 1
        if self._until_tidying == 0:
            self._free_at = {key: at for key, at in self._free_at.items() if at > now}
            self._until_tidying = _TIDY_EVERY + len(self._free_at)
        return True

    def forget(self, key: Hashable) -> None:
        """The key will not come again."""
        self._free_at.pop(key, None)
