"""The Socket.IO namespace that chat clients talk to: take events, hand them on, acknowledge.

Knows nothing of webhooks, HTTP or storage.
"""

from __future__ import annotations

import logging
from typing import Any

from lchook.messages import END_OF_SESSION, MessageError, dms_from_client, is_customer_id
from lchook.ordered_events import Acknowledge, OrderedNamespace
from lchook.ticker import Ticker
from lchook.to_customer import ToCustomer
from lchook.to_dms import Outcome, ToDms

log = logging.getLogger(__name__)

# Clients compare with exactly this text.
FORWARDING_FAILED = "Error forwarding request to external API"


class Chat(OrderedNamespace):
    """The default namespace. A malformed event is answered in words and costs nobody anything."""

    def __init__(self, *, to_dms: ToDms, to_customer: ToCustomer, ticker: Ticker, max_message_bytes: int) -> None:
        super().__init__("/")
        self._to_dms = to_dms
        self._to_customer = to_customer
        self._ticker = ticker
        self._max_message_bytes = max_message_bytes
        # Customers to resume for, by socket, until the socket can be sent to.
        self._resuming: dict[str, str] = {}

    def connected(self, sid: str, environ: dict[str, Any], auth: Any) -> None:
        """A client is there. Who it is, it says with its first message, or now (`auth: {customer_id}`)."""
        self._ticker.start()
        log.info("socket %s connected", sid)
        customer_id = auth.get("customer_id") if isinstance(auth, dict) else None
        # An unnamed customer has nothing to resume: the name is everybody's.
        if is_customer_id(customer_id) and customer_id:
            self._resuming[sid] = customer_id

    def ready(self, sid: str) -> None:
        customer_id = self._resuming.pop(sid, None)
        if customer_id is not None:
            log.info("customer %r: resumes on socket %s", customer_id, sid)
            self._to_customer.speaks_on(customer_id, sid)
            self._to_customer.claim(customer_id)

    def disconnected(self, sid: str, reason: str) -> None:
        log.info("socket %s disconnected (%s)", sid, reason)
        self._resuming.pop(sid, None)
        self._to_customer.socket_gone(sid)

    def receive(self, sid: str, event: str, args: list[Any], acknowledge: Acknowledge) -> None:
        if event == "clientMessage":
            self._client_message(sid, args, acknowledge)
        elif event == "serverMessage":
            # The Node program sends these back, and its clients may rely on it.
            self._emit(sid, "serverMessage", *args)
            acknowledge()
        else:
            acknowledge(Outcome("rejected", error="unknown event: send clientMessage").as_dict())

    def _client_message(self, sid: str, args: list[Any], acknowledge: Acknowledge) -> None:
        def done(outcome: Outcome) -> None:
            answer = outcome.as_dict()
            acknowledge(answer)
            if outcome.status != "sent":
                self._emit(sid, "serverError", FORWARDING_FAILED, answer)

        try:
            message = dms_from_client(args[0] if args else None, max_bytes=self._max_message_bytes)
        except MessageError as error:
            log.warning("socket %s: clientMessage rejected: %s", sid, error)
            done(Outcome("rejected", error=str(error)))
            return
        log.info("customer %r: %r received on socket %s", message.customer_id, message.type, sid)
        self._to_customer.speaks_on(message.customer_id, sid)
        if self._to_dms.submit(message, done) and message.type == END_OF_SESSION:
            self._to_customer.clear(message.customer_id)
        self._to_customer.send_waiting(message.customer_id)

    def _emit(self, sid: str, event: str, *args: Any) -> None:
        self.socketio.server.emit(event, args, to=sid, namespace=self.namespace)
