"""Several connections to Pega in one hook: a channel for each, and who picks one.

A webhook belongs to the channel whose id its token names and whose secret signed it; a client to the one that it names, else
to the first that allows its origin. Beyond that nothing here decides anything: a channel's parts know of no other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from config import Settings
from lchook.channel_sums import Stores, ToCustomers, ToDmss
from lchook.core import events
from lchook.logs import Log
from lchook.periodic_tasks import PeriodicTasks
from lchook.scope import Scope
from lchook.transport import runtime
from lchook.web.channel_metrics import ChannelMetrics
from lchook.web.channel_router import ChatRouter, WebhookRouter
from lchook.web.metrics import Metrics
from lchook.web.origins import Origins

if TYPE_CHECKING:
    from lchook.channel import Channel

log = Log(__name__)

# What a change of these leaves to nobody: whoever is here proves anew who they are.
_IDENTITY = (
    "customer_token_secret",
    "customer_token_secret_previous",
    "customer_token_jwks_url",
    "customer_token_issuer",
    "customer_token_audience",
    "customer_token_claim",
    "anonymous_customers",
    "allowed_origins",
)


class Channels:
    """All of them, by name, in the order of the file. `store`, `to_customer` and so on are those of all."""

    def __init__(self, settings: Settings, shared: Metrics) -> None:
        """Without any; `build` makes them."""
        self._settings = settings
        self._own = bool(settings.console_token)
        self._by_name: dict[str, Channel] = {}
        self._origins: dict[str, Origins] = {}
        self._make: Callable[..., Channel]
        self._close: Callable[[str], None]
        self._started = False
        self._reloading = threading.Lock()
        self.metrics = ChannelMetrics(shared, lambda: {name: each.metrics for name, each in self._by_name.items()})
        self.store = Stores(lambda: {name: each.store for name, each in self._by_name.items()})
        self.to_customer = ToCustomers(lambda: {name: each.to_customer for name, each in self._by_name.items()})
        self.to_dms = ToDmss(lambda: {name: each.to_dms for name, each in self._by_name.items()})
        self.chat = ChatRouter(self.channels, self.allowing)
        self.webhook = WebhookRouter(self.channels, max_bytes=settings.max_message_bytes)

    def build(self, make: Callable[..., Channel], *, close: Callable[[str], None]) -> None:
        """:param make: builds a channel. :param close: closes a client's connection so that it comes back.
        :raises lchook.store.UnknownFormatError: where a store was written by another version.
        """
        self._make, self._close = make, close
        for settings in self._settings.connections:
            self._add(settings)

    def channels(self) -> dict[str, Channel]:
        """By name."""
        return self._by_name

    def allows(self, origin: str | None, environ: dict[str, Any]) -> bool:
        """May pages of this origin connect to any of them?"""
        return any(origins(origin, environ) for origins in list(self._origins.values()))

    def allowing(self, environ: dict[str, Any]) -> Iterable[str]:
        """The names of those that pages of a request's origin may connect to."""
        origin = environ.get("HTTP_ORIGIN")
        return [name for name, origins in list(self._origins.items()) if origins(origin, environ)]

    def start(self) -> None:
        """The process serves."""
        self._started = True
        for channel in list(self._by_name.values()):
            channel.periodic_tasks.start()

    def reload(self, read: Callable[[], Settings]) -> None:
        """Go on with the connections as they are now. Those that did not change notice nothing, and of those that did, only
        what changed.

        :param read: reads the settings; whatever it raises leaves all as it is.
        """
        # Whoever comes meanwhile reads after it.
        with self._reloading:
            self._go_on_with({each.connection_name: each for each in read().connections})

    def _go_on_with(self, wanted: dict[str, Settings]) -> None:
        # What is no connection's own is only read at the start.
        own = {name: {field: getattr(each, field) for field in _OWN} for name, each in wanted.items()}
        # First what may fail.
        for name in [name for name in wanted if name not in self._by_name]:
            self._add(replace(self._settings, connections=(), connections_file="", **own[name]))
            log.warning(events.CHANNEL_ADDED, name=name)
        for name, channel in list(self._by_name.items()):
            if name not in wanted:
                self._remove(channel)
                log.warning(events.CHANNEL_REMOVED, name=name)
            elif any(getattr(channel.settings, field) != value for field, value in own[name].items()):
                self._change(channel, replace(channel.settings, **own[name]))
                log.warning(events.CHANNEL_CHANGED, name=name)
        self._by_name = {name: self._by_name[name] for name in wanted}
        self._origins = {name: self._origins[name] for name in wanted}
        self.webhook.forget()

    def _add(self, settings: Settings) -> None:
        name = settings.connection_name
        scope = Scope(name)
        tasks = PeriodicTasks(start_task=scope.starter(runtime.start_service))
        channel = self._make(settings, scope, Metrics(), tasks)
        self._by_name = {**self._by_name, name: channel}
        self._origins[name] = Origins(settings.allowed_origins, own=self._own)
        if self._started:
            tasks.start()

    def _change(self, channel: Channel, settings: Settings) -> None:
        proves_anew = any(getattr(channel.settings, field) != getattr(settings, field) for field in _IDENTITY)
        channel.apply(settings, with_provider=proves_anew)
        self._origins[settings.connection_name] = Origins(settings.allowed_origins, own=self._own)
        if proves_anew:
            self._close_clients(channel)

    def _remove(self, channel: Channel) -> None:
        """Its customers' connections are closed; what waits stays in its store, for when it comes back."""
        gone = channel.settings.connection_name
        self._by_name = {name: each for name, each in self._by_name.items() if name != gone}
        self._origins = {name: each for name, each in self._origins.items() if name != gone}
        channel.to_dms.stop()
        self._close_clients(channel)
        runtime.start_service(channel.end)

    def _close_clients(self, channel: Channel) -> None:
        for sid in channel.chat.sids():
            self._close(sid)


_OWN = (
    "connection_name",
    "dms_url",
    "jwt_issuer",
    "jwt_secret",
    "jwt_secret_previous",
    *_IDENTITY,
)
