"""What uploads cost others: `python -m benchmarks.files`. 1 GB in files of 10 MB, 20 at once, into a folder.

Beside them a bystander sends a message every 20 ms. Shown: how long theirs take without and with the uploads, and the memory
of LCH before, at most, and after. The uploads are sent by a process of their own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import socket
import tempfile
import threading
import time
from pathlib import Path
from statistics import quantiles
from typing import Any

from benchmarks.processes import memory, tree
from tests.support.clients import PythonClient
from tests.support.hooks import Hook, running_hook
from tests.support.servers import gunicorn_command

_FILE_BYTES = 10_000_000
_PIECE_BYTES = 64 * 1024
_EVERY_SECONDS = 0.02
_ALONE_SECONDS = 20
# What the start still costs.
_SKIPPED = 50
_CONTENT = b"\x89PNG\r\n\x1a\n" + bytes(_FILE_BYTES - 8)


def upload(grant: dict[str, Any], bytes_a_second: float) -> int:
    """Send one file; returns the answer's status."""
    host, _, path = grant["url"].removeprefix("http://").partition("/")
    address, _, port = host.partition(":")
    head = [f"PUT /{path} HTTP/1.1", f"Host: {host}", f"Content-Length: {_FILE_BYTES}", "Connection: close"]
    head += [f"{name}: {value}" for name, value in grant["headers"].items()]
    with socket.create_connection((address, int(port)), timeout=120) as connection:
        connection.sendall("\r\n".join(head).encode() + b"\r\n\r\n")
        started = time.perf_counter()
        for at in range(0, _FILE_BYTES, _PIECE_BYTES):
            connection.sendall(_CONTENT[at : at + _PIECE_BYTES])
            if bytes_a_second:
                time.sleep(max(0.0, started + at / bytes_a_second - time.perf_counter()))
        return int(connection.recv(1000).split(b" ")[1])


def upload_all(grants: list[dict[str, Any]], at_once: int, bytes_a_second: float, done: Any) -> None:
    lock, statuses = threading.Lock(), []

    def work() -> None:
        while True:
            with lock:
                if not grants:
                    return
                grant = grants.pop()
            statuses.append(upload(grant, bytes_a_second / at_once))

    threads = [threading.Thread(target=work) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done.put(statuses)


def memory_mb(pid: int) -> float:
    return memory(tree(pid)).pss / 1000


class Bystander:
    """Sends a message every now and then, and notes how long each takes."""

    def __init__(self, client: PythonClient) -> None:
        self._client = client
        self._stop = threading.Event()
        self.seconds: list[float] = []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Bystander:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_EVERY_SECONDS):
            started = time.perf_counter()
            self._client.say("bystander", "Hello")
            self.seconds.append(time.perf_counter() - started)

    def shown(self) -> str:
        cuts = quantiles(self.seconds[_SKIPPED:], n=100)
        return f"p50 {cuts[49] * 1000:.1f} ms, p99 {cuts[98] * 1000:.1f} ms, {len(self.seconds)} messages"


def measure(hook: Hook, pid: int, *, total_bytes: int, at_once: int, bytes_a_second: float) -> None:
    count = total_bytes // _FILE_BYTES
    with hook.connect() as client, hook.connect() as asking:
        client.say("bystander")
        with Bystander(client) as alone:
            # As often as beside the uploads: to look costs something, too.
            until = time.perf_counter() + _ALONE_SECONDS
            while time.perf_counter() < until:
                memory_mb(pid)
                time.sleep(0.05)
        print(f"without uploads: {alone.shown()}")
        grants = []
        for number in range(count):
            asked = {"customer_id": f"c{number % 20}", "name": "a.png", "size": _FILE_BYTES}
            grants.append(asking.call("fileRequest", asked)["upload"])
        before = most = memory_mb(pid)
        done: Any = multiprocessing.get_context("spawn").Queue()
        sender = multiprocessing.get_context("spawn").Process(
            target=upload_all, args=(grants, at_once, bytes_a_second, done)
        )
        started = time.perf_counter()
        sender.start()
        with Bystander(client) as beside:
            while done.empty():
                most = max(most, memory_mb(pid))
                time.sleep(0.05)
        seconds = time.perf_counter() - started
        statuses = done.get()
        sender.join()
    print(f"with {count} uploads of {_FILE_BYTES / 1e6:g} MB, {at_once} at once: {beside.shown()}")
    print(f"uploads: {json.dumps({str(status): statuses.count(status) for status in set(statuses)})}, {seconds:.1f} s")
    print(f"memory: {before:.0f} MB before, {most:.0f} MB at most, {memory_mb(pid):.0f} MB after")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=1000, help="how much is uploaded in all")
    parser.add_argument("--at-once", type=int, default=20)
    parser.add_argument("--mb-a-second", type=float, default=100, help="of all together, a gigabit's worth; 0 for no limit")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lch-files-") as name:
        settings = {"FILES_URL": f"file://{Path(name)}", "PUBLIC_URL": "http://127.0.0.1:{port}", "LOG_LEVEL": "warning"}
        unbounded = {"SOCKET_RATE": "0", "CUSTOMER_RATE": "0", "FILE_RATE": "0"}
        with running_hook(gunicorn_command, **settings, **unbounded) as hook:
            measure(
                hook,
                hook.server.pid,
                total_bytes=options.mb * 1_000_000,
                at_once=options.at_once,
                bytes_a_second=options.mb_a_second * 1e6,
            )


if __name__ == "__main__":
    main()
