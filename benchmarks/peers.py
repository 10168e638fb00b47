"""Everybody around a hook, on raw sockets in one event loop: browsers, DMS's answers, and DMS's posts.

They run in one process, apart from the hook's: cheaper than several, and all times are of one clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from benchmarks import wire

_LOOPBACK = "127.0.0.1"
_PATIENCE_SECONDS = 60.0
_PONG = wire.client_frame(b"3")


class Happenings:
    """What the peers see, told to whoever listens: a load swaps the functions in and out."""

    def __init__(self) -> None:
        self.reached_dms: Callable[[int], None] = lambda number: None
        self.reached_browser: Callable[[int], None] = lambda number: None
        self.pings = 0
        self.acknowledged = 0
        self.lost_connections = 0
        self.problems: list[str] = []


class Dms(asyncio.Protocol):
    """A connection to the DMS stand-in, which takes everything."""

    delay_seconds = 0.0
    _ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"

    def __init__(self, happenings: Happenings) -> None:
        self._happenings = happenings
        self._buffer = bytearray()

    @staticmethod
    async def listen(happenings: Happenings) -> str:
        """Start it; returns its URL."""
        server = await asyncio.get_running_loop().create_server(lambda: Dms(happenings), _LOOPBACK, 0, backlog=1024)
        return f"http://{_LOOPBACK}:{server.sockets[0].getsockname()[1]}/"

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (request := wire.take_http(self._buffer)) is not None:
            head, body = request
            if b"\r\nauthorization: bearer ey" not in head:
                self._happenings.problems.append("a post to DMS without a token")
            if self.delay_seconds:
                asyncio.get_running_loop().call_later(self.delay_seconds, self._transport.write, self._ANSWER)
            else:
                self._transport.write(self._ANSWER)
            self._happenings.reached_dms(wire.number_in(body))


class HttpConnection(asyncio.Protocol):
    """A kept connection to a hook, one request at a time."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._answered: Callable[[bytes, bytes], None] | None = None
        self.open = True

    @classmethod
    async def connect(cls, port: int) -> HttpConnection:
        return (await asyncio.get_running_loop().create_connection(cls, _LOOPBACK, port))[1]

    def request(self, data: bytes, answered: Callable[[bytes, bytes], None]) -> None:
        """`answered` gets the status line and headers in lower case, and the body; or nothing at all, if it breaks."""
        self._answered = answered
        self.transport.write(data)

    async def ask(self, data: bytes) -> bytes:
        """The body of a 200."""
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def answered(head: bytes, body: bytes) -> None:
            if head.startswith(b"http/1.1 200"):
                answer.set_result(body)
            else:
                answer.set_exception(ConnectionError(f"{head[:40]!r} {body[:200]!r} for {data[:80]!r}"))

        self.request(data, answered)
        return await asyncio.wait_for(answer, _PATIENCE_SECONDS)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        answer = wire.take_http(self._buffer)
        if answer is not None and self._answered is not None:
            self._answered(*answer)

    def connection_lost(self, error: Exception | None) -> None:
        self.open = False

    def close(self) -> None:
        self.transport.abort()


class Browser(asyncio.Protocol):
    """A browser's WebSocket to a hook. It answers pings and acknowledges what it gets, as LCC does."""

    def __init__(self, happenings: Happenings) -> None:
        self._happenings = happenings
        self._buffer = bytearray()
        self._upgraded = False
        self._closed = False
        self._early: list[bytes] = []
        self._awaited: asyncio.Future[bytes] | None = None
        self._talking = False

    @staticmethod
    async def connect(port: int, happenings: Happenings) -> Browser:
        """By WebSocket alone."""
        browser = await Browser._open(port, happenings, wire.websocket_request())
        await browser._packet(b"0{")
        browser.send(b"40")
        await browser._packet(b"40{")
        browser._talking = True
        return browser

    @staticmethod
    async def connect_as_lcc(port: int, happenings: Happenings, one: HttpConnection, other: HttpConnection) -> Browser:
        """As socket.io-client does by default: it polls, and upgrades. The two connections are the browser's kept ones."""
        sid = wire.sid_in(await one.ask(wire.polling_request("GET")))
        poll = other.ask(wire.polling_request("GET", sid))
        _, connected = await asyncio.gather(one.ask(wire.polling_request("POST", sid, "40")), poll)
        if not connected.startswith(b"40{"):
            raise ConnectionError(f"connecting brought {connected[:100]!r}")
        last_poll = asyncio.ensure_future(other.ask(wire.polling_request("GET", sid)))
        browser = await Browser._open(port, happenings, wire.websocket_request(sid))
        browser.send(b"2probe")
        await browser._packet(wire.PROBE_ANSWER)
        await last_poll
        browser.send(wire.UPGRADE)
        browser._talking = True
        return browser

    @staticmethod
    async def _open(port: int, happenings: Happenings, request: bytes) -> Browser:
        loop = asyncio.get_running_loop()
        browser = (await loop.create_connection(lambda: Browser(happenings), _LOOPBACK, port))[1]
        browser.transport.write(request)
        await browser._packet(b"http/1.1 101")
        return browser

    def send(self, packet: bytes) -> None:
        self.transport.write(wire.client_frame(packet))

    def close(self) -> None:
        """As a closed tab does."""
        self._closed = True
        self.transport.abort()

    async def _packet(self, start: bytes) -> bytes:
        """The next packet while connecting, which must begin like this."""
        if not self._early:
            self._awaited = asyncio.get_running_loop().create_future()
            await asyncio.wait_for(self._awaited, _PATIENCE_SECONDS)
        packet = self._early.pop(0)
        if not packet.startswith(start):
            raise ConnectionError(f"expected {start!r}, got {packet[:200]!r}")
        return packet

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        if not self._closed:
            self._happenings.lost_connections += 1
        if self._awaited is not None and not self._awaited.done():
            self._awaited.set_exception(ConnectionError("the hook closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._upgraded:
            answer = wire.take_http(self._buffer)
            if answer is None:
                return
            self._upgraded = True
            # Let who waits for it have it as the first packet: nothing may be sent before.
            self._take(answer[0])
        for opcode, packet in wire.take_frames(self._buffer):
            if opcode == wire.TEXT:
                self._take(packet)

    def _take(self, packet: bytes) -> None:
        if packet == wire.PING:
            self.transport.write(_PONG)
            self._happenings.pings += 1
        elif not self._talking:
            self._early.append(packet)
            if self._awaited is not None and not self._awaited.done():
                self._awaited.set_result(packet)
        elif packet.startswith(b"42"):
            event = packet.find(b"[")
            if event > 2:
                self.send(b"43" + packet[2:event] + b"[]")
            if packet.startswith(b'["serverMessage"', event):
                self._happenings.reached_browser(wire.number_in(packet))
            else:
                self._happenings.problems.append(f"a browser got {packet[:200]!r}")
        elif packet.startswith(b"43"):
            self._happenings.acknowledged += 1
            if b'"sent"' not in packet:
                self._happenings.problems.append(f"a browser's message was answered {packet[:200]!r}")
