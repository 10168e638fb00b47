"""One instance of LCH as a process that is killed, stopped and started again on its port."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable

from tests.support.servers import Server, free_port, gunicorn_command

Command = Callable[[int], list[str]]


def production(port: int) -> list[str]:
    """As `make run` does it."""
    return gunicorn_command(port, "--graceful-timeout", "20")


class Running(Server):
    """A server that can be ended in more ways than one."""

    @property
    def pid(self) -> int:
        """gunicorn's master."""
        return self._process.pid

    @property
    def worker_pid(self) -> int:
        """The process that does the work, if the server has one for it."""
        children = subprocess.run(["pgrep", "-P", str(self.pid)], capture_output=True, text=True, check=False).stdout
        return int(children.split()[0])

    def kill(self) -> None:
        """Kill -9 for it and its worker, at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def terminate(self) -> float:
        """SIGTERM, as a platform sends it; returns after how many seconds it was gone."""
        started = time.monotonic()
        self._process.terminate()
        self._process.wait(30)
        return time.monotonic() - started

    @property
    def returncode(self) -> int | None:
        return self._process.poll()


class Instance:
    """LCH on a port, in one life after the other."""

    def __init__(self, settings: dict[str, str], *, command: Command = production) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._settings = settings
        self._command = command
        self._server: Running | None = None
        # What each life said, and how it ended.
        self.lives: list[tuple[str, str]] = []

    def start(self) -> Running:
        """Returns when it answers."""
        self._server = Running(self._command(self.port), self.port, **self._settings)
        return self._server

    @property
    def is_started(self) -> bool:
        return self._server is not None

    @property
    def server(self) -> Running:
        assert self._server
        return self._server

    @property
    def log(self) -> str:
        """Of all lives."""
        now = self._server.log if self._server else ""
        return "".join(log for log, _ in self.lives) + now

    def kill(self) -> None:
        self.server.kill()
        self._over("killed")

    def terminate(self) -> float:
        seconds = self.server.terminate()
        self._over("stopped")
        return seconds

    def stop(self) -> None:
        if self._server is not None:
            self.server.kill()
            self._over("stopped")

    def _over(self, how: str) -> None:
        self.lives.append((self.server.log, how))
        self.server.stop()
        self._server = None
