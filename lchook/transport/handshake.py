"""A WebSocket's handshake: what is wrong with one, and the answer to one that is right (RFC 6455, 4.2)."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

from lchook.transport.request_parser import Request

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# 16 bytes in base64.
_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")


def wrong_with(request: Request) -> tuple[str, str] | None:
    """With which status, in which words, to refuse a request that asks for a WebSocket, if it does so in a wrong way.

    gevent-websocket (0.10.1) fails at most of that.
    """
    fields = request.fields
    if request.version != b"HTTP/1.1" or b"upgrade" not in fields.get(b"connection", b"").lower():
        return "400 Bad Request", "a WebSocket needs HTTP/1.1 and the header Connection: Upgrade"
    if fields.get(b"sec-websocket-version") != b"13":
        return "426 Upgrade Required", "Sec-WebSocket-Version must be 13"
    if not _KEY.fullmatch(fields.get(b"sec-websocket-key", b"")):
        return "400 Bad Request", "Sec-WebSocket-Key must be 16 bytes in base64"
    return None


def answer_to(request: Request) -> list[tuple[str, str]]:
    """The headers of the answer that switches protocols."""
    digest = hashlib.sha1(request.fields[b"sec-websocket-key"] + _GUID, usedforsecurity=False).digest()
    accept: Any = base64.b64encode(digest).decode()
    return [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept)]
