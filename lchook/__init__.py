"""LCH, the Labb Chat Hook: between web chat clients and Pega's Digital Messaging Service (DMS).

This module only wires the parts together. The two flows are `to_dms.py` and `to_customer.py`.
"""

from __future__ import annotations

# First: `config` is found by it.
from lchook import top  # noqa: F401

# isort: split
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

import config
from lchook import cli, console, log_output
from lchook.core import addresses, events
from lchook.core.authentication import Authenticator
from lchook.core.rate_limiter import RateLimiter
from lchook.core.tokens import CustomerTokens, Tokens
from lchook.dms.client import DmsClient
from lchook.flows.dms_posts import DmsPosts
from lchook.flows.to_customer import ToCustomer
from lchook.flows.to_dms import ToDms
from lchook.logs import Log, set_up_logs
from lchook.periodic_tasks import PeriodicTasks
from lchook.store import Bell, Store
from lchook.store.from_url import store_from_url
from lchook.store.group_commit import in_a_thread
from lchook.transport import runtime
from lchook.transport.connections import Connections
from lchook.transport.cors import Cors
from lchook.transport.fast_path import FastPath
from lchook.transport.guard import Guard
from lchook.transport.http_server import HttpOptions, Timeouts
from lchook.transport.socket_io import SocketIO
from lchook.transport.startup_checks import check_server
from lchook.transport.worker import Served
from lchook.web import health, http_errors, webhook
from lchook.web.chat import FORWARDING_FAILED, Chat
from lchook.web.draining import Draining
from lchook.web.metrics import Metrics
from lchook.web.origins import Origins

log = Log(__name__)

# RFC 7518, 3.2: a key for HS256 should have at least this many bytes.
_SOUND_SECRET_BYTES = 32


