"""The feeds of customers whose conversations are followed here: decisions under the lock, their effects outside of it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable

from lchook.core.delivery import Removal
from lchook.core.feed import Effect, Feed

Step = Callable[[Feed], list[Effect]]


class Feeds:
    """Feeds by customer. The effects of one customer are performed one after the other, by whoever brought the input."""

    def __init__(
        self, perform: Callable[[Feed, Effect], Step | None], failed: Callable[[Feed, Effect], Step | None]
    ) -> None:
        """:param perform: performs an effect; returns what the feed is to be told of it.
        :param failed: told of an exception while performing; likewise.
        """
        self._perform = perform
        self._failed = failed
        # Held while a feed decides, and never while anything is performed.
        self._lock = threading.Lock()
        self._feeds: dict[str, Feed] = {}
        # Effects that are still to be performed, for customers with whom somebody is at it.
        self._performing: dict[str, deque[Effect]] = {}

    def __contains__(self, customer_id: str) -> bool:
        return customer_id in self._feeds

    def get(self, customer_id: str) -> Feed | None:
        return self._feeds.get(customer_id)

    def customers(self) -> list[str]:
        return list(self._feeds)

    def connections(self, customer_id: str) -> list[str]:
        """Who follows the customer's conversation."""
        feed = self._feeds.get(customer_id)
        return [] if feed is None else list(feed.followers)

    def removals(self, customers: Iterable[str]) -> list[Removal]:
        """What is to be out of these customers' mailboxes."""
        with self._lock:
            feeds = [self._feeds[customer_id] for customer_id in customers if customer_id in self._feeds]
            return [Removal(feed.customer_id, list(feed.queued_done), last=False) for feed in feeds if feed.queued_done]

    def input(self, customer_id: str, step: Step, *, create: bool = False) -> None:
        """Let the customer's feed decide, and perform what it says, unless somebody is at it."""
        with self._lock:
            feed = self._feeds.get(customer_id)
            if feed is None:
                if not create:
                    return
                feed = self._feeds[customer_id] = Feed(customer_id)
            effects = step(feed)
            performing = self._performing.get(customer_id)
            if performing is not None:
                performing.extend(effects)
                return
            performing = self._performing[customer_id] = deque(effects)
        while True:
            with self._lock:
                if not performing:
                    del self._performing[customer_id]
                    if feed.is_idle:
                        del self._feeds[customer_id]
                    return
                effect = performing.popleft()
            try:
                answer = self._perform(feed, effect)
            except Exception:
                answer = self._failed(feed, effect)
            if answer is not None:
                with self._lock:
                    performing.extend(answer(feed))
