"""What consoles are told: all of it when they come, then what has changed, twice a second, the same for all of them.

Runs only while somebody looks. Knows of Socket.IO only three functions.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from lchook.console.events import Filter, Redactor, latest
from lchook.console.history import History
from lchook.console.time_series import EVERY_SECONDS, TimeSeries
from lchook.core import events
from lchook.logs import Log
from lchook.store import CustomerBacklog, MailboxBacklog, OutboxBacklog, StoreError

log = Log("lchook.console")

_SECONDS = 0.5
# In one go. Of more, consoles get the latest and the word that some are missing: they then ask for what they want.
_MAX_EVENTS = 100
_MAX_EVENTS_AT_FIRST = 200
_MAX_WAITING = 50
# A console that does not read them is closed. It comes back when it can, and gets all anew.
_MAX_UNSENT_CHARACTERS = 1_000_000
# A store with very many messages may take long to count them: of its time, no more than this part is for consoles.
_STORE_SHARE = 0.02


class Waits(Protocol):
    """The store, or several."""

    def mailbox_backlog(self) -> MailboxBacklog: ...
    def customer_backlogs(self, limit: int) -> list[CustomerBacklog]: ...
    def outbox_backlog(self) -> OutboxBacklog: ...


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the figures come from. Cheap, and callable from anywhere."""

    connections: Callable[[], int]
    customers: Callable[[], int]
    under_way: Callable[[], int]
    on_the_way: Callable[[], int]
    # Is the customer here, and how many messages are in flight to them?
    whereabouts: Callable[[str], tuple[bool, int]]
    store: Waits


class Feed:
    """Tells consoles. `join` and `leave` are called as they come and go."""

    def __init__(
        self,
        sources: Sources,
        *,
        time_series: TimeSeries,
        history: History,
        redactor: Redactor,
        about: dict[str, Any],
        emit: Callable[[str, str, dict[str, Any]], None],
        unsent: Callable[[str], int],
        close: Callable[[str], None],
        start_task: Callable[..., object],
    ) -> None:
        """:param about: what a console shows of this instance.
        :param emit: (socket, event, data). :param unsent: how many characters wait to be sent to a socket.
        """
        self._sources = sources
        self._time_series = time_series
        self._history = history
        self._redactor = redactor
        self._about = about
        self._emit = emit
        self._unsent = unsent
        self._close = close
        self._start_task = start_task
        self._lock = threading.Lock()
        self._sids: set[str] = set()
        self._told = 0
        self._told_sample_at = 0
        self._now: dict[str, int] = {}
        self._waiting: dict[str, Any] = {}
        self._next_look_at_store = 0.0
        # Whether the task is there; it ends by itself.
        self.is_running = False

    def join(self, sid: str) -> None:
        """A console is connected: tell it everything, and keep it up to date from now on."""
        with self._lock:
            # From here on it gets news, those before its `state` in vain. What it gets twice it tells by its number.
            self._sids.add(sid)
            start, self.is_running = not self.is_running, True
            if start:
                self._told = self._history.latest
                self._told_sample_at = self._time_series.rows[-1].at if self._time_series.rows else 0
                self._now, self._waiting, self._next_look_at_store = {}, {}, 0.0
        state = {
            "about": self._about,
            "samples": list(self._time_series.rows),
            "now": self._now,
            "waiting": self._waiting,
            **self.find(Filter(), _MAX_EVENTS_AT_FIRST),
        }
        self._emit(sid, "state", state)
        if start:
            self._start_task(self._run)

    def leave(self, sid: str) -> None:
        """A console is gone."""
        with self._lock:
            self._sids.discard(sid)

    def find(self, wanted: Filter, most: int) -> dict[str, Any]:
        """The latest events that are wanted, out of all that are remembered. `number` is that of the latest of all."""
        first, entries = self._history.all()
        newest, complete = latest(first, entries, wanted, self._redactor, most)
        return {"events": newest, "complete": complete, "number": first + len(entries) - 1}

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._sids:
                    self.is_running = False
                    return
            try:
                self._tell()
            except Exception:
                log.exception(events.CONSOLE_FAILED)
            time.sleep(_SECONDS)

    def _tell(self) -> None:
        news: dict[str, Any] = {**self._news_of_events(), **self._news_of_figures(), **self._news_of_waiting()}
        if not news:
            return
        for sid in list(self._sids):
            if self._unsent(sid) > _MAX_UNSENT_CHARACTERS:
                log.warning(events.CONSOLE_NOT_READING, socket=sid)
                self.leave(sid)
                self._close(sid)
            else:
                self._emit(sid, "news", news)

    def _news_of_events(self) -> dict[str, Any]:
        if self._history.latest == self._told:
            return {}
        first, entries = self._history.all()
        after, self._told = self._told, first + len(entries) - 1
        new = entries[max(0, after + 1 - first) :]
        newest, _ = latest(self._told + 1 - len(new), new, Filter(), self._redactor, _MAX_EVENTS)
        return {"events": newest, "missing": self._told - after - len(newest), "number": self._told}

    def _news_of_figures(self) -> dict[str, Any]:
        sources, news = self._sources, {}
        now = {
            "connections": sources.connections(),
            "customers": sources.customers(),
            "under_way": sources.under_way(),
            "on_the_way": sources.on_the_way(),
        }
        if now != self._now:
            self._now = news["now"] = now
        rows = self._time_series.after(self._told_sample_at)
        if rows:
            self._told_sample_at = rows[-1].at
            return {**news, "samples": rows}
        return dict(news)

    def _news_of_waiting(self) -> dict[str, Any]:
        """What waits in the store. Read seldom; where customers are is read along with it."""
        started = time.monotonic()
        if started < self._next_look_at_store:
            return {}
        try:
            mailboxes = self._sources.store.mailbox_backlog()
            customers = self._sources.store.customer_backlogs(_MAX_WAITING) if mailboxes.messages else []
            outbox = self._sources.store.outbox_backlog()
        except StoreError:
            # The log says so wherever a message meets it.
            news: dict[str, Any] = {"error": "the store does not answer"}
        else:
            news = {
                "messages": mailboxes.messages,
                "customers": mailboxes.customers,
                "oldest_seconds": round(mailboxes.oldest_seconds, 1),
                "outbox": outbox.messages,
                "outbox_oldest_seconds": round(outbox.oldest_seconds, 1),
                "list": [
                    [
                        self._redactor.hide(customer.customer_id),
                        customer.messages,
                        round(customer.oldest_seconds, 1),
                        *self._sources.whereabouts(customer.customer_id),
                    ]
                    for customer in customers
                ],
            }
        took = time.monotonic() - started
        self._next_look_at_store = started + max(EVERY_SECONDS, took / _STORE_SHARE)
        if news == self._waiting:
            return {}
        self._waiting = news
        return {"waiting": news}