def create_app(settings: config.Settings | None = None) -> Flask:
    """The application, ready to serve. Its Socket.IO is `app.extensions["socketio"]`.

    :param settings: read from the environment if not given.
    :raises config.SettingsError: naming every setting that is missing or wrong.
    :raises lchook.store.UnknownFormatError: where the store was written by another version.
    :raises lchook.transport.startup_checks.ServerError: where it is loaded by something that cannot serve it.
    """
    check_server()
    settings = settings or config.load()
    set_up_logs(settings.log_levels, settings.log_format, show_text=settings.log_text == "on")
    folder = str(config.HOME / "instance") if config.INSTALLED else None
    app = Flask("lchook", static_folder=None, instance_path=folder)
    app.extensions["lch_settings"] = settings

    tokens = Tokens(
        issuer=settings.jwt_issuer,
        secret=settings.jwt_secret,
        previous_secret=settings.jwt_secret_previous,
        clock=time.time,
    )
    dms = DmsClient(
        url=settings.dms_url,
        tokens=tokens,
        token_ttl_seconds=settings.jwt_ttl_seconds,
        connect_timeout_seconds=settings.dms_connect_timeout_seconds,
        read_timeout_seconds=settings.dms_read_timeout_seconds,
    )
    metrics = Metrics()
    guard = Guard(
        packet_rates=RateLimiter(settings.socket_rate, clock=time.monotonic),
        connection_rates=RateLimiter(settings.connection_rate, clock=time.monotonic),
        connect_timeout_seconds=settings.connect_timeout_seconds,
        refusal=lambda reason: ["serverError", FORWARDING_FAILED, {"status": "rejected", "error": reason}],
        on_connection=lambda: periodic_tasks.start(),
    )
    socketio = SocketIO()
    socketio.init_app(
        app,
        guard=guard,
        async_mode="gevent" if runtime.is_gevent() else "threading",
        # The console is a page of this hook's own.
        cors_allowed_origins=Origins(settings.allowed_origins, own=bool(settings.console_token)),
        max_http_buffer_size=settings.max_message_bytes,
        ping_interval=settings.ping_interval_seconds,
        ping_timeout=settings.ping_timeout_seconds,
    )
    server = socketio.server
    connections = Connections(server)

    store = store_from_url(
        settings.store_url,
        folder=Path(app.instance_path),
        ttl_seconds=settings.mailbox_ttl_seconds,
        size=settings.mailbox_size,
        aside=runtime.native_thread() or in_a_thread,
        max_queue_length=settings.max_queue_length,
        outbox_size=settings.outbox_size,
    )
    time_series = console.TimeSeries(metrics) if settings.console_token else None
    on_answer = time_series.dms_answered if time_series else metrics.dms_seconds.observe
    to_customer = ToCustomer(
        store,
        connections,
        ack_timeout_seconds=settings.ack_timeout_seconds,
        heartbeat_seconds=settings.ping_interval_seconds + settings.ping_timeout_seconds,
        on_acknowledgement=metrics.acknowledgement_seconds.observe,
        soon=runtime.start_task if runtime.is_gevent() else None,
    )
    to_dms = ToDms(
        DmsPosts(dms, on_answer=on_answer),
        store,
        to_customer,
        start_task=runtime.start_task,
        max_queue_length=settings.max_queue_length,
        ttl_seconds=settings.outbox_ttl_seconds,
    )
    periodic_tasks = PeriodicTasks(start_task=runtime.start_service)
    bell = Bell(
        due=to_customer.due,
        elsewhere=to_customer.deliver_pending,
        now=lambda customer_id, text: to_customer.send_transient(customer_id, json.loads(text)),
        reconnected=to_customer.reconnected,
    )
    store.open(bell, runtime.start_service)

    chat = Chat(
        authenticator=_authenticator(settings),
        to_dms=to_dms,
        to_customer=to_customer,
        periodic_tasks=periodic_tasks,
        customer_rate_limiter=RateLimiter(settings.customer_rate, clock=time.monotonic),
        max_message_bytes=settings.max_message_bytes,
        forward_fields=settings.forward_fields,
        connections=connections,
        metrics=metrics,
    )
    periodic_tasks.add(server.eio.tick)
    periodic_tasks.add(guard.tick, chat.tick)
    # These wait for the store, maybe for seconds.
    periodic_tasks.add(to_customer.tick)
    periodic_tasks.add(to_dms.tick)
    periodic_tasks.add(to_dms.sweep)
    socketio.on_namespace(chat)
    hook = webhook.Webhook(settings, tokens, to_customer, periodic_tasks, metrics)
    app.register_blueprint(webhook.create_blueprint(settings, hook))
    flask_socketio: Any = app.wsgi_app
    draining = Draining(
        flask_socketio.__call__, connections=connections, to_dms=to_dms, to_customer=to_customer, store=store
    )
    # Bound methods: to call an object takes a round through C, and what is on C's stack is kept for each waiting connection.
    cors = Cors(draining.__call__, server.eio)
    app.wsgi_app = cors.__call__  # type: ignore[method-assign]
    options = HttpOptions(
        timeouts=Timeouts(websocket_seconds=settings.ping_interval_seconds + 2 * settings.ping_timeout_seconds),
        max_body_bytes=settings.max_message_bytes,
        fast_path=FastPath(webhook.PATH, webhook.create_fast_path(hook, lambda: draining.stopping)),
        cors_headers=cors.headers,
    )
    app.extensions["lch_served"] = Served(options, draining, on_start=periodic_tasks.start)
    app.register_blueprint(
        health.create_blueprint(store=store, draining=draining, metrics=metrics, metrics_token=settings.metrics_token)
    )
    _publish(metrics, store, chat, guard, to_dms, to_customer)
    if time_series is not None:
        console.init_app(
            app,
            socketio,
            settings,
            connections=Connections(server, console.NAMESPACE),
            time_series=time_series,
            metrics=metrics,
            periodic_tasks=periodic_tasks,
            chat=chat,
            to_dms=to_dms,
            to_customer=to_customer,
            store=store,
        )
    # A bound method, as above.
    app.wsgi_app = _Addresses(app.wsgi_app, settings.proxy_hops).__call__  # type: ignore[method-assign]
    http_errors.register(app, metrics)
    cli.register(app)
    _warn(settings)
    return app


