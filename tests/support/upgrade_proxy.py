"""A proxy that lets HTTP through, and does to WebSockets what bad proxies do. It counts polls."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from types import TracebackType
from typing import Literal, Self

# After the server's 101 has gone through:
Habit = Literal[
    "swallows all",
    "swallows answers",  # the server sees the probe, the client no answer to it
    "swallows after the answer",  # the client changes over, and the server does not see it
    "cuts at the probe",
    "cuts after the answer",
]
_PIECE_BYTES = 65_536


class UpgradeProxy:
    """In front of a server on 127.0.0.1."""

    def __init__(self, server_url: str, habit: Habit) -> None:
        self._server_port = int(server_url.rpartition(":")[2])
        self._habit = habit
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.polls = self.upgrades = 0
        # When the server, or this proxy, closed each upgraded connection.
        self.closed_at: list[float] = []
        self._closing = False
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closing = True
        socket.create_connection(self._listener.getsockname(), timeout=1).close()
        self._threads[0].join(5)
        self._listener.close()
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join(5)
        for each in self._sockets:
            each.close()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            self._sockets.append(client)
            if self._closing:
                return
            server = socket.create_connection(("127.0.0.1", self._server_port))
            self._sockets.append(server)
            pair = _Pair(client, server)
            for forward in (self._to_server, self._to_client):
                self._threads.append(threading.Thread(target=self._run, args=(forward, pair), daemon=True))
                self._threads[-1].start()

    def _run(self, forward: object, pair: _Pair) -> None:
        with contextlib.suppress(OSError):
            forward(pair)  # type: ignore[operator]
        if pair.is_upgraded and forward == self._to_client:
            self.closed_at.append(time.monotonic())
        for half in (pair.client, pair.server):
            with contextlib.suppress(OSError):
                half.shutdown(socket.SHUT_RDWR)

    def _to_server(self, pair: _Pair) -> None:
        while piece := pair.client.recv(_PIECE_BYTES):
            if pair.is_upgraded:
                if self._habit == "cuts at the probe":
                    return
                if self._habit == "swallows all" or (pair.answers and self._habit == "swallows after the answer"):
                    continue
            elif piece.startswith(b"GET") and b"transport=polling" in piece:
                self.polls += 1
            pair.server.sendall(piece)

    def _to_client(self, pair: _Pair) -> None:
        while piece := pair.server.recv(_PIECE_BYTES):
            if pair.is_upgraded:
                pair.answers += 1
                if self._habit in ("swallows all", "swallows answers") or (
                    pair.answers > 1 and self._habit == "swallows after the answer"
                ):
                    continue
            elif piece.startswith(b"HTTP/1.1 101"):
                pair.is_upgraded = True
                self.upgrades += 1
            pair.client.sendall(piece)
            if pair.answers and self._habit == "cuts after the answer":
                return


class _Pair:
    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.is_upgraded = False
        self.answers = 0
