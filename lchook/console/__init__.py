"""The operators' console at `/console`: live, what this instance does. There only where `CONSOLE_TOKEN` is set.

Reads what the parts count and log, and changes nothing. While nobody looks it costs a row of figures every two seconds and
a short copy of each event.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from flask import Blueprint, Flask, render_template
from flask.typing import ResponseReturnValue

from config import Settings
from lchook.console.events import Masks
from lchook.console.feed import Feed, Sources
from lchook.console.history import History
from lchook.console.namespace import NAMESPACE, ConsoleNamespace
from lchook.console.samples import Samples, totals_of
from lchook.engine.guard import EngineGuard
from lchook.engine.ordered_events import OrderedSocketIO
from lchook.flows.to_customer import ToCustomer
from lchook.flows.to_dms import ToDms
from lchook.logs import Log, Spoken
from lchook.pages import add_shared_routes, client_script, page_headers
from lchook.periodic_tasks import Ticker
from lchook.store import Store
from lchook.web.chat import Chat
from lchook.web.metrics import Metrics

__all__ = ["Samples", "init_app"]

# Of some 300 bytes each. A message leaves three or four.
_EVENTS_KEPT = 5_000


def init_app(
    app: Flask,
    socketio: OrderedSocketIO,
    settings: Settings,
    *,
    samples: Samples,
    metrics: Metrics,
    ticker: Ticker,
    chat: Chat,
    to_dms: ToDms,
    to_customer: ToCustomer,
    store: Store,
    guard: EngineGuard,
) -> None:
    """Add the page, its namespace and what they show to an application.

    :param samples: already told of DMS's answers.
    """
    history = Log.history = History(_EVENTS_KEPT)

    def totals() -> tuple[int, int, Any]:
        counts = totals_of(metrics.to_dms, metrics.webhooks, to_customer.counts)
        return chat.sockets(), to_customer.customers(), counts

    def emit(sid: str, event: str, data: dict[str, Any]) -> None:
        socketio.server.emit(event, data, to=sid, namespace=NAMESPACE)

    samples.reads(totals)
    ticker.add(samples.tick)
    feed = Feed(
        Sources(
            connections=chat.sockets,
            customers=to_customer.customers,
            under_way=to_dms.pending,
            on_the_way=to_customer.unacknowledged,
            whereabouts=to_customer.whereabouts,
            store=store,
        ),
        samples=samples,
        history=history,
        masks=Masks(_secrets(settings)),
        about={"instance": f"{socket.gethostname()}:{os.getpid()}", "text": Spoken.shown},
        emit=emit,
        unsent=lambda sid: guard.unsent(sid, NAMESPACE),
        close=lambda sid: guard.close(sid, NAMESPACE),
        start_task=socketio.server.start_background_task,
    )
    socketio.on_namespace(ConsoleNamespace(feed, token=settings.console_token, ticker=ticker))
    app.extensions["lch_console"] = feed
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
    return [
        settings.jwt_secret,
        settings.jwt_secret_previous,
        settings.customer_token_secret,
        settings.customer_token_secret_previous,
        settings.metrics_token,
        settings.console_token,
    ]
