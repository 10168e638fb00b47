"""The Socket.IO namespace that chat clients talk to: take events, hand them on, acknowledge.

Knows nothing of webhooks, HTTP or storage.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from socketio.exceptions import ConnectionRefusedError as Refused

from lchook.addresses import is_this_machine
from lchook.engine.ordered_events import Acknowledge, OrderedNamespace
from lchook.identity import Doorkeeper, Identity, RefusedError
from lchook.logs import Log, Spoken
from lchook.messages import END_OF_SESSION, TYPING, MessageError, MessageToDms, dms_from_client
from lchook.metrics import Metrics, type_label
from lchook.rates import Rates
from lchook.ticker import Ticker
from lchook.to_customer import ToCustomer
from lchook.to_dms import Outcome, ToDms

log = Log(__name__)

# Clients compare with exactly this text.
FORWARDING_FAILED = "Error forwarding request to external API"
# One page may show a few customers (a person changes roles in a demo), not hundreds.
_MOST_CUSTOMERS = 50
# A client that has itself sent things and does not read them must not fill the memory: no echo while so many characters
# wait to be sent to it.
_MOST_UNSENT_CHARACTERS = 250_000
# Names come from outside: so many are logged.
_MOST_TOLD_IGNORED = 100
# python-engineio's reason where a ping was not answered in time.
_DEAD = "ping timeout"
_LONG_AGO_SECONDS = 1e9


@dataclass(slots=True)
class _Socket:
    identity: Identity
    # Grows with each connect.
    number: int
    # When its client spoke last, over a connection before this one, if it says so.
    spoke_seconds_ago: float | None = None
    customers: set[str] = field(default_factory=set)


class Chat(OrderedNamespace):
    """The default namespace. A malformed event is answered in words and costs nobody anything."""

    def __init__(
        self,
        *,
        doorkeeper: Doorkeeper,
        to_dms: ToDms,
        to_customer: ToCustomer,
        ticker: Ticker,
        customer_rates: Rates,
        max_message_bytes: int,
        forward_fields: Sequence[str],
        close: Callable[[str], None],
        unsent: Callable[[str], int],
        metrics: Metrics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """:param close: closes a socket in the way that makes its client connect again.
        :param unsent: how many characters wait to be sent to a socket.
        """
        super().__init__("/")
        self._doorkeeper = doorkeeper
        self._to_dms = to_dms
        self._to_customer = to_customer
        self._ticker = ticker
        self._customer_rates = customer_rates
        self._max_message_bytes = max_message_bytes
        self._forward_fields = forward_fields
        self._close = close
        self._unsent = unsent
        self._metrics = metrics
        self._clock = clock
        self._sockets: dict[str, _Socket] = {}
        self._numbers = itertools.count()
        self._has_warned_of_hidden_addresses = False
        # When tokens expire, soonest first.
        self._expiries: list[tuple[float, str]] = []
        # Names of fields that the log has said are not forwarded.
        self._told_ignored: set[str] = set()
        # What happened, for those who run it.
        self.counts: Counter[str] = Counter()

    def connected(self, sid: str, environ: dict[str, Any], auth: Any) -> None:
        """A client is there. Who it is, it says with its first message, or now (`auth`)."""
        self._ticker.start()
        address = environ.get("REMOTE_ADDR") or ""
        try:
            browser = environ.get("HTTP_USER_AGENT") or ""
            identity = self._doorkeeper.identify(
                auth, address=address, browser=browser, this_machine=is_this_machine(environ)
            )
        except RefusedError as error:
            self.counts["connections_refused"] += 1
            log.warning("connection refused", socket=sid, address=address, reason=error)
            raise Refused(str(error)) from error
        self._sockets[sid] = _Socket(identity, next(self._numbers), _spoke_seconds_ago(auth))
        if identity.expires_at is not None:
            heapq.heappush(self._expiries, (identity.expires_at, sid))
        self.counts["connections"] += 1
        log.info("connected", socket=sid, address=address)

    def ready(self, sid: str) -> None:
        known = self._sockets.get(sid)
        if known is not None and known.identity.customer_id is not None:
            customer_id = known.identity.customer_id
            log.info("resumes", customer=customer_id, socket=sid)
            known.customers.add(customer_id)
            self._to_customer.resume(customer_id, sid, spoke_seconds_ago=known.spoke_seconds_ago)

    def disconnected(self, sid: str, reason: str) -> None:
        log.info("disconnected", socket=sid, reason=reason)
        self._sockets.pop(sid, None)
        self._to_customer.socket_gone(sid, silently=reason == _DEAD)

    def receive(self, sid: str, event: str, args: list[Any], acknowledge: Acknowledge) -> None:
        if event == "clientMessage":
            self._client_message(sid, args, acknowledge)
        elif event == "serverMessage":
            # The Node program sends these back, and its clients may rely on it.
            if self._unsent(sid) > _MOST_UNSENT_CHARACTERS:
                acknowledge(Outcome("rejected", error="too many echoes are waiting: read them first").as_dict())
                return
            self._emit(sid, "serverMessage", *args)
            acknowledge()
        else:
            acknowledge(Outcome("rejected", error="unknown event: send clientMessage").as_dict())

    def tick(self) -> None:
        """Close the sockets whose tokens have expired: a client that connects again brings a new one, or is told why not."""
        while self._expiries and self._expiries[0][0] <= self._clock():
            _, sid = heapq.heappop(self._expiries)
            if sid in self._sockets:
                log.info("the token has expired: the socket is closed", socket=sid)
                self.counts["tokens_expired"] += 1
                self._close(sid)

    def is_older(self, sid: str, other: str) -> bool:
        """Has this socket connected before that one? Both must be open."""
        one, another = self._sockets.get(sid), self._sockets.get(other)
        return one is not None and another is not None and one.number < another.number

    def sockets(self) -> int:
        """How many clients are connected."""
        return len(self._sockets)

    def _client_message(self, sid: str, args: list[Any], acknowledge: Acknowledge) -> None:
        message: MessageToDms | None = None
        came_at = time.monotonic()

        def done(outcome: Outcome) -> None:
            answer = outcome.as_dict()
            label = "dropped" if outcome.quiet else outcome.status
            self._metrics.to_dms[type_label(message.type if message else None), label] += 1
            if message is not None and message.ignored and outcome.status != "rejected":
                answer["ignored"] = list(message.ignored)
            if message is not None and message.type == END_OF_SESSION:
                self._end_is_done(message, outcome, sid, came_at)
            acknowledge(answer)
            if outcome.status != "sent" and not outcome.quiet:
                self._emit(sid, "serverError", FORWARDING_FAILED, answer)

        try:
            message = dms_from_client(
                args[0] if args else None,
                max_bytes=self._max_message_bytes,
                speaker=lambda claimed: self._speaker(sid, claimed),
                forward_fields=self._forward_fields,
            )
        except MessageError as error:
            self.counts["messages_rejected"] += 1
            log.warning("clientMessage rejected", socket=sid, reason=error)
            done(Outcome("rejected", error=str(error)))
            return
        log.info(
            "received from the customer",
            customer=message.customer_id,
            message=message.message_id,
            type=message.type,
            text=Spoken(message.text),
            socket=sid,
        )
        if message.ignored:
            self._tell_ignored(message)
        self._to_customer.speaks_on(message.customer_id, sid, untold=message.type == TYPING)
        self._to_dms.submit(message, done)
        if message.type != END_OF_SESSION:
            self._to_customer.send_waiting_on(message.customer_id, sid)

    def _end_is_done(self, message: MessageToDms, outcome: Outcome, sid: str, came_at: float) -> None:
        """Drop what waited when the customer ended the session, if DMS has taken the end; else it is still wanted."""
        if outcome.status == "sent" and not outcome.is_repeated:
            self._to_customer.clear(message.customer_id, seconds_ago=time.monotonic() - came_at)
        if sid in self._sockets:
            self._to_customer.send_waiting_on(message.customer_id, sid)

    def _tell_ignored(self, message: MessageToDms) -> None:
        for name in message.ignored:
            if name not in self._told_ignored and len(self._told_ignored) < _MOST_TOLD_IGNORED:
                self._told_ignored.add(name)
                log.warning("a field is not forwarded: FORWARD_FIELDS can name it", field=name, type=message.type)

    def _speaker(self, sid: str, claimed: str) -> str:
        """The customer for whom this socket speaks when it claims an id."""
        known = self._sockets.get(sid)
        if known is None:
            raise MessageError("this connection is closed")
        if known.identity.expires_at is not None and self._clock() >= known.identity.expires_at:
            raise MessageError("this connection's token has expired: connect again with a new one")
        customer_id = known.identity.speaker(claimed)
        if customer_id not in known.customers:
            if len(known.customers) >= _MOST_CUSTOMERS:
                raise MessageError(f"one connection may speak for at most {_MOST_CUSTOMERS} customers")
            known.customers.add(customer_id)
            if not claimed and not known.identity.unnamed_id_lasts and not self._has_warned_of_hidden_addresses:
                self._has_warned_of_hidden_addresses = True
                log.warning(
                    "visitors without a name and a session come from an address that could be anybody's: a conversation of"
                    " their own for each connection",
                    socket=sid,
                )
        if not self._customer_rates.allows(customer_id):
            self.counts["messages_too_many"] += 1
            raise MessageError(f"too many messages: at most {self._customer_rates.per_second:g} a second, more in bursts")
        return customer_id

    def _emit(self, sid: str, event: str, *args: Any) -> None:
        self.socketio.server.emit(event, args, to=sid, namespace=self.namespace)


def _spoke_seconds_ago(auth: object) -> float | None:
    said = auth.get("spoke_seconds_ago") if isinstance(auth, dict) else None
    is_number = isinstance(said, int | float) and not isinstance(said, bool) and 0 <= said < _LONG_AGO_SECONDS
    return float(said) if is_number and said is not None else None
