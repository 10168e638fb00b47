"""What clients and DMS say: shapes and checks. No I/O.

The shapes are facts of DMS's API and of the clients in use, listed in docs/client-protocol.md.
"""

from __future__ import annotations

import json
import math
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn, TypeGuard

# What a client's message may carry to DMS. Everything else stays here.
FIELDS_TO_DMS = (
    "type",
    "customer_id",
    "customer_name",
    "message_id",
    "text",
    "postback",
    "attachments",
    "context_data",
)

MOST_CUSTOMER_ID = 256
# Of a message_id or a type. Both are kept and sent back.
_MOST_NAME = 256
END_OF_SESSION = "customer_end_session"
# Deeper JSON can be read, but Python runs out of stack where Socket.IO writes it again.
MOST_LEVELS = 100
_SURROGATE = re.compile("[\ud800-\udfff]")


class MessageError(Exception):
    """A message is malformed. The text says what is wrong and what would be right, and quotes nothing of the message."""


@dataclass(frozen=True, slots=True)
class MessageToDms:
    """A client's message, checked. `body` is the JSON that DMS gets, UTF-8."""

    customer_id: str
    type: str
    message_id: str | int | float | None
    body: bytes
    text: list[str] | None = None


@dataclass(frozen=True, slots=True)
class MessageToCustomer:
    """A webhook's message, checked. `payload` is what DMS sent, whole."""

    customer_id: str
    type: str | None
    payload: dict[str, Any]


def strict_json(text: str) -> Any:
    """What a JSON text says. Takes no NaN, and no number that overflows to infinity: no browser could read them again.

    :raises ValueError: also where it is no JSON. :raises RecursionError: where it is nested too deeply.
    """
    return _STRICT.decode(text)


def dms_from_client(message: object, *, max_bytes: int, speaker: Callable[[str], str]) -> MessageToDms:
    """What DMS gets for a `clientMessage`.

    Types are kept as the client sent them; nulls inside `text` are dropped, and so are null fields and an empty `text`.
    A text without a `message_id` gets a UUID.

    :param speaker: the customer for whom the message goes that claims this id; may raise `MessageError`.
    :raises MessageError: for anything that DMS could not make sense of, or larger than `max_bytes` as JSON.
    """
    if not isinstance(message, dict):
        raise MessageError("clientMessage takes one object with at least type and customer_id")
    fields: dict[str, Any] = {name: message[name] for name in FIELDS_TO_DMS if message.get(name) is not None}

    customer_id, type_ = fields.get("customer_id"), fields.get("type")
    if not is_customer_id(customer_id):
        raise MessageError(
            f"customer_id must be a string of at most {MOST_CUSTOMER_ID} characters (empty for a customer without a name)"
        )
    if not isinstance(type_, str) or not 0 < len(type_) <= _MOST_NAME:
        raise MessageError(f'type must be a string, such as "text", of at most {_MOST_NAME} characters')
    if not isinstance(fields.get("customer_name", ""), str):
        raise MessageError("customer_name must be a string")
    if "message_id" in fields and not _is_id(fields["message_id"]):
        raise MessageError(f"message_id must be a number or a string, of 1 to {_MOST_NAME} characters")
    if "postback" in fields and not isinstance(fields["postback"], (str, int, float)):
        raise MessageError("postback must be the payload of a menu item, a string")
    if not isinstance(fields.get("context_data", {}), dict):
        raise MessageError("context_data must be an object")
    if "text" in fields:
        fields["text"] = _texts(fields["text"])
        if not fields["text"]:
            del fields["text"]
    if "attachments" in fields:
        _check_attachments(fields["attachments"])
    customer_id = fields["customer_id"] = speaker(customer_id)
    if type_ == "text":
        fields.setdefault("message_id", str(uuid.uuid4()))

    try:
        body = json.dumps(fields, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise MessageError("the message must be plain JSON: no binary data, no NaN, not nested too deeply") from error
    if len(body) > max_bytes:
        raise MessageError(f"the message is larger than {max_bytes} bytes")
    return MessageToDms(customer_id, type_, fields.get("message_id"), body, fields.get("text"))


def customer_from_dms(body: bytes) -> MessageToCustomer:
    """What a webhook says, and to whom.

    :raises MessageError: for what is not a JSON object with a string `customer_id`.
    """
    try:
        payload = strict_json(body.decode())
    except (ValueError, RecursionError) as error:
        raise MessageError("the body must be JSON in UTF-8, with numbers that JSON knows") from error
    if not isinstance(payload, dict):
        raise MessageError("the body must be a JSON object")
    # Most bodies have fewer brackets than they may have levels: those need no closer look.
    if body.count(b"{") + body.count(b"[") > MOST_LEVELS and is_deeper_than(MOST_LEVELS, payload):
        raise MessageError(f"the body must not be nested more than {MOST_LEVELS} levels deep")
    customer_id = payload.get("customer_id")
    if not is_customer_id(customer_id):
        raise MessageError(f"customer_id must be there, a string of at most {MOST_CUSTOMER_ID} characters")
    type_ = payload.get("type")
    return MessageToCustomer(customer_id, type_ if isinstance(type_, str) else None, payload)


def is_customer_id(value: object) -> TypeGuard[str]:
    """Can this be a customer's id?"""
    # A lone surrogate is a str that no store and no log can encode.
    return isinstance(value, str) and len(value) <= MOST_CUSTOMER_ID and not _SURROGATE.search(value)


def is_deeper_than(most_levels: int, value: object) -> bool:
    """Are there objects and lists inside each other, more than so many?"""
    level = [value]
    for _ in range(most_levels):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return any(isinstance(value, (dict, list)) for value in level)


def _is_id(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, str):
        return 0 < len(value) <= _MOST_NAME
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**_MOST_NAME


def _texts(value: object) -> list[str]:
    if not isinstance(value, list) or not all(text is None or isinstance(text, str) for text in value):
        raise MessageError('text must be a list of strings, such as ["Hello"]')
    return [text for text in value if text is not None]


def _check_attachments(value: object) -> None:
    if not isinstance(value, list) or not all(
        isinstance(attachment, dict) and isinstance(attachment.get("url"), str) for attachment in value
    ):
        raise MessageError('attachments must be a list of objects such as {"url": "https://…"}')


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    # 1e999 would become Infinity, which no browser can parse.
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is out of range")
    return number


_STRICT = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)
