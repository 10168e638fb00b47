"""What LCH's own web pages share: their looks, the helpers of their scripts, the socket.io client, and strict headers.

Each page's blueprint serves these under its own addresses. Knows nothing of what the pages show.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from flask import Blueprint, Response, abort, request, send_file, send_from_directory, url_for

PROJECT_ROOT = Path(__file__).resolve().parents[2]
CDN_CLIENT = "https://cdn.socket.io/4.8.1/socket.io.min.js"
CDN_INTEGRITY = "sha384-mkQ3/7FUtcGyoppY6bz/PORYoGqOl7/aSUMn2ymDOJcapfS6PHqxhRTMh1RR0Q6+"

_LOCAL_CLIENT = Path("node_modules/socket.io-client/dist/socket.io.min.js")
_SHARED = Path(__file__).parent / "static"


@dataclass(frozen=True, slots=True)
class ClientScript:
    """Where a page loads socket.io-client from: the npm copy beside the project, or the public CDN."""

    src: str
    integrity: str | None = None

    @property
    def source(self) -> str:
        """What the page's policy must allow besides its own address."""
        return self.src if self.integrity else ""


def add_shared_routes(blueprint: Blueprint, prefix: str, *, root: Path = PROJECT_ROOT) -> None:
    """Serve what pages share: endpoint `shared` at `<prefix>/shared/…`, `socketio_client` at `<prefix>/socket.io.min.js`.

    :param root: the folder that may have `node_modules` with socket.io-client in it.
    """

    def shared(filename: str) -> Response:
        return send_from_directory(_SHARED, filename)

    def socketio_client() -> Response:
        if not (root / _LOCAL_CLIENT).is_file():
            abort(404)
        return send_file(root / _LOCAL_CLIENT, mimetype="text/javascript")

    blueprint.add_url_rule(f"{prefix}/shared/<path:filename>", view_func=shared)
    blueprint.add_url_rule(f"{prefix}/socket.io.min.js", view_func=socketio_client)


def client_script(*, root: Path = PROJECT_ROOT) -> ClientScript:
    """For the page that is being served. Its blueprint has the shared routes."""
    if (root / _LOCAL_CLIENT).is_file():
        return ClientScript(url_for(".socketio_client"))
    return ClientScript(CDN_CLIENT, CDN_INTEGRITY)


def page_headers(client: ClientScript, *, hook_url: str = "", images: str = "'self' data:") -> dict[str, str]:
    """Headers of a page: it may load what it needs, and text from outside cannot bring in anything else.

    :param hook_url: where its Socket.IO is; empty for the page's own address.
    """
    hook = _hook_sources(hook_url)
    rules = {
        "default-src": "'none'",
        "script-src": f"'self' {client.source}",
        "style-src": "'self'",
        "img-src": images,
        "connect-src": f"'self' {hook}",
        "font-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {sources.strip()}" for name, sources in rules.items()),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }


def site_headers(client: ClientScript, *, hook_url: str = "", images: str = "'self'") -> dict[str, str]:
    """Headers of a page as a careful site has it, with a chat on it: its own address and the hook's, nothing inline.

    :param hook_url: as in `page_headers`.
    """
    sources = f"'self' {_hook_sources(hook_url)} {client.source}".strip()
    rules = f"default-src {sources}; img-src {images}; base-uri 'none'; frame-ancestors 'none'"
    return {"Content-Security-Policy": rules, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}


def _hook_sources(hook_url: str) -> str:
    """The hook in a policy, for `ws:` too: for older browsers `'self'` does not include WebSockets."""
    parts = urlsplit(hook_url or request.host_url)
    # The Host header comes from outside; what does not look like a host has no place in a policy.
    host = parts.netloc if re.fullmatch(r"[A-Za-z0-9.:\[\]_-]+", parts.netloc) else ""
    return f"{parts.scheme}://{host} {'wss' if parts.scheme == 'https' else 'ws'}://{host}" if host else ""
