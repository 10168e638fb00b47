"""The effects of an outbox that are calls to the store, and the store's answers. Decides nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from lchook.core import events
from lchook.core.messages import END_OF_SESSION
from lchook.core.outbox import Outbox
from lchook.core.outbox_effects import Complete, Effect, Enqueue, Look, Postpone, Queued, Take
from lchook.core.outcomes import UNKNOWN_OUTCOME
from lchook.flows.statuses import Statuses
from lchook.logs import Log
from lchook.store import REMEMBER_SECONDS, REMEMBER_SENT_SECONDS, Enqueued, Store, StoreError, Taken

log = Log("lchook.flows.to_dms")

Step = Callable[[Outbox], list[Effect]]


class OutboxCalls:
    """Each method performs the effect of its name, and returns what the outbox is to be told of it."""

    def __init__(self, store: Store, statuses: Statuses, counts: Counter[str], clock: Callable[[], float]) -> None:
        self._store = store
        self._statuses = statuses
        self._counts = counts
        self._clock = clock
        # Customers for whom the store fails, as the log knows.
        self._failing: set[str] = set()

    def enqueue(self, customer_id: str, effect: Enqueue) -> Step:
        def answer(enqueued: Enqueued) -> Step:
            for submission, stored in zip(effect.submissions, enqueued.answers, strict=True):
                if stored.state == "queued":
                    log.debug(events.MESSAGE_STORED, customer=customer_id, message=submission.message_id)
            if enqueued.statuses:
                self._statuses.send(customer_id, enqueued.statuses)
            first = self._first(customer_id, enqueued.taken)
            return lambda outbox: outbox.enqueued(enqueued.answers, first, self._clock())

        return self._ask(
            customer_id,
            lambda: self._store.enqueue(customer_id, effect.submissions, take=effect.take),
            answer,
            lambda outbox: outbox.enqueue_failed(self._clock()),
        )

    def take(self, customer_id: str, effect: Take) -> Step:
        def answer(taken: Taken) -> Step:
            first = self._first(customer_id, taken)
            return lambda outbox: outbox.taken(first, self._clock())

        return self._ask(
            customer_id,
            lambda: self._store.take(customer_id),
            answer,
            lambda outbox: outbox.take_failed(self._clock()),
        )

    def postpone(self, customer_id: str, effect: Postpone) -> Step:
        return self._ask(
            customer_id,
            lambda: self._store.postpone(customer_id, effect.number, give_up=effect.give_up),
            lambda _: Outbox.postponed,
            Outbox.postponed,
        )

    def complete(self, customer_id: str, effect: Complete) -> Step:
        message, outcome = effect.message, effect.outcome
        lasts = outcome.status == "sent" and message.type != END_OF_SESSION

        def answer(taken: Taken) -> Step:
            first = self._first(customer_id, taken)
            return lambda outbox: outbox.completed(first, self._clock())

        return self._ask(
            customer_id,
            lambda: self._store.complete(
                customer_id,
                message,
                outcome,
                take=effect.take,
                tell_later=effect.tell_later,
                remember_seconds=REMEMBER_SENT_SECONDS if lasts else REMEMBER_SECONDS,
            ),
            answer,
            lambda outbox: outbox.complete_failed(self._clock()),
        )

    def look(self, customer_id: str, effect: Look) -> Step:
        return self._ask(
            customer_id,
            lambda: self._store.look(customer_id, effect.keys),
            lambda outcomes: lambda outbox: outbox.looked(outcomes, self._clock()),
            lambda outbox: outbox.looked({}, self._clock()),
        )

    def _ask(self, customer_id: str, call: Callable[[], Any], answer: Callable[[Any], Step], failed: Step) -> Step:
        """Call the store. Returns what the outbox is to be told of it."""
        try:
            result = call()
        except StoreError as error:
            if customer_id not in self._failing:
                self._failing.add(customer_id)
                log.warning(events.WAITS_FOR_STORE, customer=customer_id, reason=error)
            return failed
        except Exception:
            log.exception(events.OUTBOX_FAILED, customer=customer_id)
            return failed
        self._failing.discard(customer_id)
        return answer(result)

    def _first(self, customer_id: str, taken: Taken) -> Queued | None:
        """The message that is to be posted now. Tells of those that a process was posting when it ended."""
        if not taken.unknown:
            return taken.first
        for message in taken.unknown:
            self._counts["unknown"] += 1
            log.error(
                events.DMS_FAILED,
                customer=customer_id,
                message=message.message_id,
                reason=UNKNOWN_OUTCOME,
                detail="the process that was posting it ended",
            )
        self._statuses.deliver_if_here(customer_id)
        return taken.first
