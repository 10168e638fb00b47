"""The webhook that DMS posts to: verify, parse, hand on, answer.

Knows nothing of sockets or storage.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Protocol

from flask import Blueprint, Response, request
from flask_cors import cross_origin
from werkzeug.exceptions import RequestEntityTooLarge

from config import Settings
from lchook.core import events
from lchook.core.body_coding import ACCEPTED_CODINGS, BodyError, decompressed
from lchook.core.canonical import canonical_json, fingerprint
from lchook.core.messages import MessageError, customer_from_dms
from lchook.core.tokens import TokenError, Tokens
from lchook.files.files import CustomerFiles
from lchook.flows.to_customer import ToCustomer
from lchook.logs import Log, Redacted
from lchook.periodic_tasks import PeriodicTasks
from lchook.store import StoreError
from lchook.web.metrics import Metrics, type_label

log = Log(__name__)

PATH = "/webhook"

Headers = tuple[tuple[str, str], ...]
TakePost = Callable[[str | None, bytes], tuple[int, Headers, bytes] | None]

_GOOD = (("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", "2"))


class Receives(Protocol):
    """Takes posts."""

    max_bytes: int

    def receive(
        self,
        authorization: str | None,
        read: Callable[[], bytes | None],
        *,
        content_type: str | None = None,
        content_encoding: str | None = None,
    ) -> tuple[int, str | None]:
        """See `Webhook`."""


class Webhook:
    """What becomes of a post, whoever took it in."""

    def __init__(
        self,
        settings: Settings,
        tokens: Tokens,
        to_customer: ToCustomer,
        periodic_tasks: PeriodicTasks,
        metrics: Metrics,
        agent_files: CustomerFiles | None = None,
    ) -> None:
        self.max_bytes = settings.max_message_bytes
        self._needs_token = settings.webhook_auth == "required"
        self._tokens = tokens
        self._to_customer = to_customer
        self._periodic_tasks = periodic_tasks
        self._metrics = metrics
        self._agent_files = agent_files

    def use(self, tokens: Tokens) -> None:
        """From now on these are the tokens that count."""
        self._tokens = tokens

    def verify(self, authorization: str | None) -> None:
        """:raises TokenError: where the header holds no token that counts here."""
        self._tokens.verify_authorization(authorization)

    def receive(
        self,
        authorization: str | None,
        read: Callable[[], bytes | None],
        *,
        content_type: str | None = None,
        content_encoding: str | None = None,
    ) -> tuple[int, str | None]:
        """Take one post. Returns the HTTP status, and in words what is wrong where it is not 200.

        401 for a missing or bad token, 400 for what is no message, 413 for what is too large, 415 for what is coded in a way
        that is not known here, 503 where nothing could be kept.

        :param authorization: the header. :param read: the body, or `None` where it is larger than `max_bytes`.
        """
        message_type = ""
        try:
            if self._needs_token:
                self._tokens.verify_authorization(authorization)
            self._periodic_tasks.start()
            body = read()
            if body is None or len(body) > self.max_bytes:
                return self._answer(413, message_type, f"the body is larger than {self.max_bytes} bytes.")
            if content_encoding:
                body = decompressed(body, content_encoding, max_bytes=self.max_bytes)
            message = customer_from_dms(body, content_type)
            message_type = type_label(message.type)
            name = message.payload.get("message_id")
            log.info(
                events.RECEIVED_FROM_DMS,
                customer=message.customer_id,
                message=name,
                type=message.type,
                text=Redacted(message.payload.get("text")),
            )
            # Without a message_id, two equal webhooks may well be two messages. Gateways write the same one in other ways.
            mark = fingerprint(canonical_json(message.payload)) if name is not None else None
            if self._agent_files is not None and "attachments" in message.payload:
                message, pending = self._agent_files.replace_links(message)
                if self._to_customer.deliver(message, fingerprint=mark) and pending:
                    self._agent_files.fetch(pending)
            else:
                self._to_customer.deliver(message, fingerprint=mark)
        except TokenError as error:
            return self._answer(401, message_type, f"{error}.")
        except MessageError as error:
            return self._answer(400, message_type, f"{error}.")
        except BodyError as error:
            return self._answer(error.status, message_type, f"{error}.")
        except StoreError as error:
            log.error(events.MESSAGE_NOT_STORED, customer=message.customer_id, reason=error)
            return self._answer(503, message_type, "the message could not be kept: try again later.")
        return self._answer(200, message_type, None)

    def _answer(self, status: int, message_type: str, error: str | None) -> tuple[int, str | None]:
        self._metrics.webhooks[message_type, str(status)] += 1
        if error is not None:
            log.warning(events.WEBHOOK_REFUSED, status=status, reason=error)
        return status, error


def create_fast_path(webhook: Receives, is_stopping: Callable[[], bool]) -> TakePost:
    """What the worker does with plain posts to the webhook. All others, and all where the process ends, go on to Flask and
    its view of the same webhook."""

    def take(authorization: str | None, body: bytes) -> tuple[int, Headers, bytes] | None:
        if is_stopping():
            return None
        status: int
        error: str | None
        try:
            status, error = webhook.receive(authorization, lambda: body)
        except Exception:
            log.exception(events.WEBHOOK_FAILED)
            status, error = 500, "internal error"
        return status, *_as_http(status, error)

    return take


def create_blueprint(settings: Settings, webhook: Receives) -> Blueprint:
    """The routes of the webhook: `POST` for DMS, `GET` for the person who pastes the address into a browser."""
    blueprint = Blueprint("webhook", __name__)

    # With a slash at the end, as people and gateways write it, it is the same.
    @blueprint.post(PATH, strict_slashes=False)
    def receive() -> Response:
        # One more than allowed: werkzeug (3.1) cuts a chunked body off at its limit, without a word.
        request.max_content_length = webhook.max_bytes + 1

        def read() -> bytes | None:
            # The gunicorn worker leaves a body that is too large where it is, and this its length.
            if (request.content_length or 0) > webhook.max_bytes:
                return None
            try:
                return request.get_data()
            except RequestEntityTooLarge:
                return None

        status, error = webhook.receive(
            request.headers.get("Authorization"),
            read,
            content_type=request.headers.get("Content-Type"),
            content_encoding=request.headers.get("Content-Encoding"),
        )
        headers, text = _as_http(status, error)
        return Response(text, status, headers)

    allowed = [each.allowed_origins for each in settings.connections or (settings,)]
    origins = ["*"] if "*" in allowed else [origin for each in allowed for origin in each or ()]

    @cross_origin(origins=origins, methods=["GET"])
    def describe() -> Response:
        return Response("LCH's webhook is here. DMS reaches it by POST.\n", mimetype="text/plain")

    blueprint.add_url_rule(PATH, view_func=describe, methods=["GET"], strict_slashes=False)
    return blueprint


def _as_http(status: int, error: str | None) -> tuple[Headers, bytes]:
    if error is None:
        return _GOOD, b"OK"
    text = json.dumps({"error": error}).encode()
    headers = (("Content-Type", "application/json"), ("Content-Length", str(len(text))))
    if status == 401:
        headers += (("WWW-Authenticate", "Bearer"),)  # type: ignore[assignment]
    if status == 415:
        headers += (("Accept-Encoding", ACCEPTED_CODINGS),)  # type: ignore[assignment]
    return headers, text
