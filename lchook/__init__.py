"""LCH, the Labb Chat Hook: between web chat clients and Pega's Digital Messaging Service (DMS).

The two flows are `flows/to_dms.py` and `flows/to_customer.py`. `hook.py` builds the parts; this makes them an application.
"""

from __future__ import annotations

# First: `config` is found by it.
from lchook import top  # noqa: F401

# isort: split
import os
from typing import Any

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

import config
from lchook import cli, console, hook
from lchook.core import addresses, events
from lchook.logs import Log, set_up_logs
from lchook.scope import Scope
from lchook.transport.startup_checks import check_server, serves_by_flask
from lchook.web import client_files, health, http_errors, webhook
from lchook.web import files as files_web

log = Log(__name__)

# RFC 7518, 3.2: a key for HS256 should have at least this many bytes.
_SOUND_SECRET_BYTES = 32


def create_app(settings: config.Settings | None = None) -> Flask:
    """The application, ready to serve. Its parts are `app.extensions["lch"]`, its Socket.IO `app.extensions["socketio"]`.

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
    parts = app.extensions["lch"] = hook.build(app, settings)
    app.register_blueprint(webhook.create_blueprint(settings, parts.webhook))
    app.register_blueprint(
        health.create_blueprint(
            store=parts.store, draining=parts.draining, metrics=parts.metrics, metrics_token=settings.metrics_token
        )
    )
    app.register_blueprint(client_files.create_blueprint())
    if parts.files is not None:
        app.register_blueprint(files_web.create_blueprint(settings, parts.files))
    if settings.console_token:
        console.init_app(app, parts)
    http_errors.register(app, parts.metrics)
    cli.register(app, settings)
    app.wsgi_app = _Addresses(parts.wsgi_app, settings.proxy_hops).__call__  # type: ignore[method-assign]
    for each in settings.connections or (settings,):
        warn = Scope(each.connection_name).bound(_warn) if each.connection_name else _warn
        warn(each)
    if serves_by_flask():
        # Under gunicorn, the worker does it.
        parts.start()
    return app


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
    if settings.conversation_ttl_seconds and settings.conversation_unproven == "on" and os.environ.get("LCH_SANDBOX") != "1":
        log.warning(events.CONVERSATION_UNPROVEN)
    if len(settings.jwt_secret.encode()) < _SOUND_SECRET_BYTES:
        log.warning(events.SECRET_SHORT, bytes=_SOUND_SECRET_BYTES)
    if not settings.customers_need_tokens and settings.allowed_origins == "*":
        log.warning(events.ANY_ORIGIN)
    if isinstance(settings.allowed_origins, tuple) and {"null", "file://"} & {*settings.allowed_origins}:
        log.warning(events.FILES_ALLOWED)
    quoted = [name for name in ("JWT_ISSUER", "JWT_SECRET") if config.in_quotes(getattr(settings, name.lower()))]
    if quoted:
        log.warning(events.SETTINGS_QUOTED, settings=" and ".join(quoted))
    if settings.files_url and not settings.clamd_url:
        log.warning(events.FILES_UNSCANNED)
    if settings.dms_url.startswith("http:") and os.environ.get("LCH_SANDBOX") != "1":
        log.warning(events.DMS_IN_THE_CLEAR)
    if settings.customer_token_jwks_url.startswith("http:") and os.environ.get("LCH_SANDBOX") != "1":
        log.warning(events.KEYS_IN_THE_CLEAR)
