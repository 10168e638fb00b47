"""How many connections a worker takes: of those that have a greenlet, and of those that need none."""

from __future__ import annotations

from typing import Any

from gevent.pool import Group, Pool


class ConnectionSlots(Pool):  # type: ignore[misc]  # gevent has no types here
    """A pool of greenlets, whose slots can outlive them."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._retaining: set[Any] = set()
        self._retained = 0

    def retain(self, greenlet: Any) -> None:
        """When this greenlet ends, its slot stays taken."""
        self._retaining.add(greenlet)
        self._retained += 1

    def release(self) -> None:
        """A slot that was retained is free again."""
        self._retained -= 1
        self._semaphore.release()

    def free_count(self) -> int:
        # Those of greenlets that retain theirs and have not ended yet would count twice.
        return int(super().free_count()) - self._retained + len(self._retaining)

    def _discard(self, greenlet: Any) -> None:
        if greenlet in self._retaining:
            self._retaining.discard(greenlet)
            Group._discard(self, greenlet)
        else:
            super()._discard(greenlet)
