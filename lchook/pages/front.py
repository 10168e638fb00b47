"""The page at `/` of a hook without a sandbox: what this is and where to look, for a person who opens the address.

It says nothing of versions, settings or customers. It loads nothing, and runs nothing.
"""

from __future__ import annotations

import base64
import hashlib

from flask import Response

_STYLE = """
:root { color-scheme: light dark; }
body { max-width: 42rem; margin: 3rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif; }
code { font-size: 0.95em; }
"""
_HTML = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>LCH, a chat hook</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>This is LCH, a chat hook</h1>
<p>It stands between the chat of a website and Pega's Digital Messaging Service. It is running. There is no chat to see
here.</p>
<ul>
<li><strong>In Pega</strong>, the client webhook is this address with <code>/webhook</code> at its end. A browser is answered
there with one line.</li>
<li><strong>Chat clients</strong> connect to this address with Socket.IO, by way of <code>/socket.io/</code>.</li>
<li><strong>Documentation</strong> is in the program's folder: <code>README.md</code>, <code>docs/client-protocol.md</code>
for those who write a client, <code>docs/troubleshooting.md</code> for when something does not work. There,
<code>flask --app wsgi doctor</code> says what is wrong and what to change.</li>
</ul>
</main>
</body>
</html>
"""
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def front_page() -> Response:
    """The page, with its headers."""
    return Response(_HTML, 200, _HEADERS, mimetype="text/html")
