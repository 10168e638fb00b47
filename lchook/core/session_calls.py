"""The calls to the store that say who delivers to one customer: one at a time, in their order. Part of `session.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from lchook.core.delivery import Claim, Effect, Fetch, Release
from lchook.core.inflight import InFlight
from lchook.core.receivers import Receivers


class Asked(NamedTuple):
    """How things stood when the store was asked for messages."""

    connection: str
    attachments: int
    after: int


@dataclass(slots=True, eq=False)
class SessionCalls:
    """Which call is under way, and which are wanted next."""

    receivers: Receivers
    inflight: InFlight
    # How often the customer attached, and when last.
    attachments: int = 0
    attached_at: float = 0.0
    under_way: Literal["claim", "fetch", "release", "last removal"] | None = None
    asked: Asked | None = None
    claim_wanted: bool = False
    fetch_wanted: bool = False
    release_wanted: bool = False
    # The customer came to a connection by speaking there, and the store has not been asked for messages since.
    moved: bool = False

    @property
    def may_skip_fetch(self) -> bool:
        """Does the store's next message need no fetch, as nothing is asked of it and nothing is to be?"""
        return not (self.fetch_wanted or self.claim_wanted or self.under_way == "fetch" or self.under_way == "claim")

    @property
    def waits_to_be_heard(self) -> bool:
        """Does `heard` change anything?"""
        return self.moved or self.claim_wanted or self.fetch_wanted

    def attached(self, at: float) -> None:
        self.attachments += 1
        self.attached_at = at

    def moves(self, *, claim: bool) -> None:
        """The customer speaks elsewhere than before. `claim`: the store does not hear of it with what they say."""
        self.moved, self.claim_wanted = True, self.claim_wanted or claim

    def heard(self, *, may_have_been_elsewhere: bool = False) -> list[Effect]:
        """The store has heard that the customer speaks here. What came meanwhile waits, where they were not here before.

        :param may_have_been_elsewhere: another instance may have had them for the store, though they never left here.
        """
        self.fetch_wanted |= self.moved or may_have_been_elsewhere
        self.moved = False
        return self.next()

    def want_all(self) -> None:
        """The store may not know that the customer is here, if they are; and messages may wait."""
        self.claim_wanted = self.fetch_wanted = self.receivers.current is not None

    def next(self) -> list[Effect]:
        """The next call to the store, if none is under way."""
        if self.under_way is not None:
            return []
        connection, inflight = self.receivers.current, self.inflight
        if connection is None:
            self.claim_wanted = self.fetch_wanted = False
            if not self.release_wanted:
                return []
            self.under_way, self.release_wanted = "release", False
            # While the store has messages that are done, nobody else may send them.
            return [Release(waiting=bool(inflight.deliveries or inflight.acked))]
        self.release_wanted = False
        if self.claim_wanted:
            self.under_way, self.claim_wanted = "claim", False
            return [Claim(self.attached_at, self.receivers.is_weak)]
        if not self.fetch_wanted or inflight.is_full or not inflight.may_send(connection):
            return []
        self.under_way, self.fetch_wanted = "fetch", False
        self.asked = Asked(connection, self.attachments, inflight.cursor)
        return [Fetch(inflight.cursor)]
