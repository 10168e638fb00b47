"""What clients and DMS say: shapes and checks. No I/O.

The shapes are facts of DMS's API and of the clients in use, listed in docs/client-protocol.md.
"""

from __future__ import annotations

import json
import math
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from lchook.core.body_coding import text_of
from lchook.core.canonical import canonical_json, compact_json, fingerprint

# What a client's message of a known type may carry to DMS, besides the fields of FORWARD_FIELDS.
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

MAX_CUSTOMER_ID = 256
_LARGE_ID = 10 ** (MAX_CUSTOMER_ID - 1)
# Larger whole numbers JavaScript writes with an exponent.
_MAX_WHOLE = 10**21
# Of a message_id or a type. Both are kept and sent back.
_MAX_NAME = 256
END_OF_SESSION = "customer_end_session"
TYPING = "typing_indicator"
# What DMS knows. (A menu choice is a text.)
_TYPES_TO_DMS = frozenset({"text", TYPING, END_OF_SESSION})
# Fields that are not forwarded are named to the client, but not without end.
_MAX_IGNORED = 20
_MAX_IGNORED_CHARACTERS = 64
# Deeper JSON can be read, but Python runs out of stack where Socket.IO writes it again.
MAX_LEVELS = 100
_SURROGATE = re.compile("[\ud800-\udfff]")


class MessageError(Exception):
    """A message is malformed. The text says what is wrong and what would be right, and quotes nothing of the message."""


class MessageToDms(NamedTuple):
    """A client's message, checked. `body` is the JSON that DMS gets, UTF-8.

    `customer_id` is LCH's own key for the customer; in `body` the id has the type in which it came. `key` is equal for
    repeats of one message; None where there are none. `ignored` names fields that are not in `body`.
    """

    customer_id: str
    type: str
    message_id: str | int | float | None
    body: bytes
    text: Any = None
    key: str | None = None
    ignored: Sequence[str] = ()


class MessageToCustomer(NamedTuple):
    """A webhook's message, checked. `payload` is what DMS sent, whole; `customer_id` is LCH's own key for the customer."""

    customer_id: str
    type: str | None
    payload: dict[str, Any]


def strict_json(text: str) -> Any:
    """What a JSON text says. Takes no NaN, and no number that overflows to infinity: no browser could read them again.

    :raises ValueError: also where it is no JSON. :raises RecursionError: where it is nested too deeply.
    """
    try:
        value, end = _STRICT.scan_once(text, 0)  # type: ignore[attr-defined]
    except StopIteration:
        end = -1
    # `decode` does that, and looks for white space before and after, at twice the cost.
    return value if end == len(text) else _STRICT.decode(text)


def customer_key(customer_id: object) -> str | None:
    """LCH's own key for a customer: the id as text, whether it came as a text or as a number. None where it can be no id."""
    if isinstance(customer_id, str):
        # A lone surrogate is a str that no store and no log can encode.
        return customer_id if len(customer_id) <= MAX_CUSTOMER_ID and not _SURROGATE.search(customer_id) else None
    if isinstance(customer_id, float) and math.isfinite(customer_id):
        # As JavaScript writes it, which has no whole numbers of their own: 200.0 is 200.
        whole = customer_id.is_integer() and abs(customer_id) < _MAX_WHOLE
        return str(int(customer_id)) if whole else repr(customer_id)
    if isinstance(customer_id, int) and not isinstance(customer_id, bool) and abs(customer_id) < _LARGE_ID:
        return str(customer_id)
    return None


def dms_from_client(
    message: object,
    *,
    max_bytes: int,
    resolve_customer: Callable[[str | None], str],
    forward_fields: Sequence[str] = (),
    facts: Mapping[str, Any] | None = None,
) -> MessageToDms:
    """What DMS gets for a `clientMessage`.

    Of a known type the fields that DMS knows, with their types kept; nulls inside `text` are dropped, and so are null fields
    and an empty `text`. A text without a `message_id` gets a UUID. A type that is not known goes as it came.

    :param resolve_customer: the customer for whom the message goes that claims this id; may raise `MessageError`.
    :param forward_fields: names of further fields that DMS is to get.
    :param facts: where the customer is proven: what goes with each text in place of what the message says under the same
        names. The message need not say then whose it is, and `resolve_customer` is asked for `None`.
    :raises MessageError: for anything that DMS could not make sense of, or larger than `max_bytes` as JSON.
    """
    if not isinstance(message, dict):
        raise MessageError("clientMessage takes one object with at least type and customer_id")
    claimed, type_, message_id = customer_key(message.get("customer_id")), message.get("type"), message.get("message_id")
    if claimed is None and (facts is None or "customer_id" in message):
        raise MessageError(
            f"customer_id must be a string or a number, of at most {MAX_CUSTOMER_ID} characters "
            "(an empty string for a customer without a name)"
        )
    if not isinstance(type_, str) or not 0 < len(type_) <= _MAX_NAME:
        raise MessageError(f'type must be a string, such as "text", of at most {_MAX_NAME} characters')
    if message_id is not None and not _is_id(message_id):
        raise MessageError(f"message_id must be a number or a string, of 1 to {_MAX_NAME} characters")
    ignored: Sequence[str] = ()
    if type_ in _TYPES_TO_DMS:
        fields = _known_fields(message, forward_fields)
        if len(fields) < len(message):
            ignored = _ignored(message, forward_fields)
    else:
        fields = dict(message)
    customer_id = resolve_customer(claimed)
    if customer_id != claimed:
        fields["customer_id"] = customer_id
    if type_ == "text" and message_id is None:
        message_id = fields["message_id"] = str(uuid.uuid4())

    key = None
    try:
        body = compact_json(fields).encode()
        # One typing indicator too many does no harm, and those of a client whose ids are always the same are all wanted.
        if message_id is not None and type_ != TYPING:
            # Of what the client said: the next token may say other things of the same customer.
            key = fingerprint(canonical_json({**fields, "customer_id": customer_id}))
        if facts:
            ignored = _prove(fields, facts, ignored)
            body = compact_json(fields).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise MessageError("the message must be plain JSON: no binary data, no NaN, not nested too deeply") from error
    if len(body) > max_bytes:
        raise MessageError(f"the message is larger than {max_bytes} bytes")
    return MessageToDms(customer_id, type_, message_id, body, fields.get("text"), key, ignored)


