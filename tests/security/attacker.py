"""What an attacker has: bytes on a connection, and none of the manners of a client."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import socket
import struct
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import requests

from benchmarks.processes import cpu_seconds
from tests.support.hooks import Hook
from tests.support.waiting import wait_until

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
WEBSOCKET = "/socket.io/?EIO=4&transport=websocket"
POLLING = "/socket.io/?EIO=4&transport=polling"
HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


def frame(
    payload: bytes = b"",
    *,
    opcode: int = TEXT,
    final: bool = True,
    reserved: int = 0,
    masked: bool = True,
    claimed_length: int | None = None,
) -> bytes:
    """A WebSocket frame, right or wrong. The mask is zeros, which is allowed."""
    length = len(payload) if claimed_length is None else claimed_length
    first, mask_bit = (0x80 if final else 0) | reserved << 4 | opcode, 0x80 if masked else 0
    if length < 126:
        head = struct.pack("!BB", first, mask_bit | length)
    elif length < 65536:
        head = struct.pack("!BBH", first, mask_bit | 126, length)
    else:
        head = struct.pack("!BBQ", first, mask_bit | 127, length)
    return head + (b"\0\0\0\0" if masked else b"") + payload


def event(name: str, *args: object, ack: int | None = None) -> bytes:
    """A Socket.IO event as Engine.IO sends it."""
    return f"42{'' if ack is None else ack}{json.dumps([name, *args])}".encode()


class Connection:
    """A TCP connection to LCH."""

    def __init__(self, hook: Hook, *, small_buffers: bool = False) -> None:
        address = urlsplit(hook.url)
        self._socket = socket.socket()
        if small_buffers:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.settimeout(10)
        self._socket.connect((address.hostname, address.port))
        self._read = b""

    def send(self, *pieces: bytes | str) -> Self:
        for piece in pieces:
            self._socket.sendall(piece if isinstance(piece, bytes) else piece.encode("latin-1"))
        return self

    def request(self, method: str, path: str, *, body: bytes = b"", **headers: str | None) -> Self:
        """Send a request; names of headers with underscores for hyphens."""
        lines = {"Host": urlsplit("//hook").netloc, **({"Content-Length": str(len(body))} if body else {})}
        lines |= {name.replace("_", "-"): value for name, value in headers.items() if value is not None}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return self.send(f"{method} {path} HTTP/1.1\r\n{head}\r\n", body)

    def open_websocket(self, path: str = WEBSOCKET, *, join: bool = True, **headers: str | None) -> Self:
        """Shake hands, and join the namespace if nothing else is said."""
        self.request("GET", path, **{**HANDSHAKE, **headers})
        assert self.receive_until(b"\r\n\r\n").startswith(b"HTTP/1.1 101")
        if join:
            self.send(frame(b"40"))
            self.receive_until(b'40{"sid"')
        return self

    def receive_until(self, wanted: bytes) -> bytes:
        """Everything up to and with these bytes.

        :raises AssertionError: where the connection ends before.
        """
        while wanted not in self._read:
            piece = self._socket.recv(65536)
            assert piece, f"no {wanted!r} in {self._read!r}"
            self._read += piece
        found, _, self._read = self._read.partition(wanted)
        return found + wanted

    def receive_packet(self) -> str:
        """The next frame's text."""
        _, length = self._take(2)
        if length >= 126:
            length = int.from_bytes(self._take(2 if length == 126 else 8), "big")
        return self._take(length).decode()

    def _take(self, count: int) -> bytes:
        while len(self._read) < count:
            piece = self._socket.recv(65536)
            assert piece, "the connection is closed"
            self._read += piece
        taken, self._read = self._read[:count], self._read[count:]
        return taken

    def receive_all(self, *, timeout_seconds: float = 5.0) -> bytes:
        """Everything up to the end of the connection, or what came until then."""
        self._socket.settimeout(timeout_seconds)
        with contextlib.suppress(OSError):
            while piece := self._socket.recv(65536):
                self._read += piece
        found, self._read = self._read, b""
        return found

    def drain(self) -> bool:
        """Read what is there, without waiting; tells whether the connection is still open."""
        self._read = b""
        while select.select([self._socket], [], [], 0)[0]:
            piece = self._socket.recv(1_000_000)
            # A close frame from LCH has no mask, and a code for its payload.
            if not piece or b"\x88\x02" in piece:
                return False
        return True

    def hears_nothing_for(self, seconds: float) -> bool:
        return not select.select([self._socket], [], [], seconds)[0]

    def shut_down_sending(self) -> None:
        """Nothing more will come."""
        self._socket.shutdown(socket.SHUT_WR)

    def is_closed_by_peer(self, *, trickle: bytes = b"") -> bool:
        """Has LCH hung up? If not, it is sent these bytes."""
        self._socket.settimeout(0.01)
        try:
            self._socket.sendall(trickle)
            while self._socket.recv(65536):
                pass
        except TimeoutError:
            return False
        except OSError:
            pass
        return True

    def flood_and_measure(self, piece: bytes, *, url: str, reads: bool, seconds: float) -> float:
        """Send this again and again, as fast as it is taken; returns how long a GET by somebody else took at most."""
        stopping = threading.Event()

        def flood() -> None:
            waiting = piece
            self._socket.setblocking(False)
            while not stopping.is_set():
                readable, writable, _ = select.select([self._socket] if reads else [], [self._socket], [], 0.1)
                try:
                    if readable:
                        self._socket.recv(1_000_000)
                    if writable:
                        waiting = waiting[self._socket.send(waiting) :] or piece
                except OSError:
                    # Closed: that is one way to end it.
                    return

        flooding = threading.Thread(target=flood)
        flooding.start()
        slowest = 0.0
        deadline = time.monotonic() + seconds
        try:
            while (started := time.monotonic()) < deadline:
                assert requests.get(url, timeout=10).status_code == 200
                slowest = max(slowest, time.monotonic() - started)
        finally:
            stopping.set()
            flooding.join()
        return slowest

    def wait_until_given_up(self, process: Process, *, within: float) -> None:
        """Wait until LCH has given the connection up. Its end cannot be seen without reading."""
        port = self._socket.getsockname()[1]
        wait_until(
            lambda: not process.has_connection_to(port),
            lambda: f"the end of the connection {process.connections_to(port)}",
            timeout_seconds=within,
        )

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def open_session(hook: Hook, *, join: bool = True) -> str:
    """A polling session, and the address to go on with."""
    opened = requests.get(hook.url + POLLING, timeout=10)
    address = f"{hook.url}{POLLING}&sid={json.loads(opened.text[1:])['sid']}"
    if join:
        requests.post(address, data="40", timeout=10)
        assert requests.get(address, timeout=10).text.startswith("40{")
    return address


