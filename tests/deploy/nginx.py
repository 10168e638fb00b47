"""deploy/nginx.conf, run by a real nginx: only its ports, its backends' addresses and its folders are other ones."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import requests

from tests.support.servers import free_port
from tests.support.tools import ROOT, needs
from tests.support.waiting import wait_until

CONFIGURATION = ROOT / "deploy" / "nginx.conf"
_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
_START_SECONDS = 10.0
_STOP_SECONDS = 5.0


class Nginx:
    """A running nginx, without the rights of root."""

    def __init__(self, backends: list[int]) -> None:
        """:param backends: the ports of two instances of LCH."""
        program = needs("nginx")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        # Not pytest's folder: that is its user's alone, and nginx may be another.
        self._folder = Path(tempfile.mkdtemp(prefix="lch-nginx-"))
        user = "nobody" if os.geteuid() == 0 else None
        if user:
            shutil.chown(self._folder, user)
        (self._folder / "nginx.conf").write_text(_adapted(CONFIGURATION.read_text(), self._folder, self.port, backends))
        command = [program, "-p", self._folder, "-c", self._folder / "nginx.conf", "-e", self._folder / "error.log"]
        self._process = subprocess.Popen(
            [*command, "-g", "daemon off;"], stdin=subprocess.DEVNULL, user=user, extra_groups=[] if user else None
        )
        try:
            wait_until(self._answers, lambda: f"an answer of nginx:\n{self.errors}", timeout_seconds=_START_SECONDS)
        except BaseException:
            self.stop()
            raise

    @property
    def errors(self) -> str:
        return self._read("error.log")

    @property
    def requests(self) -> str:
        """The access log."""
        return self._read("access.log")

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder)

    def _read(self, name: str) -> str:
        log = self._folder / name
        return log.read_text() if log.exists() else ""

    def _answers(self) -> bool:
        if self._process.poll() is not None:
            raise AssertionError(f"nginx ended with {self._process.returncode}:\n{self.errors}")
        try:
            return requests.get(f"{self.url}/healthz", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


def _adapted(text: str, folder: Path, port: int, backends: list[int]) -> str:
    """The configuration for this machine. Each place must be there as often as it is expected: nothing slips through."""
    first, second = backends
    temporary = "".join(f"\n    {name}_temp_path {folder}/{name};" for name in _TEMPORARY)
    for pattern, replacement, times in (
        (r"^pid .*;", f"pid {folder}/nginx.pid;", 1),
        (r"^error_log \S+ ", f"error_log {folder}/error.log ", 1),
        (r"access_log \S+ ", f"access_log {folder}/access.log ", 1),
        (r"^http \{", f"http {{{temporary}", 1),
        (r"^( *)listen 80;", rf"\1listen 127.0.0.1:{port};", 1),
        (r"server lch-1:5600 ", f"server 127.0.0.1:{first} ", 2),
        (r"server lch-2:5600 ", f"server 127.0.0.1:{second} ", 2),
    ):
        text, count = re.subn(pattern, replacement, text, flags=re.MULTILINE)
        assert count == times, f"{pattern} is in nginx.conf {count} times, not {times}"
    return text
