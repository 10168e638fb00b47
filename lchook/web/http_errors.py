"""Errors as HTTP answers, in JSON; and what is answered where no route is: a page at `/`, elsewhere the right address.

A post that finds no route may be DMS's, where Pega has a wrong address: those are logged and counted.
"""

from __future__ import annotations

import json
import time
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, InternalServerError, MethodNotAllowed, NotFound

from lchook.core import events
from lchook.core.rate_limiter import RateLimiter
from lchook.logs import Log
from lchook.pages.front import front_page
from lchook.web import webhook
from lchook.web.channel_metrics import ChannelMetrics
from lchook.web.metrics import Metrics

log = Log(__name__)

# Lines a second: scanners post to hundreds of addresses.
_LINES_PER_SECOND = 0.1
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_ADDRESSES = f"DMS posts to {webhook.PATH}, chat clients connect to /socket.io/."


def register(app: Flask, metrics: Metrics | ChannelMetrics) -> None:
    """Answer errors, and what no route answers. A route for `/`, whoever adds it, comes before the page."""
    rates = RateLimiter(_LINES_PER_SECOND, clock=time.monotonic)

    def answer(error: Exception) -> Response:
        if not isinstance(error, HTTPException):
            log.exception(events.REQUEST_FAILED)
            return _as_json(InternalServerError("internal error"))
        if request.url_rule is None and isinstance(error, (NotFound, MethodNotAllowed)):
            if isinstance(error, MethodNotAllowed):
                error.description = f"this address takes {', '.join(sorted(error.valid_methods or ()))}: {_ADDRESSES}"
            elif request.path == "/" and request.method in ("GET", "HEAD"):
                return front_page()
            else:
                error.description = f"there is nothing at this address: {_ADDRESSES}"
            if request.method not in _READING:
                note()
        return _as_json(error)

    def note() -> None:
        metrics.misdirected_posts.inc()
        if rates.allows(""):
            log.warning(
                events.POST_MISDIRECTED,
                method=request.method,
                path=request.path,
                address=request.remote_addr,
            )

    app.register_error_handler(Exception, answer)


def _as_json(error: HTTPException) -> Response:
    response: Any = error.get_response()
    response.data = json.dumps({"error": error.description})
    response.content_type = "application/json"
    return response  # type: ignore[no-any-return]
