"""The sessions of the customers who are here: each decides under the lock, and what it says is performed outside of it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable

from lchook.core.delivery import Effect, Removal
from lchook.core.session import Session

Step = Callable[[Session], list[Effect]]


class Sessions:
    """Sessions by customer. The effects of one customer are performed one after the other, by whoever brought the input."""

    def __init__(self, perform: Callable[[Session, Effect], Step | None], failed: Callable[[Session], None]) -> None:
        """:param perform: performs an effect; returns what the session is to be told of it.
        :param failed: told of an exception while performing.
        """
        self._perform = perform
        self._failed = failed
        # Held while a session decides, and never while anything is performed.
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}
        # Effects that are still to be performed, for customers with whom somebody is at it.
        self._performing: dict[str, deque[Effect]] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def get(self, customer_id: str) -> Session | None:
        return self._sessions.get(customer_id)

    def connection(self, customer_id: str) -> str | None:
        """Where the customer is reached, if they are here."""
        session = self._sessions.get(customer_id)
        return session.connection if session is not None else None

    def all(self) -> list[Session]:
        return list(self._sessions.values())

    def removals(self, customers: Iterable[str]) -> list[Removal]:
        """What the store is to be told that these customers have."""
        with self._lock:
            sessions = [self._sessions[customer_id] for customer_id in customers if customer_id in self._sessions]
            return [removal for session in sessions if (removal := session.removal()) is not None]

    def input(self, customer_id: str, step: Step, *, create: bool = False) -> None:
        """Let the customer's session decide, and perform what it says, unless somebody is at it."""
        with self._lock:
            session = self._sessions.get(customer_id)
            if session is None:
                if not create:
                    return
                session = self._sessions[customer_id] = Session(customer_id)
            effects = step(session)
            performing = self._performing.get(customer_id)
            if performing is not None:
                performing.extend(effects)
                return
            if not effects:
                self._forget_if_idle(session)
                return
            performing = self._performing[customer_id] = deque(effects)
        self._perform_all(session, performing)

    def _perform_all(self, session: Session, performing: deque[Effect]) -> None:
        while True:
            with self._lock:
                if not performing:
                    del self._performing[session.customer_id]
                    self._forget_if_idle(session)
                    return
                effect = performing.popleft()
            try:
                answer = self._perform(session, effect)
            except Exception:
                self._failed(session)
                continue
            if answer is not None:
                with self._lock:
                    performing.extend(answer(session))

    def _forget_if_idle(self, session: Session) -> None:
        if session.is_idle and self._sessions.get(session.customer_id) is session:
            del self._sessions[session.customer_id]
