"""LCH as a process of its own: started on a free port, awaited, and ended by its process id."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import requests
from dotenv import dotenv_values

from tests.support.tools import ROOT
from tests.support.waiting import wait_until

START_SECONDS = 20.0
STOP_SECONDS = 4.0


def free_port() -> int:
    """A port that nobody listens on, below those that the system gives to outgoing connections."""
    while True:
        port = random.randint(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def environment(**settings: str) -> dict[str, str]:
    """The environment of a process: hardly anything but these settings.

    What the developer's own .env sets is switched off by empty variables.
    """
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, **dict.fromkeys(dotenv_values(ROOT / ".env"), ""), "PYTHONUNBUFFERED": "1", **settings}


def gunicorn_command(port: int, *arguments: str) -> list[str]:
    """`gunicorn wsgi:app`, but on 127.0.0.1, and quick to stop."""
    options = ["--bind", f"127.0.0.1:{port}", "--graceful-timeout", "1", *arguments]
    return [sys.executable, "-m", "gunicorn", *options, "wsgi:app"]


def flask_command(port: int, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "flask", "--app", "wsgi", "run", "--port", str(port), *arguments]


class Server:
    """A running server. Its standard output and error are in `log`."""

    def __init__(self, command: Sequence[str], port: int, *, folder: Path = ROOT, **settings: str) -> None:
        self.url = f"{'https' if '--certfile' in command else 'http'}://127.0.0.1:{port}"
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed in stop()
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment(PORT=str(port), **settings),
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            # flask's reloader has a child: the group is ended with its leader.
            start_new_session=True,
        )
        try:
            wait_until(self._answers, lambda: f"an answer of {command}:\n{self.log}", timeout_seconds=START_SECONDS)
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def log(self) -> str:
        """Everything that the process said up to now."""
        length = os.fstat(self._output.fileno()).st_size
        return os.pread(self._output.fileno(), length, 0).decode("utf-8", "replace")

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        """End the process and its children: politely, then not."""
        self._signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while self.is_running and time.monotonic() < deadline:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.1)
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._output.close()

    def kill(self) -> None:
        """kill -9."""
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: int) -> None:
        # The group's id is its leader's; it stays taken while a child is left.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _answers(self) -> bool:
        if not self.is_running:
            raise AssertionError(f"the server ended with {self._process.returncode}:\n{self.log}")
        try:
            return requests.get(f"{self.url}/webhook", timeout=5).status_code == 200
        except requests.RequestException:
            return False


def run_to_its_end(command: Sequence[str], *, folder: Path = ROOT, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command that should end by itself; standard error is in `stdout` too."""
    return subprocess.run(
        command,
        cwd=folder,
        env=environment(**settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )
