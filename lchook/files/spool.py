"""Files that come in: on the local disk, piece by piece, until they are judged. Nobody is handed anything from here."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lchook.core.file_types import HEAD_BYTES
from lchook.core.stored_files import HEADER_BYTES
from lchook.files import BucketFullError, Call, FilesError
from lchook.files.folder import _FULL

# To go to another thread costs 60 µs: not for every piece of a network's size.
_PIECE_BYTES = 256 * 1024
_DISK_SECONDS = 20.0
# What a process left that was killed. No upload takes so long.
_LEFT_SECONDS = 3_600.0


class Incoming:
    """One file that comes in. As a context manager it is gone at the end, unless it was moved elsewhere."""

    def __init__(self, path: Path, call: Call) -> None:
        self.path = path
        self.size = 0
        self.head = b""
        self._call = call
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._file: Any = None

    def write(self, piece: bytes) -> None:
        """:raises FilesError: where the disk does not take it."""
        if len(self.head) < HEAD_BYTES:
            self.head += piece[: HEAD_BYTES - len(self.head)]
        self.size += len(piece)
        self._buffer.append(piece)
        self._buffered += len(piece)
        if self._buffered >= _PIECE_BYTES:
            self._flush()

    def finish(self, header: bytes = b"") -> None:
        """All has come. With a header, that is put before it."""
        self._flush()
        if header:
            self._do(self._write_header, header)

    def pieces(self) -> Iterator[bytes]:
        """What has come in, after `finish`."""
        at = HEADER_BYTES
        while piece := self._do(self._read, at):
            yield piece
            at += len(piece)

    def __enter__(self) -> Incoming:
        self._do(self._open)
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._remove)

    def _flush(self) -> None:
        if self._buffer:
            data, self._buffer, self._buffered = b"".join(self._buffer), [], 0
            self._do(self._write, data)

    def _do(self, function: Any, *args: Any) -> Any:
        try:
            return self._call(_DISK_SECONDS, function, *args)
        except TimeoutError as error:
            raise FilesError("the disk does not answer") from error
        except OSError as error:
            words = os.strerror(error.errno) if error.errno else type(error).__name__
            if error.errno in _FULL:
                raise BucketFullError(f"the disk is full ({words})") from error
            raise FilesError(f"{self.path.parent}: {words}") from error

    # Aside

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("x+b", buffering=0)
        self._file.seek(HEADER_BYTES)

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[self._file.write(left) :]

    def _write_header(self, header: bytes) -> None:
        self._file.seek(0)
        self._write(header)

    def _read(self, at: int) -> bytes:
        self._file.seek(at)
        return self._file.read(_PIECE_BYTES)  # type: ignore[no-any-return]

    def _remove(self) -> None:
        if self._file is not None:
            self._file.close()
        self.path.unlink(missing_ok=True)


class Spool:
    """The folder of files that come in."""

    def __init__(self, folder: Path, call: Call) -> None:
        """Without touching the disk."""
        self._folder = folder
        self._call = call

    def incoming(self) -> Incoming:
        return Incoming(self._folder / f"{uuid.uuid4().hex}.part", self._call)

    def tidy(self) -> int:
        """Delete what a process left that was killed; returns how many files that were. Blocks."""
        count, before = 0, time.time() - _LEFT_SECONDS
        try:
            for path in self._folder.iterdir():
                if path.suffix == ".part" and path.stat().st_mtime < before:
                    path.unlink(missing_ok=True)
                    count += 1
        except FileNotFoundError:
            pass
        return count
