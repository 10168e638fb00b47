"""Case 20: the log cannot be written. Lines are dropped and counted, and nothing else is any different."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.support.hooks import Hook, running_hook
from tests.support.servers import flask_command, free_port, gunicorn_command, run_to_its_end
from tests.support.waiting import wait_until

# Runs a command whose standard error, and output, are pipes that do not block.
NON_BLOCKING = """
import fcntl, os, sys
for descriptor in 1, 2:
    fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_NONBLOCK)
os.execv(sys.argv[1], sys.argv[1:])
"""


# Runs a command whose standard error, and output, are a terminal that is gone: each write is an EIO.
NO_TERMINAL = """
import os, pty, sys
own, terminal = pty.openpty()
os.dup2(terminal, 1), os.dup2(terminal, 2)
os.close(own), os.close(terminal)
os.execv(sys.argv[1], sys.argv[1:])
"""


def shell(redirection: str, *before: str) -> list[str]:
    return ["sh", "-c", f'exec "$@" {redirection}', "sh", *before]


class FullPipe:
    """A pipe that is full from the start, and that nobody reads until `read` is called."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self._reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, b"x" * 4095 + b"\n")
        # As long as it is open, the pipe has a writer.
        self._writer = writer

    def read(self) -> str:
        """What is in it now."""
        read = b""
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(self._reader, 65536):
                read += piece
        return read.decode()

    def close(self) -> None:
        os.close(self._reader)
        os.close(self._writer)


@contextmanager
def hook_with(wrapper: list[str], *arguments: str, command=gunicorn_command, **settings: str) -> Iterator[Hook]:  # type: ignore[no-untyped-def]
    with running_hook(lambda port, *more: [*wrapper, *command(port, *more)], *arguments, **settings) as hook:
        yield hook


@pytest.fixture
def full_pipe(tmp_path: Path) -> Iterator[FullPipe]:
    pipe = FullPipe(tmp_path / "pipe")
    yield pipe
    pipe.close()


WAYS = {
    "full disk": shell("2>/dev/full"),
    "full disk, both": shell(">/dev/full 2>/dev/full"),
    "closed": shell("2>&-"),
    "closed, all three": shell("<&- >&- 2>&-"),
    "pipe without a reader": shell("2>&1 | true"),
    "terminal that is gone": [sys.executable, "-c", NO_TERMINAL],
}


def everything_works(hook: Hook) -> None:
    for number in range(20):
        assert hook.works_for(f"customer {number}")
    with hook.connect("polling") as client:
        assert client.say("by polling")["status"] == "sent"
    assert requests.get(f"{hook.url}/readyz", timeout=5).status_code == 200


@pytest.mark.parametrize("way", WAYS)
def test_20_a_log_that_cannot_be_written_stops_nothing(way: str) -> None:
    with hook_with(WAYS[way], "--access-logfile", "-", LOG_LEVEL="debug") as hook:
        everything_works(hook)
        dropped = requests.get(f"{hook.url}/metrics", timeout=5).text
        count = re.search(r'^lch_log_lines_dropped_total\{reason="cannot_be_written"\} (\d+)', dropped, re.MULTILINE)
        assert count is not None
        assert int(count[1]) > 20


@pytest.mark.parametrize("blocks", [True, False], ids=["blocking", "non-blocking"])
def test_20_a_pipe_that_nobody_reads_stops_nothing_and_says_later_what_it_missed(
    blocks: bool, full_pipe: FullPipe, tmp_path: Path
) -> None:
    wrapper = shell(f">{full_pipe.path} 2>{full_pipe.path}")
    if not blocks:
        wrapper += [sys.executable, "-c", NON_BLOCKING]
    with hook_with(wrapper, SOCKET_RATE="0", CUSTOMER_RATE="0") as hook:
        everything_works(hook)
        # More lines than are kept for later.
        with hook.connect() as client:
            for _ in range(110):
                for _ in range(100):
                    client.send_without_callback("clientMessage", "no message")
                client.call("clientMessage", "no message")
        metrics = requests.get(f"{hook.url}/metrics", timeout=5).text
        assert re.search(r'^lch_log_lines_dropped_total\{reason="nobody_reads"\} [1-9]', metrics, re.MULTILINE)
        assert hook.works_for("somebody after that")

        said = ""

        def has_said(text: str) -> bool:
            nonlocal said
            said += full_pipe.read()
            return text in said

        wait_until(lambda: has_said("WARNING log: lines could not be written here count="), lambda: said[-1000:])
        assert hook.works_for("somebody who comes now")
        wait_until(lambda: has_said("customer='works for somebody who comes now?'"), lambda: said[-1000:])

    lines = said.split("\n")
    assert [line for line in lines[:-1] if not re.match(r"x+$|\[?\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", line)] == [], "whole lines"


def test_20_gunicorns_master_replaces_a_worker_while_nobody_reads_its_log(full_pipe: FullPipe) -> None:
    """As it does when the worker hangs; and it says so, more than once."""
    with hook_with(shell(f">{full_pipe.path} 2>{full_pipe.path}")) as hook:
        [worker] = children_of(hook)
        os.kill(worker, signal.SIGKILL)

        def answers_anew() -> bool:
            with contextlib.suppress(requests.RequestException):
                return children_of(hook) != [worker] and requests.get(f"{hook.url}/healthz", timeout=2).ok
            return False

        wait_until(answers_anew, "an answer of the next worker", timeout_seconds=20)
        assert hook.works_for("somebody")


def test_20_it_ends_in_time_while_nobody_reads_its_log(full_pipe: FullPipe) -> None:
    with hook_with(shell(f">{full_pipe.path} 2>{full_pipe.path}")) as hook:
        assert hook.works_for("somebody")
        started = time.monotonic()
        hook.server.stop()
    assert time.monotonic() - started < 3.9, "it was killed"


@pytest.mark.parametrize("way", WAYS)
def test_20_under_flask_run_too(way: str) -> None:
    with hook_with(WAYS[way], command=flask_command) as hook:
        everything_works(hook)


def test_20_the_last_lines_before_the_end_are_not_lost() -> None:
    """Those that say why it does not start."""
    ended = run_to_its_end(gunicorn_command(free_port()), JWT_ISSUER="conn-1")
    assert "DMS_URL: is missing" in ended.stdout
    with running_hook(gunicorn_command) as hook:
        os.kill(hook.server._process.pid, signal.SIGTERM)
        hook.server._process.wait(10)
        assert re.search(r"stopping after.*Worker exiting.*Shutting down: Master", hook.server.log, re.DOTALL)


def children_of(hook: Hook) -> list[int]:
    pid = hook.server._process.pid
    listed = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(line) for line in listed.stdout.split()]