def _publish(
    metrics: Metrics,
    store: Store,
    chat: Chat,
    guard: Guard,
    to_dms: ToDms,
    to_customer: ToCustomer,
) -> None:
    metrics.add_store(store)
    metrics.add_gauge("lch_connections", "Clients connected", chat.sockets)
    metrics.add_gauge("lch_customers", "Customers who are here", to_customer.customers)
    metrics.add_gauge("lch_messages_under_way", "Messages to DMS without an outcome yet", to_dms.pending)
    metrics.add_gauge("lch_messages_unacknowledged", "Messages sent and not acknowledged yet", to_customer.unacknowledged)
    metrics.add_counts("lch_deliveries", "What became of messages to customers", "outcome", lambda: to_customer.counts)
    metrics.add_counts("lch_clients", "What happened to connections and their messages", "event", lambda: chat.counts)
    metrics.add_counts("lch_refusals", "What was refused below Socket.IO's events", "reason", lambda: guard.counts)
    metrics.add_counts("lch_log_lines_dropped", "Lines of the log that could not be written", "reason", log_output.dropped)
    metrics.add_counts("lch_outbox_events", "What happened to messages to DMS that waited", "event", lambda: to_dms.counts)
    metrics.add_counts(
        "lch_dms_retries", "Further tries to post to DMS", "reason", lambda: {"not_taken": to_dms.counts["tried_again"]}
    )


def _authenticator(settings: config.Settings) -> Authenticator:
    tokens = None
    if settings.customer_token_secret:
        tokens = CustomerTokens(
            secret=settings.customer_token_secret,
            previous_secret=settings.customer_token_secret_previous,
            clock=time.time,
        )
    # All instances know this secret, and no client does.
    key = hashlib.sha256(b"ids of unnamed customers\n" + settings.jwt_secret.encode()).digest()
    return Authenticator(tokens=tokens, anonymous=settings.anonymous_customers, key=key)


class _Addresses:
    """WSGI middleware: who asks, under which name, and in which scheme, as the proxies before LCH say."""

    def __init__(self, app: Any, hops: int) -> None:
        self._app = ProxyFix(app, x_for=0, x_proto=hops, x_host=hops) if hops else app
        self._hops = hops

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        environ["REMOTE_ADDR"] = addresses.client_address(
            environ.get("REMOTE_ADDR") or "", environ.get("HTTP_X_FORWARDED_FOR") or "", self._hops
        )
        return self._app(environ, start_response)


def _warn(settings: config.Settings) -> None:
    if settings.webhook_auth == "off":
        log.warning(events.WEBHOOK_AUTH_OFF)
    if settings.outbox_ttl_is_retry_budget:
        log.warning(events.RETRY_BUDGET_READ, seconds=settings.outbox_ttl_seconds)
    if len(settings.jwt_secret.encode()) < _SOUND_SECRET_BYTES:
        log.warning(events.SECRET_SHORT, bytes=_SOUND_SECRET_BYTES)
    if not settings.customer_token_secret and settings.allowed_origins == "*":
        log.warning(events.ANY_ORIGIN)
    if isinstance(settings.allowed_origins, tuple) and {"null", "file://"} & {*settings.allowed_origins}:
        log.warning(events.FILES_ALLOWED)
    quoted = [name for name in ("JWT_ISSUER", "JWT_SECRET") if config.in_quotes(getattr(settings, name.lower()))]
    if quoted:
        log.warning(events.SETTINGS_QUOTED, settings=" and ".join(quoted))
    if settings.dms_url.startswith("http:") and os.environ.get("LCH_SANDBOX") != "1":
        log.warning(events.DMS_IN_THE_CLEAR)
