"""The flow to DMS: a customer's messages, one at a time and in the order in which they came in, once, or the sender knows.

Customers do not wait for each other. A message that comes again (same customer, type, message_id and content) is not
forwarded again: its sender gets the first one's outcome. With several instances the store's line says whose turn it is.
Typing indicators wait for messages, and no message waits for them: `typing_to_dms.py`.

Knows nothing of sockets; HTTP is `dms.py`'s, second tries are `retries.py`'s.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from lchook.core.canonical import compact_json
from lchook.core.messages import MessageToDms
from lchook.dms.client import DmsAnswer, DmsError
from lchook.flows.lanes import End, Lane, Waiting
from lchook.flows.retries import RetryingDms
from lchook.flows.reused_ids import ReusedIds
from lchook.flows.typing_to_dms import TYPING, TypingToDms
from lchook.logs import Log
from lchook.store import Store, StoreError

log = Log(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a message. `dms_status` is DMS's last HTTP status, `error` says in words why it failed.

    `is_repeated`: it is an earlier message's, of which this one is a repeat.
    """

    status: Literal["sent", "failed", "rejected"]
    message_id: str | int | float | None = None
    dms_status: int | None = None
    error: str | None = None
    is_repeated: bool = field(default=False, compare=False)
    # Nothing went wrong: no `serverError` beside the acknowledgement.
    quiet: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The acknowledgement as clients get it."""
        if self.status == "sent":
            return {"status": "sent", "message_id": self.message_id, "dms_status": self.dms_status}
        if self.status == "rejected":
            return {"status": "rejected", "error": self.error}
        return {
            "status": "failed",
            "message_id": self.message_id,
            "dms_status": self.dms_status,
            "error": self.error,
        }


Done = Callable[[Outcome], None]
StartTask = Callable[..., object]


class ToDms:
    """Takes messages and tells their outcome. Call from anywhere."""

    def __init__(
        self,
        dms: RetryingDms,
        store: Store,
        *,
        start_task: StartTask,
        max_queue_length: int,
        store_patience_seconds: float = 30.0,
    ) -> None:
        """:param start_task: starts a function with its arguments in a greenlet or thread of its own.
        :param store_patience_seconds: for how long a message waits for a store that fails.
        """
        self._dms = dms
        self._store = store
        self._start_task = start_task
        self._max_queue_length = max_queue_length
        self._store_patience_seconds = store_patience_seconds
        self._lock = threading.Lock()
        self._lanes: dict[str, Lane] = {}
        self._pending: dict[str, Waiting] = {}
        self._tickets = itertools.count(1)
        self._reused_ids = ReusedIds()
        # Outcomes that the store could not be told yet: they hold up the lines of other instances.
        self._untold: deque[tuple[Waiting, Outcome | None]] = deque()
        self._stopping = False
        self._typing = TypingToDms(self._post_typing, self._drop_typing, self._lanes.__contains__, start_task)
        # What happened, for those who run it.
        self.counts: Counter[str] = Counter()

    def submit(self, message: MessageToDms, done: Done) -> bool:
        """Take a message; `done` is called once with the outcome, from anywhere. Waits for the store, not for DMS.

        Returns whether the message is new; False for a repeat and for one that was not taken.
        """
        if self._stopping:
            done(Outcome("rejected", error="this instance is stopping: connect again and repeat the message"))
            return False
        if message.type == TYPING:
            self._typing.submit(message, done)
            return False
        if self._reused_ids.notices(message):
            log.warning(
                "a client gives one message_id to several messages: equal ones among them would pass for repeats",
                customer=message.customer_id,
                message=message.message_id,
                type=message.type,
            )
        lane = self._enter(message.customer_id)
        self._typing.message_comes(message.customer_id)
        try:
            with lane.lock:
                outcome, new = self._take(lane, message, done)
        finally:
            self._exit(message.customer_id, lane)
        if outcome is not None:
            self.counts[outcome.status] += not new
            done(outcome)
        return new

    def line_moved(self, customer_id: str) -> None:
        """Another instance has posted a message of this customer: it may be our turn."""
        lane = self._lanes.get(customer_id)
        if lane is not None:
            lane.moved.set()

    def tick(self) -> None:
        """Tell the store what it could not be told before, and give up typing indicators that waited too long."""
        self._typing.tick()
        while self._untold:
            waiting, outcome = self._untold[0]
            try:
                self._tell_store(waiting, outcome)
            except StoreError:
                return
            self._untold.popleft()

    def stop(self) -> None:
        """Take no further messages and make no second tries: the process ends."""
        self._stopping = True
        self._dms.stop()

    def under_way(self) -> int:
        """How many messages have no outcome yet."""
        return sum(len(lane.queue) for lane in list(self._lanes.values())) + self._typing.under_way()

    # Taking

    def _take(self, lane: Lane, message: MessageToDms, done: Done) -> tuple[Outcome | None, bool]:
        """Give the message its place. Returns its outcome if that is known now, and whether the message is new."""
        key = message.key
        if key is not None and (pending := self._pending.get(key)) is not None:
            pending.done.append(done)
            return None, False
        if len(lane.queue) >= self._max_queue_length:
            return Outcome("rejected", error=f"more than {self._max_queue_length} messages are waiting: slow down"), False
        waiting = Waiting(message, str(next(self._tickets)), key, [done])
        lane.enter(waiting)
        if waiting.arrival is not None and waiting.arrival.state in ("done", "lost"):
            log.info("came again, is not forwarded again", customer=message.customer_id, message=message.message_id)
            return _outcome_of(waiting), False
        if key is not None:
            self._pending[key] = waiting
        if not lane.running:
            lane.running = True
            with self._lock:
                lane.users += 1
            self._start_task(self._empty, message.customer_id, lane)
        return None, waiting.is_in_line

    def _enter(self, customer_id: str) -> Lane:
        with self._lock:
            lane = self._lanes.get(customer_id)
            if lane is None:
                lane = Lane(self._store, store_patience_seconds=self._store_patience_seconds)
                self._lanes[customer_id] = lane
            lane.users += 1
        return lane

    def _exit(self, customer_id: str, lane: Lane) -> None:
        with self._lock:
            lane.users -= 1
            if lane.users:
                return
            del self._lanes[customer_id]
        self._typing.may_go(customer_id)

    # Posting

    def _empty(self, customer_id: str, lane: Lane) -> None:
        """Post a lane's messages, one after the other. Ends when there is none."""
        while True:
            waiting = lane.queue[0]
            try:
                waiting, end = lane.next(lambda: self._stopping)
                outcome = self._bring(waiting, end)
            except Exception:
                # Nothing is known to come here. If something does, the queue goes on and the sender knows.
                log.exception("forwarding failed", customer=customer_id, message=waiting.message.message_id)
                outcome = Outcome("failed", waiting.message.message_id, None, "internal error; DMS may have the message")
                self._untold.append((_without_body(waiting), outcome))
            with lane.lock:
                lane.leave(waiting)
                if waiting.key is not None:
                    del self._pending[waiting.key]
                lane.running = more = bool(lane.queue)
            self._tell(waiting.message, outcome, waiting.done)
            if not more:
                self._exit(customer_id, lane)
                return

    def _bring(self, waiting: Waiting, end: End) -> Outcome:
        """Post the message if it is its turn. Returns its outcome, whoever it comes from."""
        if end == "turn":
            outcome = self._post(waiting.message, self._dms.post)
            to_remember: Outcome | None = outcome
        elif end == "gave up":
            message_id = waiting.message.message_id
            outcome = Outcome("failed", message_id, None, "storage failed, so it was not forwarded now: try again later")
            # It may have a place in the line all the same.
            to_remember = None
        else:
            return _outcome_of(waiting)
        try:
            self._tell_store(waiting, to_remember)
        except StoreError as error:
            log.error("the store could not be told what became of a message; it will be", reason=error)
            self._untold.append((_without_body(waiting), to_remember))
        return outcome

    def _tell_store(self, waiting: Waiting, outcome: Outcome | None) -> None:
        text = None
        if outcome is not None:
            # Whoever repeats the message knows its id. Of a day's messages that is a third of what is kept.
            text = compact_json({n: v for n, v in outcome.as_dict().items() if v is not None and n != "message_id"})
        self._store.finish(waiting.message.customer_id, waiting.ticket, waiting.key, text)

    def _tell(self, message: MessageToDms, outcome: Outcome, all_done: list[Done]) -> None:
        self.counts[outcome.status] += 1
        for done in all_done:
            try:
                done(outcome)
            except Exception:
                log.exception("telling an outcome failed", customer=message.customer_id, message=message.message_id)

    def _post_typing(self, message: MessageToDms, all_done: list[Done]) -> None:
        try:
            outcome = self._post(message, self._dms.post_once)
        except Exception:
            log.exception("forwarding failed", customer=message.customer_id, message=message.message_id)
            outcome = Outcome("failed", message.message_id, None, "internal error")
        self._tell(message, outcome, all_done)

    def _drop_typing(self, message: MessageToDms, all_done: list[Done]) -> None:
        log.info("typing is not posted: a message was first", customer=message.customer_id, message=message.message_id)
        outcome = Outcome("failed", message.message_id, None, "not sent: a message was on its way", quiet=True)
        self._tell(message, outcome, all_done)

    def _post(self, message: MessageToDms, post: Callable[[bytes], DmsAnswer]) -> Outcome:
        try:
            answer = post(message.body)
        except DmsError as error:
            log.error(
                "to DMS: failed",
                customer=message.customer_id,
                message=message.message_id,
                reason=error,
                detail=error.detail,
            )
            return Outcome("failed", message.message_id, None, str(error))
        if answer.taken:
            log.info("to DMS: sent", customer=message.customer_id, message=message.message_id, dms_status=answer.status)
            return Outcome("sent", message.message_id, answer.status)
        log.error(
            "to DMS: refused",
            customer=message.customer_id,
            message=message.message_id,
            dms_status=answer.status,
            reason=answer.meaning,
        )
        return Outcome("failed", message.message_id, answer.status, f"DMS answered {answer.status}")


def _without_body(waiting: Waiting) -> Waiting:
    """For a memory that may grow while the store is away."""
    return dataclasses.replace(waiting, message=dataclasses.replace(waiting.message, body=b""), done=[])


def _outcome_of(waiting: Waiting) -> Outcome:
    """What the store knows of a message that another instance had."""
    if waiting.arrival is not None and waiting.arrival.outcome is not None:
        known = {"message_id": waiting.message.message_id, **json.loads(waiting.arrival.outcome)}
        return Outcome(**known, is_repeated=True)
    return Outcome(
        "failed",
        waiting.message.message_id,
        None,
        "the instance that had this message stopped meanwhile; DMS may have the message",
        is_repeated=True,
    )
