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
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Flask
from gevent import monkey
from werkzeug.middleware.proxy_fix import ProxyFix

import config
from lchook import cli, console, log_output
from lchook.core import addresses
from lchook.core.authentication import Doorkeeper
from lchook.core.rate_limiter import Rates
from lchook.core.tokens import CustomerTokens, Tokens
from lchook.dms.client import DmsClient
from lchook.engine.cors import Cors
from lchook.engine.guard import EngineGuard, StrictJson
from lchook.engine.lean_manager import LeanManager
from lchook.engine.mended import pings
from lchook.engine.ordered_events import (
    OrderedSocketIO,
    answered_ping_age,
    ask_whether_there,
    emit_event,
    engine_socket,
)
from lchook.flows.dms_posts import DmsPosts
from lchook.flows.to_customer import ToCustomer
from lchook.flows.to_dms import ToDms
from lchook.logs import Log, set_up_logs
from lchook.periodic_tasks import Ticker
from lchook.serving.aside import Aside
from lchook.serving.crew import crew
from lchook.serving.start import check_server
from lchook.store import Bell, Store
from lchook.store.from_url import store_from_url
from lchook.store.group_commit import in_a_thread
from lchook.web import health, http_errors, webhook
from lchook.web.chat import FORWARDING_FAILED, Chat
from lchook.web.draining import Draining
from lchook.web.metrics import Metrics
from lchook.web.origins import Origins

log = Log(__name__)

# RFC 7518, 3.2: a key for HS256 should have at least this many bytes.
_SOUND_SECRET_BYTES = 32
# A person waits no longer for a store that fails.
_MOST_STORE_PATIENCE_SECONDS = 30.0


