"""Chat clients over real connections: python-socketio's, and the one that browsers use, in Node. Both record what comes."""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests
import socketio
import websocket

from tests.support.tools import ROOT, needs
from tests.support.waiting import wait_until

SCRIPTS = ROOT / "tests" / "live" / "js"
BOTH = ("polling", "websocket")


class Client:
    """What a test sees of a client, whichever it is."""

    def __init__(self) -> None:
        # Arguments of each event that came, by name.
        self._came: list[tuple[str, list[Any]]] = []
        self._acks: dict[int, list[Any]] = {}
        self._emitted = 0

    def emit(self, event: str, *args: Any) -> int:
        """Send an event that is to be acknowledged; returns its number. Does not wait."""
        self._emitted += 1
        self._emit(self._emitted, event, list(args))
        return self._emitted

    def ack(self, number: int, *, timeout_seconds: float = 10.0) -> Any:
        """The acknowledgement of the event with that number: None, one value, or a list of several."""
        args = wait_until(
            lambda: self._acks.get(number, _NOTHING), f"acknowledgement {number}", timeout_seconds=timeout_seconds
        )
        return None if not args[:-1] else args[0] if len(args) == 2 else args[:-1]

    def call(self, event: str, *args: Any, timeout_seconds: float = 10.0) -> Any:
        """Send an event and wait for its acknowledgement."""
        return self.ack(self.emit(event, *args), timeout_seconds=timeout_seconds)

    def say(self, customer_id: str, text: str = "Hello", **fields: Any) -> Any:
        """Send a text and wait for its acknowledgement."""
        return self.call("clientMessage", text_message(customer_id, text, **fields))

    @property
    def acks_count(self) -> int:
        return len(self._acks)

    @property
    def messages(self) -> list[Any]:
        """The payload of each serverMessage."""
        return [args[0] if args else None for event, args in list(self._came) if event == "serverMessage"]

    @property
    def errors(self) -> list[list[Any]]:
        """The arguments of each serverError."""
        return [args for event, args in list(self._came) if event == "serverError"]

    @property
    def statuses(self) -> list[dict[str, Any]]:
        """The payload of each messageStatus."""
        return [args[0] for event, args in list(self._came) if event == "messageStatus"]

    def wait_for_messages(self, count: int, *, timeout_seconds: float = 10.0) -> list[Any]:
        wait_until(
            lambda: len(self.messages) >= count,
            lambda: f"{count} serverMessages; there are {self.messages}",
            timeout_seconds=timeout_seconds,
        )
        return self.messages

    def wait_for_errors(self, count: int, *, timeout_seconds: float = 10.0) -> list[list[Any]]:
        wait_until(lambda: len(self.errors) >= count, f"{count} serverErrors", timeout_seconds=timeout_seconds)
        return self.errors

    def settle(self) -> None:
        """Return when all that LCH sent on this socket before now has come: the echo travels behind it."""
        before = len(self.messages)
        self.call("serverMessage", "settled?")
        self.wait_for_messages(before + 1)
        with contextlib.suppress(ValueError):
            self._came.remove(("serverMessage", ["settled?"]))

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _emit(self, number: int, event: str, args: list[Any]) -> None:
        raise NotImplementedError

    def _record(self, event: str, args: Sequence[Any]) -> None:
        self._came.append((event, list(args)))

    def _acknowledged(self, number: int, args: Sequence[Any]) -> None:
        # The mark at the end tells an acknowledgement without arguments from none.
        self._acks[number] = [*args, True]


_NOTHING: list[Any] = []
# LCC takes the milliseconds since 1970.
_message_ids = itertools.count(1_700_000_000_000)


class _QuickToClose(websocket.WebSocket):
    def close(self, *args: Any, **options: Any) -> None:
        # By default it waits 3 s for the server's answer, which under `flask run` does not come.
        super().close(*args, **{**options, "timeout": 0.1})


