"""The files: kept when they are judged, handed out in pieces, deleted when their time is over. Knows nothing of HTTP."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from lchook.core import events
from lchook.core.file_types import FileType, sniff
from lchook.core.stored_files import HEADER_BYTES, PENDING, FileHeader, FileKeys, expiry_of, is_of_customer
from lchook.files import Bucket, Call, FilesError
from lchook.files.scanner import Clamd
from lchook.files.spool import Incoming, Spool
from lchook.logs import Log

T = TypeVar("T")

log = Log(__name__)

_BUCKET_SECONDS = 30.0
_PUT_SECONDS = 120.0
_PIECE_BYTES = 256 * 1024
# Files that are scanned, and put into the bucket, at once: the daemon has ten threads, and a part is in memory for each.
_MAX_SCANS = 4
_MAX_PUTS = 4


class InfectedError(Exception):
    """The scanner found something."""


@dataclass(frozen=True, slots=True)
class Used:
    """What is kept of what a customer sent."""

    files: int = 0
    size: int = 0


class FileStore:
    """Call from anywhere; raises `FilesError` where disk, bucket or scanner fail."""

    def __init__(self, bucket: Bucket, spool: Spool, keys: FileKeys, *, scanner: Clamd | None, call: Call) -> None:
        self.keys = keys
        self.place = bucket.place
        self._bucket = bucket
        self._spool = spool
        self._scanner = scanner
        self._call = call
        self._scans = threading.BoundedSemaphore(_MAX_SCANS)
        self._puts = threading.BoundedSemaphore(_MAX_PUTS)

    def incoming(self) -> Incoming:
        """A place for a file that comes in."""
        return self._spool.incoming()

    def keep(self, file: Incoming, key: str, name: str) -> FileHeader:
        """Judge a file that has come in, and keep it. Afterwards it can be fetched, and not before.

        :raises InfectedError: where the scanner found something; it is not kept.
        """
        kind = sniff(file.head)
        file.finish()
        if self._scanner is not None:
            with self._scans:
                found = self._scanner.found(file.pieces())
            if found is not None:
                log.warning(events.FILE_INFECTED, found=found, size=file.size)
                raise InfectedError(found)
        verdict: Any = "unscanned" if self._scanner is None else "clean"
        header = FileHeader(name, kind.mime, file.size, kind.is_inline, verdict)
        file.finish(header.packed())
        with self._puts:
            self._do(self._bucket.put, key, file.path, seconds=_PUT_SECONDS)
        return header

    def mark_infected(self, key: str, name: str) -> None:
        """Remember that what was to be kept under this key must not be had."""
        self._do(self._bucket.put_bytes, key, FileHeader(name, "", 0, verdict="infected").packed())

    def open(self, key: str) -> tuple[FileHeader, Iterator[bytes]] | None:
        """A file's header and its pieces; `None` where there is none, or its time is over."""
        if self.keys.is_over(key):
            return None
        start = self._do(self._bucket.read, key, 0, _PIECE_BYTES)
        if start is None:
            return None
        try:
            header = FileHeader.unpacked(start)
        except ValueError as error:
            raise FilesError("an object is no file of LCH's") from error
        return header, self._pieces(key, header, start[HEADER_BYTES:])

    def _pieces(self, key: str, header: FileHeader, piece: bytes | None) -> Iterator[bytes]:
        at = 0
        while piece:
            yield piece
            at += len(piece)
            if at >= header.size:
                return
            piece = self._do(self._bucket.read, key, HEADER_BYTES + at, _PIECE_BYTES)

    def is_there(self, key: str) -> bool:
        return self._do(self._bucket.read, key, 0, 1) is not None

    def used(self, owner: str) -> Used:
        """By the files that the customer sent, and whose time is not over."""
        found = self._do(lambda: list(self._bucket.objects(self.keys.mark(owner))))
        sizes = [size - HEADER_BYTES for key, size in found if is_of_customer(key) and not self.keys.is_over(key)]
        return Used(len(sizes), sum(sizes))

    # Files that are to be fetched

    def remember(self, key: str, source: bytes, *, within_seconds: float) -> None:
        """A file is to be fetched under this key, also by the next process."""
        self._do(self._bucket.put_bytes, key + PENDING, source, seconds=within_seconds)

    def remembered(self, key: str) -> bytes | None:
        return self._do(self._bucket.read, key + PENDING, 0, 16_384)

    def settle(self, key: str) -> None:
        """It need not be fetched any more."""
        self._do(self._bucket.delete, [key + PENDING])

    # The end of files

    def sweep(self) -> tuple[int, list[str]]:
        """Delete what is over; returns how many files that were, and the keys of those that are still to be fetched."""
        self._do(self._spool.tidy)
        found = [key for key, _ in self._do(lambda: list(self._bucket.objects()))]
        # What is no file of LCH's has no expiry, and is left alone.
        over = [key for key in found if expiry_of(key) is not None and self.keys.is_over(key.removesuffix(PENDING))]
        if over:
            self._do(self._bucket.delete, over, seconds=_PUT_SECONDS)
        return len(over), [key.removesuffix(PENDING) for key in {*found} - {*over} if key.endswith(PENDING)]

    def forget(self, owner: str) -> int:
        """Delete all files of a customer, of both sides; returns how many."""
        keys = [key for key, _ in self._do(lambda: list(self._bucket.objects(self.keys.mark(owner))))]
        if keys:
            self._do(self._bucket.delete, keys, seconds=_PUT_SECONDS)
        return len(keys)

    def check(self) -> None:
        """Write, read and delete something. :raises FilesError: where that fails, or the scanner does not answer."""
        key = f"{self.keys.mark('lch-doctor')}/{0:010d}-c-{'a' * 26}"
        self._do(self._bucket.put_bytes, key, b"LCH was here")
        if self._do(self._bucket.read, key, 0, 100) != b"LCH was here":
            raise FilesError("what was written is not what is read")
        self._do(self._bucket.delete, [key])

    def _do(self, function: Callable[..., T], *args: Any, seconds: float = _BUCKET_SECONDS) -> T:
        try:
            return self._call(seconds, function, *args)  # type: ignore[no-any-return]
        except TimeoutError as error:
            raise FilesError("the bucket does not answer") from error
        except OSError as error:
            raise FilesError(error.strerror or type(error).__name__) from error


def refusal_of(kind: FileType) -> str:
    """Why a customer may not send that, in words."""
    return f"this file is {kind.says}: send a picture, a document, a text, sound or film"
