"""The client library and the chat as sites load them: `/client/<file>`, with caching, for pages of any origin.

socket.io-client, which they need, is npm's: from `node_modules`, or from the public CDN where that is not there.

Under `/client/<file>` a file may change with the next version of LCH; under `/client/<version>/<file>` it never does, and is
cached for good. The version is one for all, since they import each other. `/client/` names them, with their integrity.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from flask import Blueprint, Response, jsonify, request, url_for
from werkzeug.exceptions import NotFound

from lchook.top import TOP

FOLDER = TOP / "client"
# Or a copy of it in the folder, for sites whose policy allows no CDN.
SOCKET_IO = "socket.io.esm.min.js"
SOCKET_IO_FROM_NPM = TOP / "node_modules" / "socket.io-client" / "dist" / SOCKET_IO
SOCKET_IO_CDN = f"https://cdn.socket.io/4.8.1/{SOCKET_IO}"
_VERSION = re.compile("[0-9a-f]{16}")
_MIN_SECONDS, _MAX_SECONDS = 300, 31_536_000


@dataclass(frozen=True)
class _File:
    content: bytes
    zipped: bytes

    @property
    def integrity(self) -> str:
        """For `<script integrity>`."""
        return "sha384-" + base64.b64encode(hashlib.sha384(self.content).digest()).decode()


class _Files:
    """Those of a folder and the folders in it, by their paths. Read when they are first asked for, and kept: some 150 KB."""

    def __init__(self, folder: Path, socket_io: Path) -> None:
        self._folder = folder
        self._socket_io = socket_io

    @cached_property
    def by_name(self) -> dict[str, _File]:
        paths = sorted(self._folder.rglob("*.js"))
        contents = {path.relative_to(self._folder).as_posix(): path.read_bytes() for path in paths}
        if SOCKET_IO not in contents and self._socket_io.is_file():
            contents[SOCKET_IO] = self._socket_io.read_bytes()
        return {name: _File(content, gzip.compress(content, mtime=0)) for name, content in contents.items()}

    @cached_property
    def version(self) -> str:
        everything = hashlib.sha256()
        for name, file in self.by_name.items():
            everything.update(f"{name} {len(file.content)}\n".encode() + file.content)
        return everything.hexdigest()[:16]


def create_blueprint(folder: Path = FOLDER, socket_io: Path = SOCKET_IO_FROM_NPM) -> Blueprint:
    """The routes. They answer anybody: what they serve is public."""
    files = _Files(folder, socket_io)
    blueprint = Blueprint("client", __name__)

    @blueprint.get("/client/")
    def listing() -> Response:
        listed = {
            name: {
                "url": url_for("client.file", path=f"{files.version}/{name}"),
                "integrity": file.integrity,
                "bytes": len(file.content),
            }
            for name, file in files.by_name.items()
        }
        return _public(jsonify(version=files.version, files=listed), seconds=0)

    @blueprint.get("/client/<path:path>")
    def file(path: str) -> Response:
        version, _, name = path.partition("/")
        if SOCKET_IO in (path, name) and SOCKET_IO not in files.by_name:
            return _public(Response(status=302, headers={"Location": SOCKET_IO_CDN}), seconds=_MIN_SECONDS)
        if not _VERSION.fullmatch(version):
            return _answer(path, seconds=_MIN_SECONDS)
        if version == files.version:
            return _answer(name, seconds=_MAX_SECONDS)
        # A page that was made for another version, or another instance during an update: better this one than none.
        _find(name)
        return _public(Response(status=302, headers={"Location": url_for("client.file", path=name)}), seconds=0)

    def _find(name: str) -> _File:
        try:
            return files.by_name[name]
        except KeyError:
            raise NotFound(f"there is no such file: there are {', '.join(files.by_name) or 'none'}.") from None

    def _answer(name: str, seconds: int) -> Response:
        file = _find(name)
        is_zipped = request.accept_encodings.quality("gzip") > 0
        response = Response(file.zipped if is_zipped else file.content, mimetype="text/javascript")
        if is_zipped:
            response.content_encoding = "gzip"
        response.vary.add("Accept-Encoding")
        response.set_etag(f"{hashlib.sha256(file.content).hexdigest()[:32]}{'-gzip' if is_zipped else ''}")
        response.make_conditional(request)
        return _public(response, seconds)

    return blueprint


def _public(response: Response, seconds: int) -> Response:
    lasting = ", immutable" if seconds == _MAX_SECONDS else ""
    response.headers["Cache-Control"] = f"public, max-age={seconds}{lasting}" if seconds else "no-cache"
    # A module from another origin is only run with this; what is public is so for all.
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
