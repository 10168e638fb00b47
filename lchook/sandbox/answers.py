"""How the sandbox DMS's answers go out: as JSON, as a page of a gateway, or as what is no answer at all."""

from __future__ import annotations

import json
from email.utils import formatdate

from lchook.sandbox.faults import Answer
from lchook.sandbox.http_server import Exchange

# For the wire log.
BROKEN_IN_WORDS = {
    "hang_up": "closed without an answer",
    "reset": "connection reset",
    "garbage": "answered with what is no HTTP",
}


def give(exchange: Exchange, answer: Answer, *, at: float) -> bytes:
    """Send the answer, or what takes its place. Returns the answer's body.

    :param at: epoch seconds, for `Date`.
    """
    match answer.broken:
        case "hang_up":
            exchange.hang_up()
            return b""
        case "reset":
            exchange.reset()
            return b""
        case "garbage":
            exchange.garbage()
            return b""
    content_type = "application/json"
    match answer.body:
        case bytes():
            body = answer.body
        case str():
            body, content_type = answer.body.encode(), "text/html; charset=utf-8"
        case None if answer.status == 200:
            body = b'{"status":"ok"}'
        case None:
            body = json.dumps({"error": f"the sandbox was asked to answer {answer.status}"}).encode()
        case _:
            body = json.dumps(answer.body).encode()
    usual = {"Content-Type": content_type, "Date": formatdate(at, usegmt=True)}
    exchange.answer(answer.status, {**usual, **answer.headers}, body, coded=answer.coded)
    return body
