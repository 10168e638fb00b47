"""Throws nonsense at a running LCH, and looks after each batch whether a bystander has noticed anything."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random

import requests

from tests.fuzz.nonsense import Nonsense
from tests.security.attacker import Connection, Process, frame, open_session
from tests.support.clients import PythonClient
from tests.support.hooks import Hook, running_hook
from tests.support.servers import gunicorn_command

# Rates are off, so that everything is looked at; what half-open connections hold comes back soon.
SETTINGS = {
    "SOCKET_RATE": "0",
    "CUSTOMER_RATE": "0",
    "CONNECTION_RATE": "0",
    "PING_INTERVAL": "2",
    "PING_TIMEOUT": "2",
    "CONNECT_TIMEOUT": "2",
    # Messages for customers who do not come would fill memory, as they should.
    "MAILBOX_SIZE": "20",
}
BATCH = 500
# For a message of the bystander's to come back, on two busy cores.
BYSTANDER_SECONDS = 5.0
# Connections that are begun and left, at most so many at a time.
MAX_LEFT_OPEN = 200


@dataclass
class Report:
    """What a run came to."""

    seed: int
    inputs: Counter[str] = field(default_factory=Counter)
    slowest_answer_seconds: float = 0.0
    # Megabytes and open files, after each batch.
    megabytes: list[float] = field(default_factory=list)
    open_files: list[int] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def total(self) -> int:
        return sum(self.inputs.values())

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.inputs.items()))
        return (
            f"seed {self.seed}: {self.total} inputs ({kinds}) in {self.seconds:.0f} s\n"
            f"the bystander's slowest answer: {self.slowest_answer_seconds * 1000:.0f} ms\n"
            f"memory: {self.megabytes[0]:.0f} MB before, {self._middle:.0f} MB half way, {self.megabytes[-1]:.0f} MB after\n"
            f"open files: {self.open_files[0]} before, {max(self.open_files)} at most, {self.open_files[-1]} at the end"
        )

    @property
    def _middle(self) -> float:
        return self.megabytes[len(self.megabytes) // 2]


class Bystander:
    """Somebody who chats meanwhile, and must not notice anything."""

    def __init__(self, hook: Hook) -> None:
        self._hook = hook
        self._client: PythonClient = hook.connect()
        self._turns = itertools.count(1)

    def chat(self) -> float:
        """One message to DMS, one answer back; returns how long both took, in seconds.

        :raises AssertionError: where either takes too long, or comes more than once.
        """
        turn = next(self._turns)
        started = time.monotonic()
        assert self._client.say("bystander", f"turn {turn}")["status"] == "sent"
        assert self._hook.webhook("bystander", f"answer {turn}").status_code == 200
        came = self._client.wait_for_messages(turn, timeout_seconds=BYSTANDER_SECONDS)
        seconds = time.monotonic() - started
        assert seconds < BYSTANDER_SECONDS
        assert [message["text"] for message in came] == [[f"answer {number}"] for number in range(1, turn + 1)]
        assert not self._client.errors
        return seconds

    def close(self) -> None:
        self._client.close()


class Fuzzer:
    """One attacker with one seed."""

    def __init__(self, hook: Hook, seed: int) -> None:
        self._hook = hook
        self._random = Random(seed)
        self._nonsense = Nonsense(self._random)
        self._websocket: Connection | None = None
        self._session: str | None = None
        self._http = requests.Session()
        self._left_open: list[Connection] = []
        self._kinds: list[tuple[str, int, Callable[[], None]]] = [
            ("events", 50, lambda: self._on_websocket(frame(self._encoded(self._nonsense.event())))),
            ("packets", 20, lambda: self._on_websocket(frame(self._encoded(self._nonsense.packet())))),
            ("frames", 6, lambda: self._on_websocket(self._nonsense.frames())),
            ("payloads", 8, self._payload),
            ("webhooks", 10, self._webhook),
            ("requests", 4, self._request),
            ("half-open connections", 1, self._leave_open),
            ("unread connections", 1, self._leave_unread),
        ]

    def throw(self) -> str:
        """Send one input; returns of which kind."""
        [(kind, _, send)] = self._random.choices(self._kinds, weights=[weight for _, weight, _ in self._kinds])
        with contextlib.suppress(OSError, requests.RequestException):
            send()
        return kind

    def close(self) -> None:
        for connection in [*self._left_open, *([self._websocket] if self._websocket else [])]:
            connection.close()
        self._http.close()

    def _encoded(self, text: str) -> bytes:
        return text.encode("utf-8", "surrogatepass")

    def _on_websocket(self, frames: bytes) -> None:
        """Send on the open WebSocket, or on a new one where it was closed."""
        if self._websocket is None or self._random.random() < 0.01:
            self._forget_websocket()
            self._websocket = Connection(self._hook).open_websocket(join=self._random.random() < 0.95)
        try:
            self._websocket.send(frames)
            if not self._websocket.drain():
                self._forget_websocket()
        except OSError:
            self._forget_websocket()

    def _forget_websocket(self) -> None:
        if self._websocket is not None:
            self._websocket.close()
            self._websocket = None

    def _payload(self) -> None:
        if self._session is None or self._random.random() < 0.1:
            self._session = open_session(self._hook, join=self._random.random() < 0.9)
        if self._http.post(self._session, data=self._nonsense.payload(), timeout=10).status_code != 200:
            self._session = None
        elif self._random.random() < 0.2:
            with contextlib.suppress(requests.RequestException):
                self._http.get(self._session, timeout=0.05)

    def _webhook(self) -> None:
        body, headers = self._nonsense.webhook()
        chunked = self._random.random() < 0.1
        data = (body[at : at + 50] for at in range(0, len(body), 50)) if chunked else body
        response = self._http.post(f"{self._hook.url}/webhook", data=data, headers=headers, timeout=10)
        assert response.status_code in (200, 400, 401, 413), response.status_code

    def _request(self) -> None:
        connection = Connection(self._hook).send(self._nonsense.request())
        if self._random.random() < 0.7:
            connection.shut_down_sending()
            assert not connection.receive_all(timeout_seconds=2).startswith(b"HTTP/1.1 5")
            connection.close()
        else:
            self._keep(connection)

    def _leave_open(self) -> None:
        """The beginning of something that never ends."""
        request = self._nonsense.request()
        begun = Connection(self._hook).send(request[: self._random.randrange(len(request) + 1)])
        if self._random.random() < 0.5:
            begun.close()
            begun = Connection(self._hook).open_websocket(join=self._random.random() < 0.5)
            frames = self._nonsense.frames()
            begun.send(frames[: self._random.randrange(len(frames) + 1)])
        self._keep(begun)

    def _leave_unread(self) -> None:
        """Things that are asked for, and not read."""
        connection = Connection(self._hook, small_buffers=True).open_websocket()
        for _ in range(5):
            connection.send(frame(b'421["serverMessage","' + b"x" * self._random.choice([10, 1_000, 100_000]) + b'"]'))
        self._keep(connection)

    def _keep(self, connection: Connection) -> None:
        self._left_open.append(connection)
        if len(self._left_open) > MAX_LEFT_OPEN:
            self._left_open.pop(self._random.randrange(len(self._left_open))).close()


@contextmanager
def fuzzed_hook() -> Iterator[Hook]:
    with running_hook(gunicorn_command, **SETTINGS) as hook:
        yield hook


def run(hook: Hook, *, seed: int, inputs: int, tell: Callable[[str], None] = lambda line: None) -> Report:
    """Throw so many inputs; look after the bystander after each batch, and after LCH at the end.

    :raises AssertionError: for whatever was noticed.
    """
    report = Report(seed)
    process = Process(hook)
    bystander = Bystander(hook)
    bystander.chat()
    started = time.monotonic()

    def look() -> None:
        report.slowest_answer_seconds = max(report.slowest_answer_seconds, bystander.chat())
        assert process.is_the_same, "the worker was replaced"
        report.megabytes.append(process.megabytes)
        report.open_files.append(process.open_files)
        assert_nothing_unexpected(hook.server.log)
        # The sandbox keeps all that it gets.
        hook.dms.clear()

    look()
    fuzzer = Fuzzer(hook, seed)
    try:
        while report.total < inputs:
            for _ in range(min(BATCH, inputs - report.total)):
                report.inputs[fuzzer.throw()] += 1
            look()
            tell(f"{report.total} inputs, {report.megabytes[-1]:.0f} MB, {report.open_files[-1]} files")
    except BaseException:
        tell(f"failed with seed {seed} in the batch up to input {report.total}")
        raise
    finally:
        fuzzer.close()
    process.wait_for_open_files(report.open_files[0] + 3, timeout_seconds=30)
    look()
    bystander.close()
    report.seconds = time.monotonic() - started
    return report


def assert_nothing_unexpected(log: str) -> None:
    """Nothing in the log says that LCH was surprised."""
    for line in log.splitlines():
        surprised = "Traceback" in line or " failed " in line or "Error at " in line
        if surprised and "not acknowledged" not in line and "to DMS" not in line:
            raise AssertionError(line)


def is_plateau(megabytes: list[float], *, allowed: float) -> bool:
    """Has memory stopped growing? Compares the last quarter of a run with its second."""
    quarter = max(1, len(megabytes) // 4)
    return max(megabytes[-quarter:]) <= max(megabytes[quarter : 2 * quarter] or megabytes) + allowed