def wait_until_closed(connections: dict[str, tuple[Connection, bytes]], *, within: float) -> None:
    """Wait until LCH has hung up on all of them, sending each its few bytes now and then.

    :raises AssertionError: naming those that are still open after `within` seconds.
    """
    deadline = time.monotonic() + within
    still_open = dict(connections)
    try:
        while still_open and time.monotonic() < deadline:
            for name, (connection, trickle) in list(still_open.items()):
                if connection.is_closed_by_peer(trickle=trickle):
                    del still_open[name]
            time.sleep(0.1)
        assert not still_open, f"still open after {within} s: {list(still_open)}"
    finally:
        for connection, _ in connections.values():
            connection.close()


def waiting_messages(hook: Hook, customer: str, count: int) -> list[str]:
    """The first words of that many messages that wait for a customer, over as many connections as it takes.

    (With heartbeats of a second, and two busy cores, a connection may not live long.)
    """
    words: list[str] = []
    deadline = time.monotonic() + 20
    while len(words) < count and time.monotonic() < deadline:
        with contextlib.suppress(AssertionError, OSError), Connection(hook) as connection:
            connection.open_websocket(join=False)
            connection.send(frame(f"40{json.dumps({'customer_id': customer})}".encode()))
            while len(words) < count:
                packet = connection.receive_packet()
                if packet == "2":
                    connection.send(frame(b"3"))
                elif packet.startswith("42"):
                    number, _, data = packet[2:].partition("[")
                    connection.send(frame(f"43{number}[]".encode()))
                    word = json.loads(f"[{data}")[1]["text"][0].partition(" ")[0]
                    # What came on a connection whose end was faster than its acknowledgements comes again.
                    words += [] if word in words else [word]
    return words


class Process:
    """LCH's worker, as the system sees it."""

    def __init__(self, hook: Hook) -> None:
        self._hook = hook
        self.id = self._ids()[-1]

    @property
    def is_the_same(self) -> bool:
        """No worker was started after this one."""
        return self._ids() == [self.id] and Path(f"/proc/{self.id}").exists()

    @property
    def open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.id}/fd"))

    @property
    def cpu_seconds(self) -> float:
        return cpu_seconds([self.id])

    @property
    def megabytes(self) -> float:
        """Resident memory."""
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.id}/status").read_text())
        assert found
        return int(found[1]) / 1024

    def has_connection_to(self, port: int) -> bool:
        """Is LCH's end of the connection from this port still open? (State 01: established; 08: closed by the other end.)"""
        return any(line.split()[3] in ("01", "08") for line in self.connections_to(port))

    def connections_to(self, port: int) -> list[str]:
        """What the system knows of LCH's end of connections to this port: lines of `/proc/net/tcp`."""
        ends = [f"0100007F:{end:04X}" for end in (urlsplit(self._hook.url).port or 0, port)]
        lines = Path(f"/proc/{self.id}/net/tcp").read_text().splitlines()
        return [line for line in lines if line.split()[1:3] == ends]

    def wait_for_open_files(self, at_most: int, *, timeout_seconds: float = 15.0) -> None:
        wait_until(
            lambda: self.open_files <= at_most,
            lambda: f"at most {at_most} open files; there are {self.open_files}",
            timeout_seconds=timeout_seconds,
        )

    def _ids(self) -> list[int]:
        return [int(number) for number in re.findall(r"Booting worker with pid: (\d+)", self._hook.server.log)]
