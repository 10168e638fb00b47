"""Single posts to DMS, and what came of them, for `core/retry_policy.py` and the log. Knows nothing of order."""

from __future__ import annotations

import time
from collections.abc import Callable

from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from lchook.core import events
from lchook.core.outcomes import MessageId
from lchook.core.retry_policy import PostResult
from lchook.dms.client import DmsAnswer, DmsClient, DmsError
from lchook.logs import Log

log = Log("lchook.flows.to_dms")


class DmsPosts:
    """Posts bodies. Call from anywhere."""

    def __init__(self, dms: DmsClient, *, on_answer: Callable[[float], None] = lambda _: None) -> None:
        """:param on_answer: told the seconds that DMS took to answer a post."""
        self._dms = dms
        self._on_answer = on_answer

    def use(self, dms: DmsClient) -> None:
        """From now on post with this client; what is under way with the other one ends there."""
        before, self._dms = self._dms, dms
        before.close()

    def post(self, customer_id: str, message_id: MessageId, body: bytes, *, briefly: bool = False) -> PostResult:
        """Post a message.

        :param briefly: it is worth nothing in a few seconds.
        """
        started = time.monotonic()
        try:
            answer = self._dms.post_briefly(body) if briefly else self._dms.post(body)
            self._on_answer(time.monotonic() - started)
            if answer.taken:
                return PostResult(answer.status)
            return PostResult(answer.status, retry_after_seconds=_retry_after_seconds(answer), detail=answer.meaning)
        except DmsError as error:
            return PostResult(None, str(error), error.possibly_delivered, error.permanent, detail=error.detail)
        except Exception:
            # Nothing is known to come here. If something does, the queue goes on and the sender knows.
            log.exception(events.FORWARDING_FAILED, customer=customer_id, message=message_id)
            return PostResult(None, "internal error; DMS may have the message", possibly_delivered=True)


def log_result(customer_id: str, message_id: MessageId, result: PostResult) -> None:
    """Of a post that is not repeated."""
    names = {"customer": customer_id, "message": message_id}
    if result.is_taken:
        log.info(events.SENT_TO_DMS, **names, dms_status=result.status)
    elif result.status is None:
        log.error(events.DMS_FAILED, **names, reason=result.error, detail=result.detail)
    else:
        log.error(events.DMS_REFUSED, **names, dms_status=result.status, reason=result.detail)


def _retry_after_seconds(answer: DmsAnswer) -> float | None:
    if answer.retry_after is None:
        return None
    try:
        return float(Retry().parse_retry_after(answer.retry_after))
    except (InvalidHeader, ValueError, OverflowError):
        return None
