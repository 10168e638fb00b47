"""A bucket that is a folder of this machine, for one instance."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from lchook.files import BucketFullError, FilesError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_LEFT_SECONDS = 3_600.0


class FolderBucket:
    """Objects are files in folders. New ones are written beside, and moved to their place when they are on the disk."""

    def __init__(self, folder: Path) -> None:
        """Without touching the disk."""
        self._folder = folder
        self.place = str(folder)

    def put(self, key: str, file: Path) -> None:
        with _in_words():
            with file.open("rb") as written:
                os.fsync(written.fileno())
            try:
                self._move(file, key)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                # The spool is on another disk.
                with self._beside(key) as beside:
                    shutil.copyfile(file, beside)
                    self._move(beside, key)

    def put_bytes(self, key: str, data: bytes) -> None:
        with _in_words(), self._beside(key) as beside:
            beside.write_bytes(data)
            self._move(beside, key)

    def _move(self, file: Path, key: str) -> None:
        place = self._folder / key
        for is_last in (False, True):
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                file.replace(place)
                return
            except FileNotFoundError:
                # The folder's last file was deleted at this moment, and the folder with it.
                if is_last:
                    raise

    @contextlib.contextmanager
    def _beside(self, key: str) -> Iterator[Path]:
        self._folder.mkdir(parents=True, exist_ok=True)
        beside = self._folder / f".{uuid.uuid4().hex}.tmp"
        try:
            yield beside
        finally:
            beside.unlink(missing_ok=True)

    def read(self, key: str, start: int, length: int) -> bytes | None:
        with _in_words():
            try:
                with (self._folder / key).open("rb") as file:
                    file.seek(start)
                    return file.read(length)
            except (FileNotFoundError, NotADirectoryError):
                return None

    def delete(self, keys: list[str]) -> None:
        with _in_words():
            for key in keys:
                place = self._folder / key
                place.unlink(missing_ok=True)
                with contextlib.suppress(OSError):
                    # Where it was the last one.
                    place.parent.rmdir()

    def objects(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        with _in_words():
            if not prefix:
                self._tidy()
            for folder in [self._folder / prefix] if prefix else self._places(self._folder):
                for place in self._places(folder):
                    with contextlib.suppress(FileNotFoundError):
                        yield f"{folder.name}/{place.name}", place.stat().st_size

    def _tidy(self) -> None:
        """Delete what a process left that was killed."""
        before = time.time() - _LEFT_SECONDS
        for place in self._folder.glob(".*.tmp"):
            with contextlib.suppress(FileNotFoundError):
                if place.stat().st_mtime < before:
                    place.unlink()

    def _places(self, folder: Path) -> list[Path]:
        try:
            return [place for place in folder.iterdir() if not place.name.startswith(".")]
        except (FileNotFoundError, NotADirectoryError):
            return []


@contextlib.contextmanager
def _in_words() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        words = os.strerror(error.errno) if error.errno else type(error).__name__
        if error.errno in _FULL:
            raise BucketFullError(f"the disk is full ({words})") from error
        raise FilesError(words) from error
