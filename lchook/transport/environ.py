"""WSGI's view of a request."""

from __future__ import annotations

import functools
import urllib.parse
from typing import Any

from lchook.transport.request_parser import Request


def environ_of(request: Request) -> dict[str, Any]:
    """What WSGI says about a request's head."""
    target = request.target.decode("latin-1")
    path, _, query = target.partition("?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method.decode("latin-1"),
        "SCRIPT_NAME": "",
        "PATH_INFO": urllib.parse.unquote_to_bytes(path).decode("latin-1") if "%" in path else path,
        "QUERY_STRING": query,
        "RAW_URI": target,
        "SERVER_PROTOCOL": request.version.decode("latin-1"),
    }
    for name, raw in request.headers:
        key = _key(name)
        if key is None:
            continue
        value = raw.decode("latin-1")
        if key not in environ:
            environ[key] = value
        elif key.startswith("HTTP_"):
            environ[key] += f"{'; ' if key == 'HTTP_COOKIE' else ','}{value}"
    return environ


@functools.lru_cache(maxsize=500)
def _key(name: bytes) -> str | None:
    """An underscore could pass for a hyphen: such names do not count."""
    if b"_" in name:
        return None
    key = name.decode("latin-1").replace("-", "_").upper()
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
