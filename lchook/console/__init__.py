"""The operators' console at `/console`: live, what this instance does. There only where `CONSOLE_TOKEN` is set.

Reads what the parts count and log, and changes nothing. While nobody looks it costs a row of figures every two seconds and
a short copy of each event.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Flask, render_template
from flask.typing import ResponseReturnValue

from config import Settings
from lchook.console.events import Redactor
from lchook.console.feed import Feed, Sources
from lchook.console.history import History
from lchook.console.namespace import NAMESPACE, ConsoleNamespace
from lchook.console.time_series import totals_of
from lchook.logs import Log, Redacted
from lchook.pages import add_shared_routes, client_script, page_headers
from lchook.transport import runtime
from lchook.transport.connections import Connections

if TYPE_CHECKING:
    from lchook.hook import Hook

__all__ = ["init_app"]

# Of some 300 bytes each. A message leaves three or four.
_EVENTS_KEPT = 5_000


def init_app(app: Flask, hook: Hook) -> None:
    """Add the page, its namespace and what they show to an application."""
    settings, metrics, time_series = hook.settings, hook.metrics, hook.time_series
    chat, to_customer = hook.chat, hook.to_customer
    connections = Connections(hook.socketio.server, NAMESPACE)
    history = Log.history = History(_EVENTS_KEPT)
    assert time_series is not None  # noqa: S101  # for the type checker: there is a token

    def totals() -> tuple[int, int, Any]:
        counts = totals_of(metrics.to_dms, metrics.webhooks, to_customer.counts)
        return chat.sockets(), to_customer.customers(), counts

    time_series.reads(totals)
    hook.periodic_tasks.add(time_series.tick)
    feed = Feed(
        Sources(
            connections=chat.sockets,
            customers=to_customer.customers,
            under_way=hook.to_dms.pending,
            on_the_way=to_customer.unacknowledged,
            whereabouts=to_customer.whereabouts,
            store=hook.store,
        ),
        time_series=time_series,
        history=history,
        redactor=Redactor(_secrets(settings)),
        about={"instance": f"{socket.gethostname()}:{os.getpid()}", "text": Redacted.shown},
        emit=connections.send_event,
        unsent=connections.unsent,
        close=connections.close,
        start_task=runtime.start_service,
    )
    namespace = ConsoleNamespace(feed, token=settings.console_token, periodic_tasks=hook.periodic_tasks)
    hook.socketio.on_namespace(namespace)
    app.register_blueprint(_blueprint())


def _blueprint() -> Blueprint:
    """The page and what it loads. Nothing of it is secret: what it shows comes by Socket.IO, to those with the token."""
    blueprint = Blueprint(
        "console", __name__, template_folder="templates", static_folder="static", static_url_path="/console/static"
    )
    add_shared_routes(blueprint, "/console")

    @blueprint.get("/console")
    def page() -> ResponseReturnValue:
        client = client_script()
        return render_template("console.html", client=client), page_headers(client)

    return blueprint


def _secrets(settings: Settings) -> list[str]:
    names = ("jwt_secret", "jwt_secret_previous", "customer_token_secret", "customer_token_secret_previous")
    each = [getattr(one, name) for one in settings.connections or (settings,) for name in names]
    return [*each, settings.metrics_token, settings.console_token]
