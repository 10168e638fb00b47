"""The Socket.IO namespace that consoles talk to: who may look, and what they may ask.

A console connects with `auth: {token}`; it is told `state` once and `news` from then on, and may ask for `events`. Nothing
that it sends changes anything.
"""

from __future__ import annotations

import hmac
import time
from typing import Any

from lchook.console.events import Filter
from lchook.console.feed import Feed
from lchook.core import events
from lchook.core.addresses import network
from lchook.core.rate_limiter import RateLimiter
from lchook.logs import Log
from lchook.periodic_tasks import PeriodicTasks
from lchook.transport.namespace import Acknowledge, Namespace, Refused

log = Log("lchook.console")

NAMESPACE = "/console"
# From one address, ten at once and then one a second. A right token makes up for wrong ones.
_ATTEMPTS_PER_SECOND = 1.0
# A question costs a look through all events that are remembered.
_QUESTIONS_PER_SECOND = 2.0
_MAX_EVENTS = 500


class ConsoleNamespace(Namespace):
    """Lets operators in and answers them."""

    def __init__(self, feed: Feed, *, token: str, periodic_tasks: PeriodicTasks) -> None:
        super().__init__(NAMESPACE)
        self._feed = feed
        self._token = token.encode()
        self._periodic_tasks = periodic_tasks
        self._attempts = RateLimiter(_ATTEMPTS_PER_SECOND, clock=time.monotonic)
        self._questions = RateLimiter(_QUESTIONS_PER_SECOND, clock=time.monotonic)

    def connected(self, sid: str, environ: dict[str, Any], auth: Any) -> None:
        address = environ.get("REMOTE_ADDR") or ""
        if not self._attempts.allows(network(address)):
            raise Refused("too many attempts from your address: try again in a few seconds")
        token = auth.get("token") if isinstance(auth, dict) else None
        if not isinstance(token, str) or not token:
            raise Refused("a token is required: connect with auth: {token}, CONSOLE_TOKEN's value")
        # JSON can hold half a surrogate pair, which UTF-8 cannot.
        if not hmac.compare_digest(token.encode("utf-8", "replace"), self._token):
            log.warning(events.CONSOLE_REFUSED, address=address)
            raise Refused("this is not the token: compare it with CONSOLE_TOKEN")
        self._attempts.forget(network(address))
        self._periodic_tasks.start()
        log.info(events.CONSOLE_CONNECTED, address=address, socket=sid)

    def ready(self, sid: str) -> None:
        self._feed.join(sid)

    def disconnected(self, sid: str, reason: str) -> None:
        log.info(events.CONSOLE_DISCONNECTED, socket=sid, reason=reason)
        self._questions.forget(sid)
        self._feed.leave(sid)

    def receive(self, sid: str, event: str, args: list[Any], acknowledge: Acknowledge) -> None:
        if event != "events":
            acknowledge({"error": "unknown event: send events"})
        elif not self._questions.allows(sid):
            acknowledge({"error": "too many questions: ask again in a second"})
        else:
            acknowledge(self._feed.find(Filter.from_client(args[0] if args else None), _MAX_EVENTS))