def customer_from_dms(body: bytes, content_type: str | None = None) -> MessageToCustomer:
    """What a webhook says, and to whom.

    :param content_type: the header; its charset counts.
    :raises MessageError: for what is not a JSON object with a `customer_id`. :raises BodyError: see `text_of`.
    """
    try:
        text = text_of(body, content_type)
        payload = strict_json(text)
    except (ValueError, RecursionError) as error:
        raise MessageError(
            "the body must be JSON, in UTF-8 or in the charset of its Content-Type, with numbers that JSON knows"
        ) from error
    if not isinstance(payload, dict):
        raise MessageError("the body must be a JSON object")
    # Most bodies have fewer brackets than they may have levels: those need no closer look.
    if text.count("{") + text.count("[") > MAX_LEVELS and is_deeper_than(MAX_LEVELS, payload):
        raise MessageError(f"the body must not be nested more than {MAX_LEVELS} levels deep")
    customer_id = customer_key(payload.get("customer_id"))
    if customer_id is None:
        raise MessageError(f"customer_id must be there, a string or a number of at most {MAX_CUSTOMER_ID} characters")
    type_ = payload.get("type")
    return MessageToCustomer(customer_id, type_ if isinstance(type_, str) else None, payload)


def is_deeper_than(max_levels: int, value: object) -> bool:
    """Are there objects and lists inside each other, more than so many?"""
    level = [value]
    for _ in range(max_levels):
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
    if isinstance(value, str):
        return 0 < len(value) <= _MAX_NAME
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**_MAX_NAME


def _known_fields(message: dict[Any, Any], forward_fields: Sequence[str]) -> dict[str, Any]:
    """What goes to DMS of a message whose type it knows."""
    fields: dict[str, Any] = {name: message[name] for name in FIELDS_TO_DMS if message.get(name) is not None}
    if not isinstance(fields.get("customer_name", ""), str):
        raise MessageError("customer_name must be a string")
    if "postback" in fields and not isinstance(fields["postback"], (str, int, float)):
        raise MessageError("postback must be the payload of a menu item, a string")
    if not isinstance(fields.get("context_data", {}), dict):
        raise MessageError("context_data must be an object")
    if "text" in fields:
        fields["text"] = _texts(fields["text"])
        if not fields["text"]:
            del fields["text"]
    if "attachments" in fields:
        fields["attachments"] = _attachments(fields["attachments"])
    for name in forward_fields:
        if message.get(name) is not None:
            fields.setdefault(name, message[name])
    return fields


def _prove(fields: dict[str, Any], facts: Mapping[str, Any], ignored: Sequence[str]) -> Sequence[str]:
    """Put what is proven in place of what the client said. Returns the names of what does not go as it said."""
    replaced = [name for name, value in facts.items() if name in fields and fields[name] != value]
    for name, value in facts.items():
        if fields["type"] == "text" or name in fields:
            fields[name] = value
    return [*ignored, *replaced]


def _ignored(message: dict[Any, Any], forward_fields: Sequence[str]) -> list[str]:
    """The names of fields that say something and are not forwarded, in the order in which they came."""
    names = [
        str(name)[:_MAX_IGNORED_CHARACTERS]
        for name, value in message.items()
        if value is not None and name not in FIELDS_TO_DMS and name not in forward_fields
    ]
    return names[:_MAX_IGNORED]


def _texts(value: object) -> list[str]:
    texts: list[Any] = value if isinstance(value, list) else [value]
    for text in texts:
        if text is not None and not isinstance(text, str):
            raise MessageError('text must be a string or a list of strings, such as ["Hello"]')
    return [text for text in texts if text is not None]


def _attachments(value: object) -> list[Any]:
    attachments = [value] if isinstance(value, dict) else value
    if not isinstance(attachments, list) or not all(
        isinstance(attachment, dict) and isinstance(attachment.get("url"), str) for attachment in attachments
    ):
        raise MessageError('attachments must be a list of objects such as {"url": "https://…"}')
    return attachments


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    # 1e999 would become Infinity, which no browser can parse.
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is out of range")
    return number


_STRICT = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)