def create_app(settings: config.Settings | None = None) -> Flask:
    """The application, ready to serve. Its Socket.IO is `app.extensions["socketio"]`.

    :param settings: read from the environment if not given.
    :raises config.SettingsError: naming every setting that is missing or wrong.
    :raises lchook.store.UnknownFormatError: where the store was written by another version.
    :raises lchook.serving.start.ServerError: where it is loaded by something that cannot serve it.
    """
    check_server()
    settings = settings or config.load()
    set_up_logs(settings.log_levels, settings.log_format, show_text=settings.log_text == "on")
    folder = str(config.HOME / "instance") if config.INSTALLED else None
    app = Flask("lchook", static_folder=None, instance_path=folder)
    app.extensions["lch_settings"] = settings

    tokens = Tokens(issuer=settings.jwt_issuer, secret=settings.jwt_secret, previous_secret=settings.jwt_secret_previous)
    dms = DmsClient(
        url=settings.dms_url,
        tokens=tokens,
        token_ttl_seconds=settings.jwt_ttl_seconds,
        connect_timeout_seconds=settings.dms_connect_timeout_seconds,
        read_timeout_seconds=settings.dms_read_timeout_seconds,
    )
    metrics = Metrics()
    # Greenlets where the process is monkey patched (gunicorn), threads elsewhere (`flask run`, pytest).
    under_gevent = monkey.is_module_patched("socket")
    socketio = OrderedSocketIO()
    socketio.init_app(
        app,
        async_mode="gevent" if under_gevent else "threading",
        # The console is a page of this hook's own.
        cors_allowed_origins=Origins(settings.allowed_origins, own=bool(settings.console_token)),
        manage_session=False,
        max_http_buffer_size=settings.max_message_bytes,
        json=StrictJson,
        client_manager=LeanManager(),
        ping_interval=settings.ping_interval_seconds,
        ping_timeout=settings.ping_timeout_seconds,
        # `pings` looks after the heartbeats.
        monitor_clients=False,
    )
    server = socketio.server
    start_task = crew.start if under_gevent else server.start_background_task

    store = store_from_url(
        settings.store_url,
        folder=Path(app.instance_path),
        ttl_seconds=settings.mailbox_ttl_seconds,
        size=settings.mailbox_size,
        aside=Aside() if under_gevent else in_a_thread,
        max_queue_length=settings.max_queue_length,
        outbox_size=settings.outbox_size,
    )
    samples = console.Samples(metrics) if settings.console_token else None
    on_answer = samples.dms_answered if samples else metrics.dms_seconds.observe
    guard = EngineGuard(
        server,
        packet_rates=Rates(settings.socket_rate),
        connection_rates=Rates(settings.connection_rate),
        connect_timeout_seconds=settings.connect_timeout_seconds,
        refusal=lambda reason: ["serverError", FORWARDING_FAILED, {"status": "rejected", "error": reason}],
        on_connection=lambda: ticker.start(),
    )

    def emit(sid: str, payload: str, acknowledged: Callable[..., None]) -> None:
        eio_socket = engine_socket(server, sid)
        if guard.reads(eio_socket):
            emit_event(server, eio_socket, sid, "serverMessage", payload, acknowledged)

    to_customer = ToCustomer(
        store,
        emit=emit,
        emit_status=lambda sid, payload: server.emit("messageStatus", payload, to=sid, namespace="/"),
        answered_ping_age=lambda sid: answered_ping_age(server, sid),
        ack_timeout_seconds=settings.ack_timeout_seconds,
        heartbeat_seconds=settings.ping_interval_seconds + settings.ping_timeout_seconds,
        on_acknowledgement=metrics.acknowledgement_seconds.observe,
        is_older=lambda sid, other: chat.is_older(sid, other),
        ask=lambda sid, answered: ask_whether_there(server, sid, answered),
        soon=start_task if under_gevent else None,
    )
    to_dms = ToDms(
        DmsPosts(dms, on_answer=on_answer),
        store,
        to_customer,
        start_task=start_task,
        max_queue_length=settings.max_queue_length,
        ttl_seconds=settings.outbox_ttl_seconds,
        store_patience_seconds=min(settings.outbox_ttl_seconds, _MOST_STORE_PATIENCE_SECONDS),
    )
    ticker = Ticker(start_task=server.start_background_task)
    bell = Bell(
        due=to_customer.due,
        elsewhere=to_customer.elsewhere,
        now=lambda customer_id, text: to_customer.send_now(customer_id, json.loads(text)),
        reconnected=to_customer.reconnected,
    )
    store.open(bell, server.start_background_task)

    chat = Chat(
        doorkeeper=_doorkeeper(settings),
        to_dms=to_dms,
        to_customer=to_customer,
        ticker=ticker,
        customer_rates=Rates(settings.customer_rate),
        max_message_bytes=settings.max_message_bytes,
        forward_fields=settings.forward_fields,
        close=guard.close,
        unsent=guard.unsent,
        metrics=metrics,
    )
    ticker.add(pings.tick)
    ticker.add(guard.tick, chat.tick)
    # These wait for the store, maybe for seconds.
    ticker.add(to_customer.tick)
    ticker.add(to_dms.tick)
    ticker.add(to_dms.sweep)
    socketio.on_namespace(chat)
    hook = webhook.Webhook(settings, tokens, to_customer, ticker, metrics)
    app.register_blueprint(webhook.create_blueprint(settings, hook))
    flask_socketio: Any = app.wsgi_app
    draining = Draining(flask_socketio.__call__, socketio=socketio, to_dms=to_dms, to_customer=to_customer, store=store)
    # Bound methods: to call an object takes a round through C, and what is on C's stack is kept for each waiting connection.
    cors = Cors(draining.__call__, server.eio)
    app.wsgi_app = cors.__call__  # type: ignore[method-assign]
    app.extensions["lch_cors"] = cors.headers
    app.extensions["lch_draining"] = draining
    app.extensions["lch_ticker"] = ticker
    app.extensions["lch_shortcut"] = webhook.create_shortcut(hook, lambda: draining.stopping)
    app.register_blueprint(
        health.create_blueprint(store=store, draining=draining, metrics=metrics, metrics_token=settings.metrics_token)
    )
    _publish(metrics, store, chat, guard, to_dms, to_customer)
    if samples is not None:
        console.init_app(
            app,
            socketio,
            settings,
            samples=samples,
            metrics=metrics,
            ticker=ticker,
            chat=chat,
            to_dms=to_dms,
            to_customer=to_customer,
            store=store,
            guard=guard,
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
    guard: EngineGuard,
    to_dms: ToDms,
    to_customer: ToCustomer,
) -> None:
    metrics.add_store(store)
    metrics.add_gauge("lch_connections", "Clients connected", chat.sockets)
    metrics.add_gauge("lch_customers", "Customers who are here", to_customer.customers)
    metrics.add_gauge("lch_messages_under_way", "Messages to DMS without an outcome yet", to_dms.pending)
    metrics.add_gauge("lch_letters_unacknowledged", "Messages sent and not acknowledged yet", to_customer.unacknowledged)
    metrics.add_counts("lch_deliveries", "What became of messages to customers", "outcome", lambda: to_customer.counts)
    metrics.add_counts("lch_clients", "What happened to connections and their messages", "event", lambda: chat.counts)
    metrics.add_counts("lch_refusals", "What was refused below Socket.IO's events", "reason", lambda: guard.counts)
    metrics.add_counts("lch_log_lines_dropped", "Lines of the log that could not be written", "reason", log_output.dropped)
    metrics.add_counts("lch_outbox_events", "What happened to messages to DMS that waited", "event", lambda: to_dms.counts)
    metrics.add_counts(
        "lch_dms_retries", "Further tries to post to DMS", "reason", lambda: {"not_taken": to_dms.counts["tried_again"]}
    )


