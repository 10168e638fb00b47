"""For those who watch over LCH: is it alive, is it ready, what does it count.

`/healthz` says that the process answers; `/readyz` whether it can do its work, and why not; `/metrics` is for Prometheus.
"""

from __future__ import annotations

import hmac
from typing import Any, Protocol

from flask import Blueprint, Response, request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized

from lchook.core import events
from lchook.logs import Log
from lchook.store import StoreError
from lchook.web.draining import Draining
from lchook.web.metrics import CONTENT_TYPE

log = Log(__name__)


class Checks(Protocol):
    """The store, or several."""

    def check(self) -> None: ...


class Figures(Protocol):
    """Of one connection to Pega, or several."""

    def text(self) -> bytes: ...


def create_blueprint(*, store: Checks, draining: Draining, metrics: Figures, metrics_token: str) -> Blueprint:
    """The routes.

    :param metrics_token: what `/metrics` asks for as a bearer token; empty for nothing.
    """
    blueprint = Blueprint("health", __name__)

    @blueprint.get("/healthz")
    def alive() -> dict[str, Any]:
        return {"status": "alive"}

    @blueprint.get("/readyz")
    def ready() -> tuple[dict[str, Any], int]:
        if draining.stopping:
            return {"status": "not ready", "reason": "this instance is stopping"}, 503
        try:
            store.check()
        except StoreError as error:
            log.warning(events.NOT_READY, reason=error)
            return {"status": "not ready", "reason": "the store cannot be used: see the log"}, 503
        return {"status": "ready"}, 200

    @blueprint.get("/metrics")
    def numbers() -> Response:
        offered = request.headers.get("Authorization", "")
        if metrics_token and not hmac.compare_digest(offered.encode(), f"Bearer {metrics_token}".encode()):
            raise Unauthorized("send METRICS_TOKEN as a bearer token.", www_authenticate=WWWAuthenticate("bearer"))
        return Response(metrics.text(), content_type=CONTENT_TYPE)

    return blueprint
