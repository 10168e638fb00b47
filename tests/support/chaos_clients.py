"""Chat clients that live through chaos: they reconnect, repeat what was not acknowledged, and note all that they get.

Packet by packet over a WebSocket, so that it is certain what was acknowledged, and on which connection.
"""

from __future__ import annotations

import contextlib
import json
import random
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import websocket

# resume: says who it is when it connects. lcc: only by speaking, on a new socket now and then, the old ones staying open.
# silent: as resume, but acknowledges nothing. deaf: as lcc, and sends each message once, whatever becomes of it; what it is
# told is noted, and not looked at.
Kind = Literal["resume", "lcc", "silent", "deaf"]

_LOOK_SECONDS = 0.05
_OLD_SOCKETS = 3
# Messages under way at once.
_WINDOW = 3


@dataclass(frozen=True, slots=True)
class Receipt:
    """A message that came: its number in the test's count, on which socket, when, and whether it was acknowledged there."""

    number: int
    sid: str
    at: float
    acknowledged: bool


@dataclass(slots=True)
class Told:
    """A message that the client sent: how often, and what it was told about it in the end."""

    number: int
    sent: int = 0
    # Rejected ones are sent again and get another answer.
    rejected: int = 0
    outcome: dict[str, Any] | None = None


class _Connection:
    """One WebSocket with a thread that reads it."""

    def __init__(self, client: ChaosClient, url: str) -> None:
        self._client = client
        self._sending = threading.Lock()
        self.sid = ""
        self.is_open = True
        address = url.replace("http", "ws", 1) + "/socket.io/?EIO=4&transport=websocket"
        self._socket = websocket.create_connection(address, timeout=5)
        try:
            opening = json.loads(str(self._socket.recv())[1:])
            # As engine.io's client: without a ping for so long, the connection counts as dead.
            self._patience_seconds = (opening["pingInterval"] + opening["pingTimeout"]) / 1000
            auth = {"customer_id": client.customer_id} if client.kind not in ("lcc", "deaf") else {}
            if client.pega:
                auth["connection"] = client.pega
            self._socket.send("40" + json.dumps(auth))
            while not self.sid:
                packet = str(self._socket.recv())
                if packet == "2":
                    self._socket.send("3")
                elif packet.startswith("40{"):
                    self.sid = json.loads(packet[2:])["sid"]
                else:
                    raise OSError(f"{packet!r} instead of a connection")
        except BaseException:
            self._socket.shutdown()
            raise
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, packet: str) -> bool:
        """Whether it went out, as far as this end can know."""
        try:
            with self._sending:
                self._socket.send(packet)
        except (OSError, websocket.WebSocketException, AttributeError):
            self.is_open = False
            return False
        return True

    def close(self, *, how: Literal["politely", "reset"]) -> None:
        self.is_open = False
        with contextlib.suppress(OSError, websocket.WebSocketException, AttributeError):
            if how == "politely":
                self.send("41")
                self.send("1")
            else:
                self._socket.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._socket.shutdown()

    def join(self) -> None:
        self._reader.join(5)

    def _read(self) -> None:
        heard = time.monotonic()
        try:
            while self.is_open:
                if not self._is_readable():
                    if time.monotonic() - heard > self._patience_seconds:
                        break
                    continue
                packet = self._socket.recv()
                heard = time.monotonic()
                if not isinstance(packet, str) or packet in ("", "1", "41"):
                    break
                if packet == "2":
                    self.send("3")
                elif packet.startswith("42"):
                    self._event(packet)
                elif packet.startswith("43"):
                    number, _, arguments = packet[2:].partition("[")
                    self._client.acknowledged(int(number), json.loads("[" + arguments)[0])
        except (OSError, websocket.WebSocketException, ValueError, AttributeError):
            pass
        self.is_open = False
        with contextlib.suppress(OSError, AttributeError):
            self._socket.shutdown()

    def _is_readable(self) -> bool:
        raw = self._socket.sock
        return bool(raw) and bool(select.select([raw], [], [], _LOOK_SECONDS)[0])

    def _event(self, packet: str) -> None:
        number, _, arguments = packet[2:].partition("[")
        event = json.loads("[" + arguments)
        if event[0] == "messageStatus":
            self._client.told_later(event[1])
        elif event[0] == "serverMessage":
            payload = event[1]
            acknowledges = self._client.kind != "silent"
            # Noted first: the next message may come on another socket as soon as this one is acknowledged.
            self._client.received(payload, self.sid, acknowledges)
            if acknowledges and number:
                self.send(f"43{number}[]")


