"""What leaves DMS for one message: its bytes, and what repeats, habits of DMS and gateways make of them. No I/O.

Everything here means the same to a hook that reads as HTTP and JSON say, but for what a fault leaves out or adds.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lchook.sandbox.bodies import webhook_body

# What is behind a clock that goes wrong by minutes, and still within what counts.
_CLOCK_WRONG_SECONDS = 240
# Whole numbers beyond this are not the same number to everybody who reads JSON.
_MAX_EXACT = 2**53


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """One POST. `shown` is what the wire log tells of the body: it need not decode what a gateway coded."""

    raw: bytes
    shown: object
    headers: Mapping[str, str] = field(default_factory=dict)
    slash: bool = False
    chunked: bool = False
    clock_ahead_seconds: int = 0


def outgoing_under(fault: str, body: Mapping[str, Any]) -> list[Outgoing]:
    """The posts for one message, in order. Faults of other kinds (`silence`, `slow`, …) change nothing here."""
    if fault in _CHANGES:
        body = _CHANGES[fault](body)
    plain = _post(body)
    match fault:
        case "duplicate":
            return [plain, plain]
        case "rewritten":
            return [plain, _rewritten(body)]
        case "reused_id" if "message_id" in body:
            text = "This is another message, with the message_id of the one before."
            return [plain, _post({**_common(body), "type": "text", "text": [text]})]
        case "gzip":
            return [_post(body, raw=gzip.compress(plain.raw, mtime=0), headers={"Content-Encoding": "gzip"})]
        case "bom":
            return [_post(body, raw=b"\xef\xbb\xbf" + plain.raw, shown=f"(byte order mark) {plain.raw.decode()}")]
        case "charset":
            return [
                _post(
                    body,
                    raw=_in_letters(body).encode("utf-16"),
                    headers={"Content-Type": "application/json; charset=utf-16"},
                )
            ]
        case "chunked":
            return [_post(body, chunked=True)]
        case "slash":
            return [_post(body, slash=True)]
        case "fast_clock":
            return [_post(body, clock_ahead_seconds=_CLOCK_WRONG_SECONDS)]
        case "slow_clock":
            return [_post(body, clock_ahead_seconds=-_CLOCK_WRONG_SECONDS)]
    return [plain]


def _post(body: Mapping[str, Any], *, raw: bytes | None = None, shown: object = None, **fields: Any) -> Outgoing:
    raw = json.dumps(body, separators=(",", ":")).encode() if raw is None else raw
    return Outgoing(raw=raw, shown=body if shown is None else shown, **fields)


def _rewritten(body: Mapping[str, Any]) -> Outgoing:
    """The same message in other bytes: other key order, other white space, letters where there were escapes."""
    text = _in_letters(_reversed_keys(body), indent=2)
    return _post(body, raw=text.encode(), shown=text)


def _in_letters(body: Mapping[str, Any], *, indent: int | None = None) -> str:
    """JSON without escapes, where all of its letters can be coded: half of a surrogate pair cannot."""
    text = json.dumps(body, indent=indent, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(body, indent=indent)
    return text


def _reversed_keys(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _reversed_keys(value[name]) for name in reversed(list(value))}
    return [_reversed_keys(each) for each in value] if isinstance(value, list) else value


def _common(body: Mapping[str, Any]) -> dict[str, Any]:
    names = ("customer_id", "message_id", "csr_name", "author")
    return {name: body[name] for name in names if name in body}


def _string_text(body: Mapping[str, Any]) -> Mapping[str, Any]:
    text = body.get("text")
    return {**body, "text": " ".join(map(str, text))} if isinstance(text, list) else body


def _numeric_id(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """A number for the digits, and the digits for a number. Other ids cannot be a number, and stay."""
    customer_id = body.get("customer_id")
    if isinstance(customer_id, str):
        is_number = re.fullmatch("0|[1-9][0-9]{0,15}", customer_id) and int(customer_id) < _MAX_EXACT
        return {**body, "customer_id": int(customer_id)} if is_number else body
    return {**body, "customer_id": str(customer_id)}


def _agent_leaves(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Where the end of a session is said in words, nothing but the words says it."""
    if body.get("type") != "csr_end_session":
        return body
    return webhook_body("agent_left", body["customer_id"])


_CHANGES: Mapping[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]] = {
    "string_text": _string_text,
    "numeric_id": _numeric_id,
    "agent_leaves": _agent_leaves,
}
