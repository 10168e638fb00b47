"""What DMS requires of a post, as documented and as seen in the field. No I/O.

Written from the contract and not from LCH's code, so that the two check each other.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

from lchook.sandbox.tokens import DmsTokens, TokenRefusedError

KNOWN_TYPES = ("text", "typing_indicator", "customer_end_session")
KNOWN_FIELDS = frozenset(
    {"type", "customer_id", "customer_name", "message_id", "text", "postback", "attachments", "context_data"}
)


class RefusedError(Exception):
    """DMS does not take the post. Carries the HTTP status, and words."""

    def __init__(self, status: int, problem: str) -> None:
        self.status = status
        super().__init__(problem)


def check_method(method: str) -> None:
    """:raises RefusedError: 405 for anything but POST."""
    if method != "POST":
        raise RefusedError(405, "DMS takes POST only")


def check_headers(headers: Mapping[str, str], tokens: DmsTokens) -> None:
    """:param headers: names are compared without regard to case.

    :raises RefusedError: 401 for the token and `connection_id`, 415 for the content type.
    """
    connection_id = headers.get("connection_id")
    if connection_id != tokens.issuer:
        raise RefusedError(401, f"the connection_id header is {'missing' if connection_id is None else 'another one'}")
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise RefusedError(401, "the Authorization header must be 'Bearer <token>'")
    try:
        tokens.verify(token.strip())
    except TokenRefusedError as error:
        raise RefusedError(401, str(error)) from error
    if headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/json":
        raise RefusedError(415, "the Content-Type must be application/json")


def check_body(body: object, *, takes_unknown: bool = False) -> None:
    """:param takes_unknown: whether types and fields that the contract does not know are taken.

    :raises RefusedError: 400 for what the contract does not know.
    """
    if not isinstance(body, dict):
        raise RefusedError(400, "the body must be a JSON object")
    type_ = body.get("type")
    if not isinstance(type_, str) or not type_:
        raise RefusedError(400, "type must be there, and a string that is not empty")
    if not takes_unknown:
        if type_ not in KNOWN_TYPES:
            raise RefusedError(400, f"DMS does not know the type {type_[:40]!r}: {', '.join(KNOWN_TYPES)}")
        if unknown := sorted(set(body) - KNOWN_FIELDS):
            raise RefusedError(400, f"DMS does not know the field {unknown[0][:40]!r}")
    if not is_customer_id(body.get("customer_id")):
        raise RefusedError(400, "customer_id must be there, and a string or a number")
    if type_ == "text" and "message_id" not in body:
        raise RefusedError(400, "a text needs a message_id")
    for name, (fits, should_be) in _SHAPES.items():
        if name in body and not fits(body[name]):
            raise RefusedError(400, f"{name} must be {should_be}")


def strict_json(raw: bytes) -> Any:
    """What the bytes say in JSON, without the numbers that Python reads and JSON does not know.

    :raises ValueError: where they are no JSON in UTF-8.
    """
    try:
        return json.loads(raw.decode("utf-8"), parse_constant=_refuse, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is out of range")
    return number


def _is_text_list(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(text, str) for text in value)


def _is_attachment_list(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) and isinstance(each.get("url"), str) for each in value)


def is_customer_id(value: object) -> bool:
    """A text, empty for a person without a name, or a number that JSON can write."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, (str, int)) and not isinstance(value, bool)


def _is_message_id(value: object) -> bool:
    return is_customer_id(value) and value != ""


_SHAPES = {
    "text": (_is_text_list, "a list of at least one string"),
    "customer_name": (lambda value: isinstance(value, str), "a string"),
    "message_id": (_is_message_id, "a string or a number"),
    "postback": (lambda value: isinstance(value, (str, int, float)), "the payload of a menu item"),
    "attachments": (_is_attachment_list, 'a list of objects with a "url"'),
    "context_data": (lambda value: isinstance(value, dict), "an object"),
}
