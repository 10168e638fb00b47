"""The clients that are connected: who each is, for whom it may speak, and until when. Knows nothing of what they say."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from lchook.core import events
from lchook.core.authentication import Identity
from lchook.core.messages import MessageError
from lchook.core.rate_limiter import RateLimiter
from lchook.logs import Log

log = Log("lchook.web.chat")

# One page may show a few customers (a person changes roles in a demo), not hundreds.
_MAX_CUSTOMERS = 50


@dataclass(slots=True)
class Client:
    identity: Identity
    # When it sent its last message, over an earlier connection; None where it does not say.
    spoke_seconds_ago: float | None = None
    customers: set[str] = field(default_factory=set)
    # After which number it wants the conversation, or why it may not have it; None where it does not ask.
    opt_in: int | str | None = None
    # Whose conversation it follows.
    follows: str | None = None


class Clients:
    """By connection."""

    def __init__(self, rate_limiter: RateLimiter, counts: Counter[str], clock: Callable[[], float]) -> None:
        """:param rate_limiter: of customers' messages. :param clock: seconds since 1970."""
        self._rate_limiter = rate_limiter
        self._counts = counts
        self._clock = clock
        self._clients: dict[str, Client] = {}
        self._has_warned_of_hidden_addresses = False
        # When tokens expire, soonest first.
        self._expiries: list[tuple[float, str]] = []

    def __contains__(self, sid: str) -> bool:
        return sid in self._clients

    def __len__(self) -> int:
        return len(self._clients)

    def sids(self) -> list[str]:
        return list(self._clients)

    def get(self, sid: str) -> Client | None:
        return self._clients.get(sid)

    def add(self, sid: str, client: Client) -> None:
        self._clients[sid] = client
        if client.identity.expires_at is not None:
            heapq.heappush(self._expiries, (client.identity.expires_at, sid))

    def remove(self, sid: str) -> Client | None:
        return self._clients.pop(sid, None)

    def expired(self) -> list[str]:
        """Those whose tokens have expired since the last call."""
        expired = []
        while self._expiries and self._expiries[0][0] <= self._clock():
            _, sid = heapq.heappop(self._expiries)
            if sid in self._clients:
                expired.append(sid)
        return expired

    def resolve_customer(self, sid: str, claimed: str | None) -> str:
        """The customer for whom a message of this connection goes that claims this id.

        :raises MessageError: where it may not, or not now.
        """
        client = self._clients.get(sid)
        if client is None:
            raise MessageError("this connection is closed")
        if client.identity.expires_at is not None and self._clock() >= client.identity.expires_at:
            raise MessageError("this connection's token has expired: connect again with a new one")
        customer_id = client.identity.resolve_customer(claimed)
        if customer_id not in client.customers:
            if len(client.customers) >= _MAX_CUSTOMERS:
                raise MessageError(f"one connection may speak for at most {_MAX_CUSTOMERS} customers")
            client.customers.add(customer_id)
            if not claimed and not client.identity.anonymous_id_lasts and not self._has_warned_of_hidden_addresses:
                self._has_warned_of_hidden_addresses = True
                log.warning(events.ADDRESSES_HIDDEN, socket=sid)
        if not self._rate_limiter.allows(customer_id):
            self._counts["messages_too_many"] += 1
            per_second = self._rate_limiter.per_second
            raise MessageError(f"too many messages: at most {per_second:g} a second, more in bursts")
        return customer_id
