"""The example files, as DMS's storage hands them out: behind links that are signed and die. No I/O, no HTTP."""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode
from xml.sax.saxutils import escape

# How long a link works, and how long there is a file at all.
LINK_SECONDS = 15 * 60
FILE_SECONDS = 24 * 3600
# S3 signs no link for longer.
MAX_LINK_SECONDS = 7 * 24 * 3600
# The address of the files before anybody asked for the page, which knows its own.
DEFAULT_FILES_URL = "/sandbox/files"

_DATE_FORMAT = "%Y%m%dT%H%M%SZ"

_HARBOUR = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 480 270" width="480" height="270">
<rect width="480" height="270" fill="#bae6fd"/><circle cx="380" cy="70" r="34" fill="#fbbf24"/>
<rect y="180" width="480" height="90" fill="#0369a1"/>
<path d="M120 180 l30 40 h140 l30 -40 z" fill="#7c2d12"/><path d="M215 40 v135 h-85 z" fill="#fff"/>
<path d="M225 60 v115 h70 z" fill="#fecaca"/></svg>
"""
_OPENING_HOURS = "Opening hours\n\nMonday to Friday  8-20\nSaturday         10-16\n"

# Name to content type and content.
FILES: dict[str, tuple[str, bytes]] = {
    "harbour.svg": ("image/svg+xml", _HARBOUR.encode()),
    "opening-hours.txt": ("text/plain; charset=utf-8", _OPENING_HOURS.encode()),
}


@dataclass(frozen=True, slots=True)
class FileAnswer:
    """What the storage answers: the file, or a refusal in words, in XML as S3 writes it."""

    status: int
    content_type: str
    content: bytes


class FileStorage:
    """Makes links, and answers who follows them."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        """:param clock: epoch seconds, which tests can turn."""
        self.base_url = DEFAULT_FILES_URL
        self._clock = clock
        self._secret = secrets.token_bytes(32)

    def link(self, name: str, *, lives_seconds: int = LINK_SECONDS, age_seconds: int = 0) -> str:
        """An address that works from now on for so long, unless it is as old as that already.

        :param age_seconds: how long ago it is to have been made.
        """
        # In whole seconds, and so that a link never dies early.
        made = datetime.fromtimestamp(math.ceil(self._clock()) - age_seconds, UTC).strftime(_DATE_FORMAT)
        query = {"X-Amz-Date": made, "X-Amz-Expires": str(lives_seconds)}
        query["X-Amz-Signature"] = self._signature(name, *query.values())
        return f"{self.base_url}/{quote(name)}?{urlencode(query)}"

    def fetch(self, name: str, query: Mapping[str, str]) -> FileAnswer:
        """:param query: of the address."""
        made, expires = query.get("X-Amz-Date", ""), query.get("X-Amz-Expires", "")
        signature = query.get("X-Amz-Signature", "")
        if not signature:
            return _refused(403, "AccessDenied", "Access Denied")
        if not hmac.compare_digest(signature.encode(), self._signature(name, made, expires).encode()):
            words = "The request signature we calculated does not match the signature you provided."
            return _refused(403, "SignatureDoesNotMatch", words)
        # Signed by us, and so well formed.
        age_seconds = self._clock() - datetime.strptime(made, _DATE_FORMAT).replace(tzinfo=UTC).timestamp()
        if age_seconds >= int(expires):
            return _refused(403, "AccessDenied", "Request has expired", {"X-Amz-Expires": expires})
        if name not in FILES or age_seconds >= FILE_SECONDS:
            return _refused(404, "NoSuchKey", "The specified key does not exist.", {"Key": name})
        content_type, content = FILES[name]
        return FileAnswer(200, content_type, content)

    def _signature(self, name: str, made: str, expires: str) -> str:
        return hmac.new(self._secret, f"{name}\n{made}\n{expires}".encode(), hashlib.sha256).hexdigest()


def attachment(name: str, url: str) -> dict[str, Any]:
    """A file as a webhook names it."""
    content_type, content = FILES[name]
    return {"url": url, "content_type": content_type.partition(";")[0], "file_name": name, "size": len(content)}


def _refused(status: int, code: str, message: str, more: Mapping[str, str] | None = None) -> FileAnswer:
    fields = {"Code": code, "Message": message, **(more or {})}
    inside = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in fields.items())
    xml = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inside}</Error>'
    return FileAnswer(status, "application/xml", xml.encode())
