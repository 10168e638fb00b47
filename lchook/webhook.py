"""The webhook that DMS posts to: verify, parse, hand on, answer.

Knows nothing of sockets or storage.
"""

from __future__ import annotations

import hashlib

from flask import Blueprint, Response, g, request
from flask_cors import cross_origin
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, ServiceUnavailable, Unauthorized

from config import Settings
from lchook.logs import Log, Spoken
from lchook.messages import MessageError, customer_from_dms
from lchook.metrics import Metrics, type_label
from lchook.store import StoreError
from lchook.ticker import Ticker
from lchook.to_customer import ToCustomer
from lchook.tokens import TokenError, Tokens

log = Log(__name__)


def create_blueprint(
    settings: Settings, tokens: Tokens, to_customer: ToCustomer, ticker: Ticker, metrics: Metrics
) -> Blueprint:
    """The routes of the webhook.

    `POST /webhook` answers 200 `OK` for what is authentic and well formed, 401 for a missing or bad token, 400 for what is
    no message, 413 for what is too large, 503 where nothing could be kept.
    """
    blueprint = Blueprint("webhook", __name__)

    @blueprint.after_request
    def count(response: Response) -> Response:
        if request.method == "POST":
            metrics.webhooks[g.get("message_type", ""), str(response.status_code)] += 1
        return response

    @blueprint.post("/webhook")
    def receive() -> Response:
        # One more than allowed: werkzeug (3.1) cuts a chunked body off at its limit, without a word.
        request.max_content_length = settings.max_message_bytes + 1
        if settings.webhook_auth == "required":
            try:
                tokens.verify_authorization(request.headers.get("Authorization"))
            except TokenError as error:
                log.warning("a webhook was refused", reason=error)
                raise Unauthorized(f"{error}.", www_authenticate=WWWAuthenticate("bearer")) from error
        ticker.start()
        body = request.get_data()
        if len(body) > settings.max_message_bytes:
            raise RequestEntityTooLarge
        try:
            message = customer_from_dms(body)
        except MessageError as error:
            log.warning("a webhook was refused", reason=error)
            raise BadRequest(f"{error}.") from error
        log.info(
            "received from DMS",
            customer=message.customer_id,
            message=message.payload.get("message_id"),
            type=message.type,
            text=Spoken(message.payload.get("text")),
        )
        g.message_type = type_label(message.type)
        # Without a message_id, two equal webhooks may well be two messages.
        repeatable = message.payload.get("message_id") is not None
        fingerprint = hashlib.blake2b(body, digest_size=16).hexdigest() if repeatable else None
        try:
            to_customer.deliver(message, fingerprint=fingerprint)
        except StoreError as error:
            log.error("a webhook was refused: the message cannot be kept", customer=message.customer_id, reason=error)
            raise ServiceUnavailable("The message could not be kept: try again later.") from error
        return Response("OK", mimetype="text/plain")

    @cross_origin(origins=list(settings.allowed_origins or ()), methods=["GET"])
    def describe() -> Response:
        return Response("LCH's webhook is here. DMS reaches it by POST.\n", mimetype="text/plain")

    blueprint.add_url_rule("/webhook", view_func=describe, methods=["GET"])
    return blueprint
