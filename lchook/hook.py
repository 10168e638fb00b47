"""The parts of one hook: builds them from the settings, owns them, and says how they hang together.

`app.extensions["lch"]` is it. Registers nothing with the application: `create_app` does. What belongs to one connection to
Pega is in `channel.py`; where there are several, `channels.py` has them.
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Flask

from config import Settings, SettingsError, load
from lchook import channel, log_output
from lchook.console.time_series import TimeSeries
from lchook.core import events
from lchook.core.rate_limiter import RateLimiter
from lchook.files.files import Files
from lchook.flows.to_customer import ToCustomer
from lchook.flows.to_dms import ToDms
from lchook.logs import Log
from lchook.periodic_tasks import PeriodicTasks
from lchook.scope import NO_SCOPE
from lchook.store import Store
from lchook.transport import runtime
from lchook.transport.blocking import BlockingCalls
from lchook.transport.connections import Connections
from lchook.transport.cors import Cors, WsgiApp
from lchook.transport.fast_path import FastPath
from lchook.transport.guard import Guard
from lchook.transport.http_server import HttpOptions, Timeouts
from lchook.transport.socket_io import SocketIO
from lchook.web import webhook
from lchook.web.chat import Chat, refusal
from lchook.web.draining import Draining
from lchook.web.files import is_upload, publish_files
from lchook.web.metrics import Metrics
from lchook.web.origins import Origins

if TYPE_CHECKING:
    from lchook.channel_sums import Stores, ToCustomers, ToDmss
    from lchook.channels import Channels
    from lchook.web.channel_metrics import ChannelMetrics
    from lchook.web.channel_router import ChatRouter, WebhookRouter

log = Log(__name__)

# For disks and buckets that keep one waiting.
_FILE_THREADS = 6


@dataclass(frozen=True)
class Hook:
    """What runs, part by part; those further down use those above them. With several channels, the parts of all of them."""

    settings: Settings
    metrics: Metrics | ChannelMetrics
    periodic_tasks: PeriodicTasks
    guard: Guard
    socketio: SocketIO
    connections: Connections
    # For the console, where there is one.
    time_series: TimeSeries | None
    store: Store | Stores
    to_customer: ToCustomer | ToCustomers
    to_dms: ToDms | ToDmss
    chat: Chat | ChatRouter
    webhook: webhook.Webhook | WebhookRouter
    draining: Draining
    cors: Cors
    # None where FILES_URL is not set.
    files: Files | None
    # How the worker serves it.
    options: HttpOptions = field(repr=False)
    # Where there are several.
    channels: Channels | None = None

    def start(self) -> None:
        """The process serves: messages may wait that one before it has left."""
        self.periodic_tasks.start()
        if self.channels is not None:
            self.channels.start()

    def reload(self) -> None:
        """Read the file of connections anew. Where something is wrong with it, all stays as it is."""
        if self.channels is None:
            return
        try:
            self.channels.reload(load)
        except SettingsError as error:
            log.error(events.NOT_RELOADED, reason="; ".join(f"{name} {problem}" for name, problem in error.problems.items()))
        except Exception as error:
            log.unexpected(events.NOT_RELOADED, error, reason="internal error")

    @property
    def wsgi_app(self) -> WsgiApp:
        """All of it, from the outside in: CORS, draining, Socket.IO, Flask."""
        # A bound method: to call an object takes a round through C, and C's stack is kept for each connection that waits.
        return self.cors.__call__


def build(app: Flask, settings: Settings) -> Hook:
    """The parts, and the store opened.

    :raises lchook.store.UnknownFormatError: where the store was written by another version.
    """
    metrics = Metrics()
    periodic_tasks = PeriodicTasks(start_task=runtime.start_service)
    guard = _guard(settings, periodic_tasks)
    channels = None
    if settings.connections:
        from lchook.channels import Channels

        channels = Channels(settings, metrics)
    socketio = _socket_io(app, settings, guard, channels)
    connections = Connections(socketio.server)
    time_series = TimeSeries() if settings.console_token else None
    for tasks in ((socketio.server.eio.tick,), (guard.tick,)):
        periodic_tasks.add(*tasks)
    folder = Path(app.instance_path)
    files = _files(folder, settings) if settings.files_url else None
    if files is not None:
        periodic_tasks.add(files.tick)
        publish_files(metrics, files)
    parts: channel.Channel | Channels
    if channels is not None:
        make = functools.partial(channel.build, folder=folder, server=socketio.server, time_series=time_series, files=files)
        channels.build(make, close=connections.close)
        parts = channels
    else:
        parts = channel.build(
            settings,
            NO_SCOPE,
            metrics,
            periodic_tasks,
            folder=folder,
            server=socketio.server,
            time_series=time_series,
            files=files,
        )
    socketio.on_namespace(parts.chat)
    # Flask and, before it, Socket.IO.
    inner: WsgiApp = app.wsgi_app.__call__  # type: ignore[operator]
    draining = Draining(
        inner, connections=connections, to_dms=parts.to_dms, to_customer=parts.to_customer, store=parts.store
    )
    cors = Cors(draining.__call__, socketio.server.eio)
    options = HttpOptions(
        timeouts=Timeouts(websocket_seconds=settings.ping_interval_seconds + 2 * settings.ping_timeout_seconds),
        max_body_bytes=settings.max_message_bytes,
        fast_path=FastPath(webhook.PATH, webhook.create_fast_path(parts.webhook, draining.is_stopping)),
        streams=is_upload if files is not None else None,
        cors_headers=cors.headers,
    )
    _publish_shared(metrics, guard)
    return Hook(
        settings,
        parts.metrics,
        periodic_tasks,
        guard,
        socketio,
        connections,
        time_series,
        parts.store,
        parts.to_customer,
        parts.to_dms,
        parts.chat,
        parts.webhook,
        draining,
        cors,
        files,
        options,
        channels,
    )


def _files(folder: Path, settings: Settings) -> Files:
    return Files(
        settings,
        folder=folder,
        call=BlockingCalls(threads=_FILE_THREADS),
        start_task=runtime.start_task,
        soon=runtime.start_task if runtime.is_gevent() else None,
    )


def _guard(settings: Settings, periodic_tasks: PeriodicTasks) -> Guard:
    return Guard(
        packet_rates=RateLimiter(settings.socket_rate, clock=time.monotonic),
        connection_rates=RateLimiter(settings.connection_rate, clock=time.monotonic),
        connect_timeout_seconds=settings.connect_timeout_seconds,
        refusal=refusal,
        on_connection=periodic_tasks.start,
    )


def _socket_io(app: Flask, settings: Settings, guard: Guard, channels: Channels | None) -> SocketIO:
    socketio = SocketIO()
    # The console is a page of this hook's own.
    own = bool(settings.console_token)
    socketio.init_app(
        app,
        guard=guard,
        async_mode="gevent" if runtime.is_gevent() else "threading",
        cors_allowed_origins=channels.allows if channels is not None else Origins(settings.allowed_origins, own=own),
        max_http_buffer_size=settings.max_message_bytes,
        ping_interval=settings.ping_interval_seconds,
        ping_timeout=settings.ping_timeout_seconds,
    )
    return socketio


def _publish_shared(metrics: Metrics, guard: Guard) -> None:
    metrics.add_counts("lch_refusals", "What was refused below Socket.IO's events", "reason", lambda: guard.counts)
    metrics.add_counts("lch_log_lines_dropped", "Lines of the log that could not be written", "reason", log_output.dropped)
