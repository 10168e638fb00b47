"""Which processes that use a file are alive: each holds a lock on a file of its own beside it, and the system lets go of it
however the process ends. Holds in containers that share a folder, and costs nothing while all is well.

What is here may wait for the disk, and uses no locks of Python and no log.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: one process, and nobody to tell from it.
    fcntl = None  # type: ignore[assignment]


class Processes:
    """Those that use the file at `path`. `me` is this one."""

    def __init__(self, path: Path | None) -> None:
        """:param path: `None`: there is no other process."""
        self._path = path
        self._lock: int | None = None
        self.me = uuid.uuid4().hex[:16]

    def begin(self) -> None:
        """From now on others see that this process is alive. To be called again where its file may be gone."""
        if self._path is None or fcntl is None or (self._lock is not None and os.fstat(self._lock).st_nlink):
            return
        self._close()
        for file in self._path.parent.glob(f"{self._path.name}-process-*"):
            # Of those that were killed.
            self.lives(file.name.rpartition("-")[2])
        # Readable for whoever comes next, who may be another user.
        lock = os.open(self._file(self.me), os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            os.close(lock)
            raise
        self._lock = lock

    def lives(self, process: str) -> bool:
        """Is this process alive? The file of one that is not is removed."""
        if process == self.me or self._path is None or fcntl is None:
            return process == self.me
        file = self._file(process)
        try:
            lock = os.open(file, os.O_RDONLY)
        except OSError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        else:
            with contextlib.suppress(OSError):
                os.unlink(file)
            return False
        finally:
            os.close(lock)

    def end(self) -> None:
        """This process uses the file no more."""
        if self._lock is not None and self._path is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._file(self.me))
            self._close()

    def _close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _file(self, process: str) -> Path:
        return Path(f"{self._path}-process-{process}")