def _doorkeeper(settings: config.Settings) -> Doorkeeper:
    tokens = None
    if settings.customer_token_secret:
        tokens = CustomerTokens(
            secret=settings.customer_token_secret, previous_secret=settings.customer_token_secret_previous
        )
    # All instances know this secret, and no client does.
    key = hashlib.sha256(b"ids of unnamed customers\n" + settings.jwt_secret.encode()).digest()
    return Doorkeeper(tokens=tokens, anonymous=settings.anonymous_customers, key=key)


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
        log.warning(
            "WEBHOOK_AUTH=off: ANYBODY who knows the webhook's address can speak to your customers in your agents' name. "
            "Never use this on a public address."
        )
    if settings.outbox_ttl_is_retry_budget:
        log.warning(
            f"RETRY_BUDGET is an old name: it is read as OUTBOX_TTL={settings.outbox_ttl_seconds:g}, which is 300 if unset. "
            "Set OUTBOX_TTL instead."
        )
    if len(settings.jwt_secret.encode()) < _SOUND_SECRET_BYTES:
        log.warning(f"JWT_SECRET is shorter than {_SOUND_SECRET_BYTES} bytes and could be guessed.")
    if not settings.customer_token_secret and settings.allowed_origins == "*":
        log.warning("ALLOWED_ORIGIN=* without CUSTOMER_TOKEN_SECRET: any website can read a customer's answers by their id.")
    if isinstance(settings.allowed_origins, tuple) and {"null", "file://"} & {*settings.allowed_origins}:
        log.warning("ALLOWED_ORIGIN lets in pages from files (null): any site can show a page that says it is one.")
    quoted = [name for name in ("JWT_ISSUER", "JWT_SECRET") if config.in_quotes(getattr(settings, name.lower()))]
    if quoted:
        log.warning(f"{' and '.join(quoted)} begin and end with a quotation mark: is it really part of the value?")
    if settings.dms_url.startswith("http:") and os.environ.get("LCH_SANDBOX") != "1":
        log.warning("DMS_URL is http: messages and tokens go over the network in the clear.")
