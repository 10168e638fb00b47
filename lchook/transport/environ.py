"""WSGI's view of a request."""

from __future__ import annotations

import functools
import urllib.parse
from typing import Any

from lchook.transport.request_parser import Request

_OF_A_PAGE = ("HTTP_ORIGIN", "HTTP_HOST", "HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PORT")
_MAX_NAME = 30


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


def environ_of_refused(head: bytes) -> dict[str, Any]:
    """As far as a head that is no HTTP tells, which page of whose asks for what: a browser shows its page a refusal only
    where the answer allows that."""
    line, *lines = head.split(b"\r\n")
    words = line.split(b" ")
    if len(words) < 2:
        return {}
    environ: dict[str, Any] = {"REQUEST_METHOD": words[0].decode("latin-1")}
    environ["PATH_INFO"] = words[1].partition(b"?")[0].decode("latin-1")
    for line in lines:
        name, _, value = line.partition(b":")
        key = _key(name.lower()) if len(name) < _MAX_NAME else None
        if key in _OF_A_PAGE:
            environ[key] = value.strip().decode("latin-1")
    return environ


@functools.lru_cache(maxsize=500)
def _key(name: bytes) -> str | None:
    """An underscore could pass for a hyphen: such names do not count."""
    if b"_" in name:
        return None
    key = name.decode("latin-1").replace("-", "_").upper()
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
