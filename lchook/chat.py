"""The Socket.IO namespace that chat clients talk to: take events, hand them on, acknowledge.

Knows nothing of webhooks, HTTP or storage.
"""

from __future__ import annotations

import logging
from typing import Any

from lchook.messages import MessageError, dms_from_client
from lchook.ordered_events import Acknowledge, OrderedNamespace
from lchook.to_customer import ToCustomer
from lchook.to_dms import Outcome, ToDms

log = logging.getLogger(__name__)

# Clients compare with exactly this text.
FORWARDING_FAILED = "Error forwarding request to external API"


class Chat(OrderedNamespace):
    """The default namespace. A malformed event is answered in words and costs nobody anything."""

    def __init__(self, *, to_dms: ToDms, to_customer: ToCustomer, max_message_bytes: int) -> None:
        super().__init__("/")
        self._to_dms = to_dms
        self._to_customer = to_customer
        self._max_message_bytes = max_message_bytes

    def connected(self, sid: str, environ: dict[str, Any], auth: Any) -> None:
        """A client is there. Who it is, it says with its first message."""
        log.info("socket %s connected", sid)

    def disconnected(self, sid: str, reason: str) -> None:
        log.info("socket %s disconnected (%s)", sid, reason)
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
        self._to_dms.submit(message, done)

    def _emit(self, sid: str, event: str, *args: Any) -> None:
        self.socketio.server.emit(event, args, to=sid, namespace=self.namespace)