@dataclass(eq=False)
class ChaosClient:
    """A customer's browser. `start` it, let it `say` things, read `receipts` and `told`, `stop` it."""

    customer_id: str
    kind: Kind
    # Gives the address of the server for the next connection.
    url: Callable[[], str]
    seed: int
    # The connection to Pega that it belongs to, where the hook has several; customers of another may have the same id.
    pega: str = ""
    # Messages that came and are of another connection to Pega.
    crossed: int = 0
    receipts: list[Receipt] = field(default_factory=list)
    told: dict[int, Told] = field(default_factory=dict)
    # What `messageStatus` told last, by message, but for delays.
    statuses: dict[int, dict[str, Any]] = field(default_factory=dict)
    # The socket on which each message was sent last.
    sent_on: dict[int, str] = field(default_factory=dict)
    # Fleeting messages that came.
    fleeting: int = 0
    connections: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._lock = threading.Lock()
        self._waiting: list[int] = []
        self._sent_on: dict[int, _Connection] = {}
        self._open: list[_Connection] = []
        self._all: list[_Connection] = []
        self._stopping = threading.Event()
        self._away = threading.Event()
        self._live = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._live.start()

    def say(self, number: int) -> None:
        """Send the message of that number, after those before it."""
        with self._lock:
            self.told[number] = Told(number)
            self._waiting.append(number)

    def leave(self, *, how: Literal["politely", "reset"] = "reset") -> None:
        """Close all connections; the client comes back by itself."""
        for connection in list(self._open):
            connection.close(how=how)

    def go_away(self) -> None:
        """Leave, and stay away until `come_back`."""
        self._away.set()
        self.leave(how="politely")

    def come_back(self) -> None:
        self._away.clear()

    def stop(self) -> None:
        self._stopping.set()
        self._live.join(10)
        for connection in self._all:
            connection.close(how="politely")
        for connection in self._all:
            connection.join()

    @property
    def is_connected(self) -> bool:
        return any(connection.is_open for connection in list(self._open))

    @property
    def untold(self) -> int:
        """How many messages have no outcome yet."""
        if self.kind == "deaf":
            return len(self._waiting)
        return sum(told.outcome is None for told in list(self.told.values()))

    # What connections tell

    def received(self, payload: dict[str, Any], sid: str, acknowledges: bool) -> None:
        if payload.get("pega", "") != self.pega:
            self.crossed += 1
            return
        if "number" not in payload:
            self.fleeting += 1
            return
        with self._lock:
            self.receipts.append(Receipt(payload["number"], sid, time.time(), acknowledges))

    def told_later(self, status: dict[str, Any]) -> None:
        if status["status"] != "delayed":
            self.statuses[status["message_id"]] = status

    def acknowledged(self, number: int, outcome: dict[str, Any]) -> None:
        with self._lock:
            told = self.told.get(number)
            if self.kind == "deaf":
                if told is not None:
                    told.outcome = outcome
                return
            if told is None or told.outcome is not None:
                return
            if outcome["status"] == "rejected":
                # Nothing was done about it: it is sent again, with those behind it, so that they stay in order.
                told.rejected += 1
                for later in self._waiting[self._waiting.index(number) :]:
                    self._sent_on.pop(later, None)
                return
            told.outcome = outcome
            self._waiting.remove(number)
            self._sent_on.pop(number, None)

    # Its life

    def _run(self) -> None:
        while not self._stopping.is_set():
            if self._away.is_set() or not self._has_connection():
                self._stopping.wait(_LOOK_SECONDS)
                continue
            self._speak()
            self._stopping.wait(self._random.uniform(0.01, 0.03))

    def _has_connection(self) -> bool:
        newest = self._open[-1] if self._open else None
        if newest is not None and newest.is_open:
            return True
        self._stopping.wait(self._random.uniform(0.0, 0.2))
        return self._connect()

    def _connect(self) -> bool:
        try:
            connection = _Connection(self, self.url())
        except (OSError, websocket.WebSocketException, ValueError):
            return False
        self.connections += 1
        self._all.append(connection)
        self._open.append(connection)
        if self.kind in ("lcc", "deaf"):
            # Typing tells who is here.
            connection.send(
                f'42["clientMessage",{json.dumps({"type": "typing_indicator", "customer_id": self.customer_id})}]'
            )
        for old in self._open[:-_OLD_SOCKETS]:
            old.close(how="politely")
            self._open.remove(old)
        return True

    def _speak(self) -> None:
        connection = self._open[-1]
        with self._lock:
            unsent = [n for n in self._waiting[:_WINDOW] if self._is_to_be_sent(n)]
            # In order: one that has to be repeated takes those behind it along.
            window = self._waiting[self._waiting.index(unsent[0]) :][:_WINDOW] if unsent else []
        if window and self.kind in ("lcc", "deaf") and not self._sent_on and self._random.random() < 0.3:
            if not self._connect():
                return
            connection = self._open[-1]
        for number in window:
            with self._lock:
                if number not in self._waiting:
                    continue
                self.told[number].sent += 1
                self.sent_on[number] = connection.sid
                if self.kind == "deaf":
                    self._waiting.remove(number)
                else:
                    self._sent_on[number] = connection
            message = {
                "type": "text",
                "customer_id": self.customer_id,
                "customer_name": "Kim",
                "message_id": number,
                "text": [f"message {number}"],
                **({"context_data": {"pega": self.pega}} if self.pega else {}),
            }
            if not connection.send(f'42{number}["clientMessage",{json.dumps(message)}]'):
                return

    def _is_to_be_sent(self, number: int) -> bool:
        """Not sent yet, or on a connection that has closed before the outcome came."""
        connection = self._sent_on.get(number)
        return connection is None or not connection.is_open
