"""Telling what became of messages to DMS: to their senders, or else to the customer, by the event `messageStatus`, now or at
their next connection. Decides nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from lchook.core import events
from lchook.core.outbox_effects import Delayed, Tell, TellLater
from lchook.core.outcomes import Outcome, message_status
from lchook.core.pending_messages import STORAGE_FAILED
from lchook.logs import Log
from lchook.store import Store, StoreError

log = Log("lchook.flows.to_dms")

# Told an outcome; returns whether whoever sent the message could be told.
Done = Callable[[Outcome], bool]


class Customers(Protocol):
    """What the flow needs of customers' connections."""

    def send_status(self, customer_id: str, payload: dict[str, Any]) -> bool:
        """Send a `messageStatus`, if the customer is here; tells whether they are."""

    def whereabouts(self, customer_id: str) -> tuple[bool, int]:
        """Is the customer here? (And something else.)"""


class Statuses:
    """Call from anywhere."""

    def __init__(self, store: Store, customers: Customers, counts: Counter[str]) -> None:
        self._store = store
        self._customers = customers
        self._counts = counts

    def tell_sender(self, customer_id: str, effect: Tell) -> None:
        """A message has its outcome."""
        submission, outcome = effect.submission, effect.outcome
        names = {"customer": customer_id, "message": submission.message_id}
        if outcome.is_repeated:
            log.info(events.MESSAGE_REPEATED, **names)
        elif outcome.error == STORAGE_FAILED:
            log.error(events.NOT_FORWARDED, **names)
        if self.tell(customer_id, submission.sender, outcome) or submission.message_id is None:
            return
        # Its connection is gone.
        self._counts["told_later"] += 1
        payload = message_status(submission.message_id, outcome)
        if not self._customers.send_status(customer_id, json.loads(payload)):
            self._keep(customer_id, payload)

    def tell(self, customer_id: str, done: Done, outcome: Outcome) -> bool:
        """Returns whether whoever sent the message could be told."""
        try:
            return done(outcome)
        except Exception:
            log.exception(events.OUTCOME_NOT_TOLD, customer=customer_id, message=outcome.message_id)
            return True

    def has_no_sender(self, customer_id: str, effect: TellLater) -> None:
        """A message has its outcome, and the store keeps it for the customer."""
        self._counts[f"{effect.outcome.status}_without_sender"] += 1
        self.deliver_if_here(customer_id)

    def delayed(self, customer_id: str, effect: Delayed) -> None:
        """A message has waited for some time."""
        self._counts["delayed"] += 1
        log.warning(events.MESSAGE_DELAYED, customer=customer_id, message=effect.message_id)
        if effect.message_id is not None:
            self._customers.send_status(customer_id, {"message_id": effect.message_id, "status": "delayed"})

    def send(self, customer_id: str, payloads: Iterable[str]) -> None:
        """Send what was kept, or keep it again."""
        for payload in payloads:
            if not self._customers.send_status(customer_id, json.loads(payload)):
                self._keep(customer_id, payload)

    def _keep(self, customer_id: str, payload: str) -> None:
        try:
            self._store.add_status(customer_id, payload)
        except StoreError as error:
            log.warning(events.STATUS_NOT_KEPT, customer=customer_id, reason=error)

    def deliver(self, customer_id: str) -> None:
        """The customer has a connection: send them what was kept."""
        try:
            self.send(customer_id, self._store.take_statuses(customer_id))
        except StoreError as error:
            log.warning(events.STATUSES_NOT_FETCHED, customer=customer_id, reason=error)

    def deliver_if_here(self, customer_id: str) -> None:
        """Something was kept; the customer may be here."""
        if self._customers.whereabouts(customer_id)[0]:
            self.deliver(customer_id)
