"""Takes webhooks in the place of LCH and keeps them as they came over the wire, byte for byte."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.support.peers import peer


@dataclass(frozen=True)
class Request:
    path: str
    # Names in lower case.
    headers: dict[str, str]
    # Without the framing of chunks, but coded as it came.
    body: bytes
    # How many pieces the body came in; 0 for one with a Content-Length.
    chunks: int

    @property
    def token(self) -> str:
        return self.headers["authorization"].removeprefix("Bearer ")


@dataclass
class Recorder:
    url: str = ""
    requests: list[Request] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def wait_for(self, count: int, timeout_seconds: float = 10.0) -> list[Request]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.requests) >= count, timeout_seconds), self.requests
            return list(self.requests)

    def serve(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as read:
            while line := read.readline():
                path = line.split()[1].decode()
                headers = {}
                while (line := read.readline().strip()) != b"":
                    name, _, value = line.decode("latin-1").partition(":")
                    headers[name.lower()] = value.strip()
                pieces = []
                if headers.get("transfer-encoding") == "chunked":
                    while length := int(read.readline(), 16):
                        pieces.append(read.read(length))
                        read.readline()
                    read.readline()
                    body = b"".join(pieces)
                else:
                    body = read.read(int(headers["content-length"]))
                with self._changed:
                    self.requests.append(Request(path, headers, body, len(pieces)))
                    self._changed.notify_all()
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")


@contextmanager
def recording_hook() -> Iterator[Recorder]:
    recorder = Recorder()
    with peer(recorder.serve) as address:
        recorder.url = f"http://{address}/webhook"
        yield recorder
