"""Files over HTTP: customers put them, and whoever has a link gets them. No cookie, no login: the links are what counts.

What is handed out here comes from strangers, on LCH's own origin. Nothing of it can run there: the type is the one that the
bytes have, browsers are told not to guess another one, anything but a plain picture is a download, and where a browser shows
it all the same, it does so in a sandbox.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response, request
from flask_cors import cross_origin

from config import Settings
from lchook.core import events
from lchook.core.file_names import content_disposition
from lchook.core.stored_files import FileHeader, Pending, expiry_of, is_key
from lchook.files import FilesError
from lchook.files.files import Files
from lchook.files.links import PATH
from lchook.logs import Log
from lchook.web.metrics import Metrics

log = Log(__name__)

# As long as the file is there, but a browser need not keep it for longer.
_MAX_CACHE_SECONDS = 3600
_SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
    # Pages of the site, on another origin, show pictures from here.
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex",
}


def is_upload(method: bytes, target: bytes) -> bool:
    """Is this a request whose body is not to be held in memory?"""
    return method == b"PUT" and target.startswith(PATH.encode())


def publish_files(metrics: Metrics, files: Files) -> None:
    metrics.add_counts("lch_files", "What happened to files, both ways", "event", files.counts)
    metrics.add_gauge("lch_files_uploads_under_way", "Uploads that come in now", files.uploads.under_way)
    under_way = files.agent_files.under_way
    metrics.add_gauge("lch_files_fetches_under_way", "Agents' files that are fetched, or wait for that", under_way)


def create_blueprint(settings: Settings, files: Files) -> Blueprint:
    """The routes: `PUT` for who has a grant, `GET` for who has the link."""
    blueprint = Blueprint("files", __name__)
    origins = sorted({one for each in settings.connections or (settings,) for one in each.allowed_origins or ()})

    @cross_origin(origins=origins, methods=["PUT"], allow_headers=["Authorization", "Content-Type"], max_age=7200)
    def put(customer: str, file: str) -> Response:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            token = ""
        stream = request.environ["wsgi.input"]
        length = None if request.environ.get("HTTP_TRANSFER_ENCODING") else request.content_length
        status, fields = files.uploads.receive(f"{customer}/{file}", token.strip(), length, stream.read)
        response = _as_json(status, fields)
        if status == 503:
            response.headers["Retry-After"] = "5"
        return response

    @cross_origin(origins=origins, methods=["GET"])
    def get(customer: str, file: str, name: str) -> Response:
        key = f"{customer}/{file}"
        if not is_key(key):
            return _as_json(404, {"error": "there is no file at this address"})
        try:
            found = files.agent_files.open(key, request.args.get("source", ""))
        except FilesError as error:
            log.error(events.FILE_NOT_SERVED, file=key, reason=error)
            files.count("not_served")
            return _as_json(503, {"error": "files cannot be handed out at the moment: try again later"})
        if found is None or (expiry_of(key) or 0) <= time.time():
            is_over = (expiry_of(key) or 0) <= time.time()
            status, words = (410, "this file's time is over") if is_over else (404, "there is no file at this address")
            return _as_json(status, {"error": words})
        if isinstance(found, Pending):
            files.count("led_on")
            headers = {**_SAFE, "Location": found.source_url, "Cache-Control": "no-store"}
            return Response("", 302, headers)
        header, pieces = found
        if header.verdict == "infected":
            return _as_json(403, {"error": "the virus scanner has found something in this file: it is not handed out"})
        files.count("served")
        return _file(key, header, pieces)

    rule = f"{PATH}<customer>/<file>"
    blueprint.add_url_rule(rule, "put", put, methods=["PUT", "OPTIONS"], provide_automatic_options=False)
    blueprint.add_url_rule(f"{rule}/<name>", "get", get, methods=["GET"])
    return blueprint


def _file(key: str, header: FileHeader, pieces: Iterator[bytes]) -> Response:
    seconds = max(0, min(_MAX_CACHE_SECONDS, (expiry_of(key) or 0) - int(time.time())))
    headers = {
        **_SAFE,
        "Content-Type": header.type,
        "Content-Length": str(header.size),
        "Content-Disposition": content_disposition(header.name, is_inline=header.is_inline),
        "Cache-Control": f"private, max-age={seconds}",
    }
    return Response(_logged(key, pieces), 200, headers, direct_passthrough=True)


def _logged(key: str, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """What breaks off here has begun already: its length tells the reader that it is not all."""
    try:
        yield from pieces
    except FilesError as error:
        log.error(events.FILE_NOT_SERVED, file=key, reason=error)


def _as_json(status: int, fields: dict[str, Any]) -> Response:
    return Response(json.dumps(fields), status, {**_SAFE, "Cache-Control": "no-store"}, mimetype="application/json")
