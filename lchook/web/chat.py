"""The Socket.IO namespace that chat clients talk to: take events, hand them on, acknowledge.

Knows nothing of webhooks, HTTP or storage.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from lchook.core import events
from lchook.core.addresses import is_this_machine
from lchook.core.authentication import Authenticator, RefusedError
from lchook.core.messages import (
    END_OF_SESSION,
    FIELDS_TO_DMS,
    TYPING,
    MessageError,
    MessageToDms,
    customer_key,
    dms_from_client,
)
from lchook.core.outcomes import Outcome
from lchook.core.rate_limiter import RateLimiter
from lchook.files.files import CustomerFiles
from lchook.flows.conversations import Conversations
from lchook.flows.to_customer import ToCustomer
from lchook.flows.to_dms import ToDms
from lchook.logs import Log, Redacted
from lchook.periodic_tasks import PeriodicTasks
from lchook.transport.connections import Connections
from lchook.transport.namespace import Acknowledge, Namespace, Refused
from lchook.web.clients import Client, Clients
from lchook.web.metrics import Metrics, type_label
from lchook.web.opt_in import TOO_MANY, opt_in

log = Log(__name__)

# Clients compare with exactly this text.
FORWARDING_FAILED = "Error forwarding request to external API"


def refusal(reason: str) -> list[Any]:
    """The event (name, arguments) that tells a client in words why a packet of it was not taken."""
    return ["serverError", FORWARDING_FAILED, {"status": "rejected", "error": reason}]


# A client that has itself sent things and does not read them must not fill the memory: no echo while so many characters
# wait to be sent to it.
_MAX_UNSENT_CHARACTERS = 250_000
# Names come from outside: so many are logged.
_MAX_TOLD_IGNORED = 100
# python-engineio's reason where a ping was not answered in time.
_DEAD = "ping timeout"
_LONG_AGO_SECONDS = 1e9


class Chat(Namespace):
    """The default namespace. A malformed event is answered in words and costs nobody anything."""

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        to_dms: ToDms,
        to_customer: ToCustomer,
        periodic_tasks: PeriodicTasks,
        customer_rate_limiter: RateLimiter,
        max_message_bytes: int,
        forward_fields: Sequence[str],
        connections: Connections,
        metrics: Metrics,
        files: CustomerFiles | None = None,
        conversations: Conversations | None = None,
        conversation_unproven: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__("/")
        self._authenticator = authenticator
        self._to_dms = to_dms
        self._to_customer = to_customer
        self._periodic_tasks = periodic_tasks
        self._max_message_bytes = max_message_bytes
        self._forward_fields = forward_fields
        self._connections = connections
        self._metrics = metrics
        self._files = files
        # Where they are kept, and whether they are shown without proof.
        self._conversations = conversations
        self._conversation_unproven = conversation_unproven
        # Names of fields that the log has said are not forwarded.
        self._told_ignored: set[str] = set()
        # What happened, for the metrics.
        self.counts: Counter[str] = Counter()
        self._clients = Clients(customer_rate_limiter, self.counts, clock)

    def connected(self, sid: str, environ: dict[str, Any], auth: Any) -> None:
        """A client is there. Who it is, it says with its first message, or now (`auth`)."""
        self._periodic_tasks.start()
        address = environ.get("REMOTE_ADDR") or ""
        try:
            browser = environ.get("HTTP_USER_AGENT") or ""
            identity = self._authenticator.identify(
                auth, address=address, browser=browser, this_machine=is_this_machine(environ)
            )
        except RefusedError as error:
            self.counts["connections_refused"] += 1
            log.warning(events.CONNECTION_REFUSED, socket=sid, address=address, reason=error)
            raise Refused(str(error)) from error
        asked = opt_in(auth, identity, keeps=self._conversations is not None, unproven=self._conversation_unproven)
        self._clients.add(sid, Client(identity, _spoke_seconds_ago(auth), opt_in=asked))
        self.counts["connections"] += 1
        log.info(events.CONNECTED, socket=sid, address=address)

    def ready(self, sid: str) -> None:
        known = self._clients.get(sid)
        if known is None or (known.opt_in is not None and self._follows(sid, known)):
            return
        if known.identity.customer_id is not None:
            customer_id = known.identity.customer_id
            log.info(events.RESUMES, customer=customer_id, socket=sid)
            known.customers.add(customer_id)
            self._to_customer.resume(customer_id, sid, spoke_seconds_ago=known.spoke_seconds_ago)
            self._to_dms.deliver_statuses(customer_id)

    def _follows(self, sid: str, known: Client) -> bool:
        """A client wants the conversation. It gets it, or is told why not, and goes on without."""
        customer_id, refusal = known.identity.customer_id, known.opt_in
        if self._conversations is not None and customer_id is not None and isinstance(known.opt_in, int):
            known.follows = customer_id
            known.customers.add(customer_id)
            if self._conversations.join(customer_id, sid, known.opt_in):
                return True
            known.follows, refusal = None, TOO_MANY
        self.counts["conversations_refused"] += 1
        log.warning(events.CONVERSATION_REFUSED, customer=customer_id, socket=sid, reason=refusal)
        self._connections.send_event(sid, "conversation", {"error": refusal})
        return False

    def disconnected(self, sid: str, reason: str) -> None:
        log.info(events.DISCONNECTED, socket=sid, reason=reason)
        known = self._clients.remove(sid)
        if known is not None and known.follows is not None and self._conversations is not None:
            self._conversations.leave(sid)
        self._to_customer.disconnected(sid, was_dead=reason == _DEAD)

    def receive(self, sid: str, event: str, args: list[Any], acknowledge: Acknowledge) -> None:
        if event == "clientMessage":
            self._client_message(sid, args, acknowledge)
        elif event == "serverMessage":
            # The Node program sends these back, and its clients may rely on it.
            if self._connections.unsent(sid) > _MAX_UNSENT_CHARACTERS:
                acknowledge(Outcome("rejected", error="too many echoes are waiting: read them first").as_dict())
                return
            self._connections.send_event(sid, "serverMessage", *args)
            acknowledge()
        elif event == "fileRequest":
            self._file_request(sid, args, acknowledge)
        else:
            acknowledge(Outcome("rejected", error="unknown event: send clientMessage").as_dict())

    def tick(self) -> None:
        """Close the sockets whose tokens have expired: a client that connects again brings a new one, or is told why not."""
        for sid in self._clients.expired():
            log.info(events.TOKEN_EXPIRED, socket=sid)
            self.counts["tokens_expired"] += 1
            self._connections.close(sid)

    def use(self, authenticator: Authenticator) -> None:
        """From now on this says who connects as whom."""
        self._authenticator = authenticator

    def sids(self) -> list[str]:
        """The clients that are connected."""
        return self._clients.sids()

    def sockets(self) -> int:
        """How many clients are connected."""
        return len(self._clients)

    def _client_message(self, sid: str, args: list[Any], acknowledge: Acknowledge) -> None:
        message: MessageToDms | None = None
        follows = False
        came_at = time.monotonic()
        known = self._clients.get(sid)

        def done(outcome: Outcome) -> bool:
            answer = outcome.as_dict()
            label = "dropped" if outcome.is_quiet else outcome.status
            self._metrics.to_dms[type_label(message.type if message else None), label] += 1
            if message is not None and message.ignored and outcome.status != "rejected":
                answer["ignored"] = list(message.ignored)
            if message is not None and message.type == END_OF_SESSION:
                self._end_is_done(message, outcome, sid, came_at)
            if sid not in self._clients:
                # The conversation has the outcome, for whoever follows it.
                return follows
            acknowledge(answer)
            if outcome.status != "sent" and not outcome.is_quiet:
                self._connections.send_event(sid, "serverError", FORWARDING_FAILED, answer)
            return True

        try:
            message = dms_from_client(
                args[0] if args else None,
                max_bytes=self._max_message_bytes,
                resolve_customer=lambda claimed: self._clients.resolve_customer(sid, claimed),
                forward_fields=self._forward_fields,
                facts=known.identity.facts if known is not None and known.identity.proven else None,
            )
        except MessageError as error:
            self.counts["messages_rejected"] += 1
            log.warning(events.CLIENT_MESSAGE_REJECTED, socket=sid, reason=error)
            done(Outcome("rejected", error=str(error)))
            return
        log.info(
            events.RECEIVED_FROM_CUSTOMER,
            customer=message.customer_id,
            message=message.message_id,
            type=message.type,
            text=Redacted(message.text),
            socket=sid,
        )
        if message.ignored:
            self._tell_ignored(message)
        known = self._clients.get(sid)
        follows = known is not None and known.follows == message.customer_id
        if not follows:
            self._to_customer.spoke(message.customer_id, sid, claim=message.type == TYPING)
        self._to_dms.submit(message, done, claims=not follows)
        if message.type != END_OF_SESSION:
            self._to_customer.heard(message.customer_id)

    def _file_request(self, sid: str, args: list[Any], acknowledge: Acknowledge) -> None:
        """Whoever may speak for the customer may send files as theirs."""
        asked, known = args[0] if args else None, self._clients.get(sid)
        try:
            if self._files is None:
                raise MessageError("this hook takes no files")
            proven = known.identity.customer_id if known is not None and known.identity.proven else None
            claimed = customer_key(asked.get("customer_id", proven)) if isinstance(asked, dict) else None
            if claimed is None or not isinstance(asked, dict):
                raise MessageError("fileRequest takes one object with customer_id, name, type and size")
            customer_id = self._clients.resolve_customer(sid, claimed)
        except MessageError as error:
            self.counts["messages_rejected"] += 1
            log.warning(events.CLIENT_MESSAGE_REJECTED, socket=sid, reason=error)
            acknowledge({"error": str(error)})
            return
        self._files.request(customer_id, asked, acknowledge)

    def _end_is_done(self, message: MessageToDms, outcome: Outcome, sid: str, came_at: float) -> None:
        """Drop what waited when the customer ended the session, if DMS has taken the end; else it is still wanted."""
        if outcome.status == "sent" and not outcome.is_repeated:
            self._to_customer.clear(message.customer_id, seconds_ago=time.monotonic() - came_at)
        if sid in self._clients:
            self._to_customer.deliver_pending(message.customer_id)

    def _tell_ignored(self, message: MessageToDms) -> None:
        for name in message.ignored:
            if name not in FIELDS_TO_DMS and name not in self._told_ignored and len(self._told_ignored) < _MAX_TOLD_IGNORED:
                self._told_ignored.add(name)
                log.warning(events.FIELD_IGNORED, field=name, type=message.type)


def _spoke_seconds_ago(auth: object) -> float | None:
    said = auth.get("spoke_seconds_ago") if isinstance(auth, dict) else None
    is_number = isinstance(said, int | float) and not isinstance(said, bool) and 0 <= said < _LONG_AGO_SECONDS
    return float(said) if is_number and said is not None else None
