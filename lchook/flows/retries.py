"""Posting until DMS surely has a message, or surely will not get it within the time allowed. The machinery is tenacity's."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_before_delay, wait_exponential_jitter
from tenacity.stop import stop_when_event_set
from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from lchook.dms.client import DmsAnswer, DmsClient, DmsError

# DMS, or a proxy before it, has answered instead of taking the message.
_NOT_TAKEN = frozenset({429, 502, 503, 504})
_FIRST_WAIT_SECONDS = 0.5
_MOST_WAIT_SECONDS = 8.0


class _NotTakenError(Exception):
    """DMS has surely not taken the message. `result` is what to return if there is no further try."""

    def __init__(self, result: DmsAnswer | DmsError) -> None:
        super().__init__()
        self.result = result


class RetryingDms:
    """A `DmsClient` that tries again where DMS has surely not taken the message: no connection, 429, 502, 503, 504.

    Each try has a token of its own. Other answers, and broken or slow ones, end it: a repeat could reach the agent twice.
    """

    def __init__(
        self, dms: DmsClient, *, budget_seconds: float, on_answer: Callable[[float], None] = lambda _: None
    ) -> None:
        """:param budget_seconds: from the first try on; a wait that would end later is not begun.
        :param on_answer: told the seconds that DMS took to answer a post.
        """
        self._dms = dms
        self._on_answer = on_answer
        self._stopping = threading.Event()
        # How many further tries there were, for those who run it.
        self.retries = 0
        self._backoff = wait_exponential_jitter(
            multiplier=_FIRST_WAIT_SECONDS, max=_MOST_WAIT_SECONDS, jitter=_FIRST_WAIT_SECONDS
        )
        self._retrying = Retrying(
            retry=retry_if_exception_type(_NotTakenError),
            wait=self._wait_seconds,
            stop=stop_before_delay(budget_seconds) | stop_when_event_set(self._stopping),
            sleep=self._sleep,
            before_sleep=self._count,
            reraise=True,
        )

    def post(self, body: bytes) -> DmsAnswer:
        """As `DmsClient.post`.

        :raises DmsError: as `DmsClient.post`, for the last try.
        """
        try:
            return self._retrying(self._once, body)
        except _NotTakenError as last:
            if isinstance(last.result, DmsError):
                raise last.result from last.result.__cause__
            return last.result

    def post_once(self, body: bytes) -> DmsAnswer:
        """Post what is worth nothing in a few seconds: one try, and no long one.

        :raises DmsError: as `DmsClient.post`.
        """
        started = time.monotonic()
        answer = self._dms.post_briefly(body)
        self._on_answer(time.monotonic() - started)
        return answer

    def stop(self) -> None:
        """No further tries: the process ends. Who waits for one is woken."""
        self._stopping.set()

    def _once(self, body: bytes) -> DmsAnswer:
        started = time.monotonic()
        try:
            answer = self._dms.post(body)
            self._on_answer(time.monotonic() - started)
        except DmsError as error:
            if error.may_have_taken or error.hopeless:
                raise
            raise _NotTakenError(error) from error
        if answer.status in _NOT_TAKEN:
            raise _NotTakenError(answer)
        return answer

    def _wait_seconds(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome is not None else None
        result = error.result if isinstance(error, _NotTakenError) else None
        named = result.retry_after if isinstance(result, DmsAnswer) else None
        if named is not None:
            try:
                seconds = Retry().parse_retry_after(named)
            except (InvalidHeader, ValueError, OverflowError):
                seconds = 0.0
            if seconds > 0:
                return seconds
            # "At once", or a time that is over, is no reason to hammer.
        return self._backoff(state)

    def _count(self, state: RetryCallState) -> None:
        self.retries += 1

    def _sleep(self, seconds: float) -> None:
        self._stopping.wait(seconds)
