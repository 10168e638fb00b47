"""Whether a post to DMS is tried again, and after how long. Pure: no clock, no waiting."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

FIRST_DELAY_SECONDS = 0.5
MAX_DELAY_SECONDS = 8.0
# DMS, or a gateway before it, has answered instead of taking the message.
NOT_TAKEN_STATUSES = frozenset({429, 502, 503, 504})


class PostResult(NamedTuple):
    """What came of one post.

    `status` is DMS's HTTP status, and `None` where no answer came; then `error` says why in words. `possibly_delivered`: the
    message may have reached DMS all the same. `permanent`: the next try would fail in the same way. `retry_after_seconds` is
    what DMS asked for, if it asked. `detail` says more of what was wrong, to those who run LCH.
    """

    status: int | None
    error: str | None = None
    possibly_delivered: bool = False
    permanent: bool = False
    retry_after_seconds: float | None = None
    detail: str = ""

    @property
    def is_taken(self) -> bool:
        """Has DMS taken the message?"""
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_surely_not_taken(self) -> bool:
        """May the message be posted again, without reaching an agent twice?"""
        if self.status is not None:
            return self.status in NOT_TAKEN_STATUSES
        return not self.possibly_delivered and not self.permanent


def delay(
    attempt: int,
    result: PostResult,
    elapsed_seconds: float,
    *,
    budget_seconds: float,
    jitter: Callable[[], float] = random.random,
) -> float | None:
    """After how many seconds to post again, or `None` where this was the last try.

    :param attempt: how many tries there were, this one included.
    :param elapsed_seconds: since the message came in. A wait that would end after the budget is not begun.
    :param jitter: a number from 0 to 1: instances that failed together do not come again together.
    """
    if result.is_taken or not result.is_surely_not_taken:
        return None
    seconds = min(FIRST_DELAY_SECONDS * 2 ** min(attempt - 1, 30), MAX_DELAY_SECONDS) + jitter() * FIRST_DELAY_SECONDS
    # "At once", or a time that is over, is no reason to hammer.
    if result.retry_after_seconds is not None and result.retry_after_seconds > 0:
        seconds = result.retry_after_seconds
    return seconds if elapsed_seconds + seconds < budget_seconds else None
