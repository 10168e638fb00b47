"""Socket.IO by hand, packet by packet: for what no decent client sends, or fails to send."""

from __future__ import annotations

import json
import time
from types import TracebackType
from typing import Self

import requests
import websocket

from tests.support.waiting import wait_until

# Between the packets of one polling request.
SEPARATOR = "\x1e"


class RawWebSocket:
    """A connected WebSocket. It answers pings while it reads, and acknowledges nothing by itself."""

    def __init__(
        self, url: str, *, connect: bool = True, headers: dict[str, str] | None = None, auth: object = None
    ) -> None:
        self.timeout_seconds = 10.0
        address = url.replace("http", "ws", 1) + "/socket.io/?EIO=4&transport=websocket"
        self._socket = websocket.create_connection(
            address, timeout=self.timeout_seconds, suppress_origin=True, header=headers
        )
        try:
            assert self.receive().startswith("0{")
            if connect:
                self.send("40" if auth is None else f"40{json.dumps(auth)}")
                assert self.receive().startswith("40{")
        except BaseException:
            self.close()
            raise

    def send(self, packet: str | bytes) -> None:
        if isinstance(packet, bytes):
            self._socket.send_binary(packet)
        else:
            self._socket.send(packet)

    def receive(self) -> str:
        """The next packet that is no ping."""
        while True:
            packet = self._socket.recv()
            assert isinstance(packet, str)
            if packet != "2":
                return packet
            self.send("3")

    def wait_for(self, start: str, count: int, *, timeout_seconds: float = 10.0) -> list[str]:
        """Read until that many packets with that start have come."""
        self._socket.settimeout(timeout_seconds)
        found: list[str] = []
        while len(found) < count:
            packet = self.receive()
            assert packet, "the connection is closed"
            if packet.startswith(start):
                found.append(packet)
        return found

    def close(self) -> None:
        self._socket.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class RawPolling:
    """A connected client that only polls."""

    def __init__(self, url: str) -> None:
        # For each request.
        self.timeout_seconds = 10.0
        self._session = requests.Session()
        self._address = f"{url}/socket.io/?EIO=4&transport=polling"
        self.packets: list[str] = []
        try:
            opened = self._session.get(self._address, timeout=self.timeout_seconds)
            self._address += "&sid=" + json.loads(opened.text[1:])["sid"]
            self.send("40")
            self.wait_for("40{", 1)
        except BaseException:
            self.close()
            raise

    def send(self, *packets: str) -> None:
        """Send packets, all in one request."""
        response = self._session.post(self._address, data=SEPARATOR.join(packets).encode(), timeout=self.timeout_seconds)
        assert response.status_code == 200, response.text

    def wait_for(self, start: str, count: int, *, timeout_seconds: float = 10.0) -> list[str]:
        """Poll until that many packets with that start have come."""
        deadline = time.monotonic() + timeout_seconds

        def enough() -> bool:
            if len(self._with(start)) < count and time.monotonic() < deadline:
                self._poll()
            return len(self._with(start)) >= count

        wait_until(enough, lambda: f"{count} packets {start}…, of {self.packets}", timeout_seconds=timeout_seconds)
        return self._with(start)

    def close(self) -> None:
        self._session.close()

    def _with(self, start: str) -> list[str]:
        return [packet for packet in self.packets if packet.startswith(start)]

    def _poll(self) -> None:
        response = self._session.get(self._address, timeout=self.timeout_seconds)
        assert response.status_code == 200, response.text
        for packet in response.text.split(SEPARATOR):
            if packet == "2":
                self.send("3")
            else:
                self.packets.append(packet)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
