"""LCH's own addresses of files."""

from __future__ import annotations

from lchook.core.file_names import percent_encoded

PATH = "/files/"


def link(public_url: str, key: str, name: str, *, source: str = "") -> str:
    """Where a file is handed out.

    :param source: signed; where it was, for as long as LCH has it not.
    """
    query = f"?source={source}" if source else ""
    return f"{public_url.rstrip('/')}{PATH}{key}/{percent_encoded(name)}{query}"
