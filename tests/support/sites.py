"""A site with a chat on it, as strict as a bank's: of another origin than the hook, and with nothing inline."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

_PAGE = """<!doctype html>
<html lang="{lang}" dir="{dir}">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>A bank</title>
<link rel="icon" href="/icon"><link rel="stylesheet" href="/site.css">
<script type="module" src="{hook}/client/lch-chat.js"></script>
</head>
<body><main><h1>A bank</h1><p>Savings and loans. <a href="#more">More</a></p></main>
<lch-chat{attributes}></lch-chat></body>
</html>"""
_CSS = """body { font-family: sans-serif; margin: 40px; }
@media (prefers-color-scheme: dark) { body { background: #111; color: #eee; } a { color: #9cf; } }"""


class Site:
    """`/?customer-id=c1&open=` has `<lch-chat customer-id="c1" open="">`; `lang` and `dir` are the page's."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.hook = ""


@contextmanager
def running_site() -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = urlsplit(self.path)
            query = dict(parse_qsl(address.query, keep_blank_values=True))
            of_page = {"lang": query.pop("lang", "en"), "dir": query.pop("dir", "ltr")}
            attributes = "".join(f' {name}="{escape(value)}"' for name, value in query.items())
            content, content_type = {
                "/": (_PAGE.format(hook=site.hook, attributes=attributes, **of_page), "text/html"),
                "/site.css": (_CSS, "text/css"),
            }.get(address.path, ("", "image/x-icon"))
            self.send_response(200)
            self.send_header("Content-Type", f"{content_type}; charset=utf-8")
            socket = site.hook.replace("http", "ws", 1)
            self.send_header("Content-Security-Policy", f"default-src 'self' {site.hook} {socket}")
            self.end_headers()
            self.wfile.write(content.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site = Site(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
