"""The parts of one hook: builds them from the settings, owns them, and says how they hang together.

`app.extensions["lch"]` is it. Registers nothing with the application: `create_app` does.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Flask

from config import Settings
from lchook import log_output
from lchook.console.time_series import TimeSeries
from lchook.core.authentication import Authenticator, Verifier
from lchook.core.rate_limiter import RateLimiter
from lchook.core.tokens import CustomerTokens, Tokens
from lchook.dms.client import DmsClient
from lchook.flows.dms_posts import DmsPosts
from lchook.flows.to_customer import ToCustomer
from lchook.flows.to_dms import ToDms
from lchook.periodic_tasks import PeriodicTasks
from lchook.store import Bell, Store
from lchook.store.from_url import store_from_url
from lchook.store.group_commit import in_a_thread
from lchook.transport import runtime
from lchook.transport.connections import Connections
from lchook.transport.cors import Cors, WsgiApp
from lchook.transport.fast_path import FastPath
from lchook.transport.guard import Guard
from lchook.transport.http_server import HttpOptions, Timeouts
from lchook.transport.socket_io import SocketIO
from lchook.web import webhook
from lchook.web.chat import Chat, refusal
from lchook.web.draining import Draining
from lchook.web.metrics import Metrics
from lchook.web.origins import Origins

if TYPE_CHECKING:
    from lchook.identity.signing_keys import SigningKeys

# For how long a message that came in waits for a store that fails. Its sender sees no outcome meanwhile.
_STORE_PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Hook:
    """What runs, part by part; those further down use those above them."""

    settings: Settings
    metrics: Metrics
    periodic_tasks: PeriodicTasks
    tokens: Tokens
    guard: Guard
    socketio: SocketIO
    connections: Connections
    store: Store
    # For the console, where there is one.
    time_series: TimeSeries | None
    to_customer: ToCustomer
    to_dms: ToDms
    chat: Chat
    webhook: webhook.Webhook
    draining: Draining
    cors: Cors
    # Of the customers' identity provider, where there is one.
    signing_keys: SigningKeys | None
    # How the worker serves it.
    options: HttpOptions = field(repr=False)

    def start(self) -> None:
        """The process serves: messages may wait that one before it has left."""
        self.periodic_tasks.start()

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
    socketio = _socket_io(app, settings, guard)
    connections = Connections(socketio.server)
    tokens = Tokens(
        issuer=settings.jwt_issuer,
        secret=settings.jwt_secret,
        previous_secret=settings.jwt_secret_previous,
        clock=time.time,
    )
    store = _store(app, settings)
    time_series = TimeSeries(metrics) if settings.console_token else None
    to_customer = ToCustomer(
        store,
        connections,
        ack_timeout_seconds=settings.ack_timeout_seconds,
        heartbeat_seconds=settings.ping_interval_seconds + settings.ping_timeout_seconds,
        on_acknowledgement=metrics.acknowledgement_seconds.observe,
        soon=runtime.start_task if runtime.is_gevent() else None,
    )
    to_dms = ToDms(
        DmsPosts(
            _dms_client(settings, tokens),
            on_answer=time_series.dms_answered if time_series else metrics.dms_seconds.observe,
        ),
        store,
        to_customer,
        start_task=runtime.start_task,
        max_queue_length=settings.max_queue_length,
        ttl_seconds=settings.outbox_ttl_seconds,
        store_patience_seconds=min(_STORE_PATIENCE_SECONDS, settings.outbox_ttl_seconds),
    )
    signing_keys = _signing_keys(settings)
    chat = Chat(
        authenticator=_authenticator(settings, signing_keys),
        to_dms=to_dms,
        to_customer=to_customer,
        periodic_tasks=periodic_tasks,
        customer_rate_limiter=RateLimiter(settings.customer_rate, clock=time.monotonic),
        max_message_bytes=settings.max_message_bytes,
        forward_fields=settings.forward_fields,
        connections=connections,
        metrics=metrics,
    )
    socketio.on_namespace(chat)
    posts = webhook.Webhook(settings, tokens, to_customer, periodic_tasks, metrics)
    # Flask and, before it, Socket.IO.
    inner: WsgiApp = app.wsgi_app.__call__  # type: ignore[operator]
    draining = Draining(inner, connections=connections, to_dms=to_dms, to_customer=to_customer, store=store)
    cors = Cors(draining.__call__, socketio.server.eio)
    options = HttpOptions(
        timeouts=Timeouts(websocket_seconds=settings.ping_interval_seconds + 2 * settings.ping_timeout_seconds),
        max_body_bytes=settings.max_message_bytes,
        fast_path=FastPath(webhook.PATH, webhook.create_fast_path(posts, draining.is_stopping)),
        cors_headers=cors.headers,
    )
    for tasks in (
        (socketio.server.eio.tick,),
        (guard.tick, chat.tick),
        # These wait for the store, maybe for seconds.
        (to_customer.tick,),
        (to_dms.tick,),
        (to_dms.sweep,),
        *([(signing_keys.tick,)] if signing_keys is not None else []),
    ):
        periodic_tasks.add(*tasks)
    bell = Bell(
        due=to_customer.due,
        elsewhere=to_customer.deliver_pending,
        now=lambda customer_id, text: to_customer.send_transient(customer_id, json.loads(text)),
        reconnected=to_customer.reconnected,
    )
    store.open(bell, runtime.start_service)
    hook = Hook(
        settings,
        metrics,
        periodic_tasks,
        tokens,
        guard,
        socketio,
        connections,
        store,
        time_series,
        to_customer,
        to_dms,
        chat,
        posts,
        draining,
        cors,
        signing_keys,
        options,
    )
    _publish(hook)
    return hook


def _guard(settings: Settings, periodic_tasks: PeriodicTasks) -> Guard:
    return Guard(
        packet_rates=RateLimiter(settings.socket_rate, clock=time.monotonic),
        connection_rates=RateLimiter(settings.connection_rate, clock=time.monotonic),
        connect_timeout_seconds=settings.connect_timeout_seconds,
        refusal=refusal,
        on_connection=periodic_tasks.start,
    )


def _socket_io(app: Flask, settings: Settings, guard: Guard) -> SocketIO:
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
    return socketio


def _store(app: Flask, settings: Settings) -> Store:
    return store_from_url(
        settings.store_url,
        folder=Path(app.instance_path),
        ttl_seconds=settings.mailbox_ttl_seconds,
        size=settings.mailbox_size,
        aside=runtime.native_thread() or in_a_thread,
        max_queue_length=settings.max_queue_length,
        outbox_size=settings.outbox_size,
    )


def _dms_client(settings: Settings, tokens: Tokens) -> DmsClient:
    return DmsClient(
        url=settings.dms_url,
        tokens=tokens,
        token_ttl_seconds=settings.jwt_ttl_seconds,
        connect_timeout_seconds=settings.dms_connect_timeout_seconds,
        read_timeout_seconds=settings.dms_read_timeout_seconds,
    )


def _signing_keys(settings: Settings) -> SigningKeys | None:
    if not settings.customer_token_jwks_url:
        return None
    # Its HTTP client and its rules are loaded only where they are used.
    from lchook.identity.key_fetch import KeyFetch
    from lchook.identity.signing_keys import SigningKeys

    return SigningKeys(KeyFetch(settings.customer_token_jwks_url), runtime.start_task)


def _authenticator(settings: Settings, signing_keys: SigningKeys | None) -> Authenticator:
    backends = None
    if settings.customer_token_secret:
        backends = CustomerTokens(
            secret=settings.customer_token_secret,
            previous_secret=settings.customer_token_secret_previous,
            clock=time.time,
        )
    tokens = backends if signing_keys is None else _with_provider(settings, signing_keys, backends)
    # All instances know this secret, and no client does.
    key = hashlib.sha256(b"ids of unnamed customers\n" + settings.jwt_secret.encode()).digest()
    return Authenticator(tokens=tokens, anonymous=settings.anonymous_customers, key=key)


def _with_provider(settings: Settings, signing_keys: SigningKeys, backends: CustomerTokens | None) -> Verifier:
    from lchook.core.provider_tokens import EitherTokens, ProviderTokens

    providers = ProviderTokens(
        signing_keys,
        issuer=settings.customer_token_issuer,
        audience=settings.customer_token_audience,
        claim=settings.customer_token_claim,
        clock=time.time,
    )
    return providers if backends is None else EitherTokens(backends, providers)


def _publish(hook: Hook) -> None:
    metrics, to_dms, to_customer, chat, guard = hook.metrics, hook.to_dms, hook.to_customer, hook.chat, hook.guard
    metrics.add_store(hook.store)
    metrics.add_gauge("lch_connections", "Clients connected", chat.sockets)
    metrics.add_gauge("lch_customers", "Customers who are here", to_customer.customers)
    metrics.add_gauge("lch_messages_under_way", "Messages to DMS without an outcome yet", to_dms.pending)
    metrics.add_gauge("lch_messages_unacknowledged", "Messages sent and not acknowledged yet", to_customer.unacknowledged)
    metrics.add_counts("lch_deliveries", "What became of messages to customers", "outcome", lambda: to_customer.counts)
    metrics.add_counts("lch_clients", "What happened to connections and their messages", "event", lambda: chat.counts)
    metrics.add_counts("lch_refusals", "What was refused below Socket.IO's events", "reason", lambda: guard.counts)
    metrics.add_counts("lch_log_lines_dropped", "Lines of the log that could not be written", "reason", log_output.dropped)
    metrics.add_counts("lch_outbox_events", "What happened to messages to DMS that waited", "event", lambda: to_dms.counts)
    keys = hook.signing_keys
    if keys is not None:
        metrics.add_counts("lch_key_fetches", "Fetches of the identity provider's keys", "outcome", lambda: keys.counts)
        metrics.add_gauge("lch_keys_age_seconds", "Age of the identity provider's keys", keys.age_seconds)
    metrics.add_counts(
        "lch_dms_retries", "Further tries to post to DMS", "reason", lambda: {"not_taken": to_dms.counts["tried_again"]}
    )
