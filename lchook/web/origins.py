"""Whose pages may connect. No I/O.

Asked by Socket.IO's server with what came in the header `Origin`, and the request's environ.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from config import as_browsers_send_it

# A page from a file: some engines say the one, some the other.
_FILE = frozenset({"file://", "null"})


class Origins:
    """The origins that are allowed."""

    def __init__(self, allowed: tuple[str, ...] | Literal["*"] | None, *, own: bool) -> None:
        """:param allowed: as in the settings. :param own: whether pages at the hook's own address may connect too."""
        self._any = allowed == "*"
        self._allowed = frozenset(() if allowed in ("*", None) else allowed or ())
        if "file://" in self._allowed:
            self._allowed |= _FILE
        self._own = own or allowed is None

    def __call__(self, origin: str | None, environ: dict[str, Any]) -> bool:
        """Browsers name an origin whenever it matters; other clients may leave it out."""
        if origin is None or self._any:
            return True
        asks = as_browsers_send_it(origin)
        return asks in self._allowed or (self._own and asks in _of_this_hook(environ))


def _of_this_hook(environ: dict[str, Any]) -> Iterator[str]:
    """What a page at this hook's own address sends, as far as the request and the proxies tell. Browsers let no page of
    another site set these headers."""
    scheme, host = environ.get("wsgi.url_scheme", "http"), environ.get("HTTP_HOST", "")
    yield as_browsers_send_it(f"{scheme}://{host}")
    outer_scheme = _first(environ.get("HTTP_X_FORWARDED_PROTO")) or scheme
    outer_host = _first(environ.get("HTTP_X_FORWARDED_HOST")) or host
    yield as_browsers_send_it(f"{outer_scheme}://{outer_host}")
    port = _first(environ.get("HTTP_X_FORWARDED_PORT"))
    if port and not outer_host.rpartition(":")[2].isdigit():
        yield as_browsers_send_it(f"{outer_scheme}://{outer_host}:{port}")


def _first(values: str | None) -> str:
    """Of several proxies, the outermost."""
    return (values or "").partition(",")[0].strip()