class WebSockets:
    """Makes the WebSockets of one python-socketio client, as its option `class_`, and closes them: python-engineio (4.15.1)
    leaves those open that the server breaks off, or that do not get as far as a session."""

    def __init__(self) -> None:
        self._made: list[websocket.WebSocket] = []

    def __call__(self, **options: Any) -> websocket.WebSocket:
        self._made.append(_QuickToClose(**options))
        return self._made[-1]

    def close(self) -> None:
        for each in self._made:
            each.shutdown()


class PythonClient(Client):
    """python-socketio's client. It acknowledges each serverMessage without arguments."""

    def __init__(self, url: str, *, transports: Sequence[str] = ("websocket",), **options: Any) -> None:
        super().__init__()
        self._session = requests.Session()
        self._websockets = WebSockets()
        # websocket-client would send an Origin of its own making.
        options_for_websocket = {"suppress_origin": True, "class_": self._websockets}
        self._client = socketio.Client(
            reconnection=False, http_session=self._session, websocket_extra_options=options_for_websocket
        )
        self._client.on("serverMessage", lambda *args: self._record("serverMessage", args))
        self._client.on("serverError", lambda *args: self._record("serverError", args))
        self._client.on("messageStatus", lambda *args: self._record("messageStatus", args))
        try:
            self._client.connect(url, transports=list(transports), wait_timeout=10, **options)
        except BaseException:
            self.close()
            raise

    @property
    def is_connected(self) -> bool:
        return bool(self._client.connected)

    @property
    def transport(self) -> str:
        return str(self._client.transport())

    def send_without_callback(self, event: str, data: Any = None) -> None:
        """A tuple is several arguments."""
        self._client.emit(event, data)

    def close(self) -> None:
        self._client.disconnect()
        self._websockets.close()
        self._session.close()

    def _emit(self, number: int, event: str, args: list[Any]) -> None:
        self._client.emit(event, tuple(args), callback=lambda *acked: self._acknowledged(number, acked))


class NodeProcess:
    """A script in Node that takes commands as JSON lines and tells what happens as JSON lines."""

    def __init__(self, script: Path, *arguments: str, tell: Callable[[dict[str, Any]], None]) -> None:
        self._process = subprocess.Popen(
            [needs("node"), str(script), *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self._reader = threading.Thread(target=self._read, args=(tell,), daemon=True)
        self._reader.start()

    def command(self, **fields: Any) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(fields) + "\n")
        self._process.stdin.flush()

    def close(self) -> None:
        """The script ends when its input does."""
        assert self._process.stdin
        assert self._process.stdout
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(5)
        self._process.stdout.close()

    def _read(self, tell: Callable[[dict[str, Any]], None]) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            tell(json.loads(line))


class NodeClient(Client):
    """socket.io-client from npm: what browsers run."""

    def __init__(
        self, url: str, *, transports: Sequence[str] = BOTH, acknowledge: bool = True, wait: bool = True, **options: Any
    ) -> None:
        super().__init__()
        self.transport = ""
        self.refused: str | None = None
        all_options = {"transports": list(transports), "reconnection": False, **options}
        self._process = NodeProcess(
            SCRIPTS / "client.mjs", url, json.dumps(all_options), "ack" if acknowledge else "no ack", tell=self._told
        )
        if wait:
            wanted = transports[-1]
            wait_until(lambda: self.transport == wanted or self.refused, lambda: f"{wanted}, not {self.transport!r}")

    def connect(self) -> None:
        """Where the option `autoConnect` was False."""
        self._process.command(do="connect")

    def close(self) -> None:
        self._process.close()

    def _emit(self, number: int, event: str, args: list[Any]) -> None:
        self._process.command(do="emit", number=number, event=event, args=args)

    def _told(self, line: dict[str, Any]) -> None:
        match line["tells"]:
            case "transport":
                self.transport = line["name"]
            case "event":
                self._record(line["event"], line["args"])
            case "ack":
                self._acknowledged(line["number"], line["args"])
            case "refused":
                self.refused = line["message"]


def text_message(customer_id: str, text: str = "Hello", **fields: Any) -> dict[str, Any]:
    """A clientMessage as LCC sends it, with a message_id that no other has; `fields` come on top."""
    usual = {"type": "text", "customer_id": customer_id, "customer_name": "Kim", "text": [text]}
    return {**usual, "message_id": next(_message_ids), **fields}
