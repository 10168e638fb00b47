"""Files both ways: where they are kept, how they are judged, fetched, taken in and handed out.

Here is what the parts share. A bucket is a plain place for objects; everything in it is judged already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol


class FilesError(Exception):
    """It cannot be done now. The text says why, for the log."""


class BucketFullError(FilesError):
    """There is no room for more."""


# Calls a function that may block, and waits no longer than so many seconds (TimeoutError).
Call = Callable[..., Any]
# Starts a function beside others, with its arguments.
Start = Callable[..., object]


class Bucket(Protocol):
    """A folder, or a bucket at somebody's. Its methods block, use nothing of gevent's, and raise `FilesError`.

    An object is there as a whole or not at all.
    """

    # What it is, for the log.
    place: str

    def put(self, key: str, file: Path) -> None:
        """Keep a file, in the place of what has this key. The file may be gone afterwards."""

    def put_bytes(self, key: str, data: bytes) -> None:
        """Keep something small."""

    def read(self, key: str, start: int, length: int) -> bytes | None:
        """A part of an object, shorter at its end; `None` where there is no such object."""

    def delete(self, keys: list[str]) -> None:
        """Those that are not there are no problem."""

    def objects(self, prefix: str = "") -> Iterable[tuple[str, int]]:
        """Keys and sizes of what is below a prefix (a folder's name, or empty for all)."""
