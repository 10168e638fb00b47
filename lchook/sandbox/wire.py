"""What went over the wire: a bounded log of posts and webhooks that several readers can follow. No HTTP, no secrets."""

from __future__ import annotations

import base64
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, Literal

from lchook.sandbox.posts import strict_json

# A body longer than this is only counted, so that the log's size is bounded.
LONGEST_BODY_BYTES = 64_000


class Wire:
    """The last entries, numbered from 1 on. Safe to use from several threads."""

    def __init__(self, limit: int = 500) -> None:
        """:param limit: how many entries are kept; the oldest go first."""
        self._entries: deque[dict[str, Any]] = deque(maxlen=limit)
        self._last_seq = 0
        self._closed = False
        self._changed = threading.Condition()

    @property
    def closed(self) -> bool:
        return self._closed

    def add(
        self,
        *,
        direction: Literal["to_dms", "to_customer"],
        customer_id: str,
        type_: str,
        url: str,
        status: int | None,
        duration_seconds: float,
        request_headers: Mapping[str, str | bytes],
        request_body: object,
        response_body: object,
        method: str = "POST",
        error: str | None = None,
    ) -> None:
        """Log one exchange, at its end. Tokens in the headers are replaced by their claims."""
        entry: dict[str, Any] = {
            "seq": 0,
            "at": int((time.time() - duration_seconds) * 1000),
            "direction": direction,
            "customer_id": customer_id,
            "type": type_,
            "method": method,
            "url": url,
            "status": status,
            "duration_ms": round(duration_seconds * 1000, 1),
            "request": {"headers": _without_token(request_headers), "body": request_body},
            "response": {"body": response_body},
            "error": error,
        }
        with self._changed:
            self._last_seq += 1
            entry["seq"] = self._last_seq
            self._entries.append(entry)
            self._changed.notify_all()

    def after(self, seq: int, *, timeout_seconds: float = 0.0) -> list[dict[str, Any]]:
        """The entries that came after number `seq`, oldest first; waits for one where there is none yet.

        Returns an empty list after the timeout, and at once when closed. A `seq` that this log has not reached comes
        from a reader of an earlier process: it gets everything.
        """
        with self._changed:
            if seq > self._last_seq:
                seq = 0
            self._changed.wait_for(lambda: self._last_seq > seq or self._closed, timeout_seconds)
            new = min(self._last_seq - seq, len(self._entries))
            return [self._entries[index] for index in range(-new, 0)]

    def close(self) -> None:
        """Let those who wait go."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def is_long(raw: bytes) -> bool:
    return len(raw) > LONGEST_BODY_BYTES


def shown_body(raw: bytes) -> Any:
    """A body as the log shows it: JSON where it is JSON, else text, else its size."""
    if is_long(raw):
        return f"({len(raw)} bytes, too long to show)"
    try:
        return strict_json(raw)
    except ValueError:
        return raw.decode("utf-8", "replace")


def _without_token(headers: Mapping[str, str | bytes]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for name, value in headers.items():
        text = value.decode("latin-1") if isinstance(value, bytes) else value
        if name.lower() == "authorization":
            scheme, _, token = text.partition(" ")
            is_bearer = scheme.lower() == "bearer"
            shown[name] = "Bearer (token left out)" if is_bearer else "(left out)"
            shown["token_claims"] = _claims(token) if is_bearer else None
        else:
            shown[name] = text
    return shown


def _claims(token: str) -> Any:
    """What the token says, checked or not. None where that cannot be read."""
    try:
        claims = token.split(".")[1]
        return strict_json(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    except (ValueError, IndexError):
        return None
