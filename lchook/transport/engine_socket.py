"""One Engine.IO session: what its client sends, what it is sent, and its end. The one place where a session is closed.

python-engineio (4.15.1) has one wait for the next packet to read, and one for the next to write, for as long as a WebSocket
lasts. Here the WebSocket calls back with each packet, and packets are written where they are sent; the engine's queue is for
those that the client does not take at once. Where a WebSocket has to be waited for (threads, TLS), there are two tasks.

Knows nothing of Socket.IO.
"""

from __future__ import annotations

import contextlib
import time
from functools import partial
from typing import Any

from engineio.exceptions import ContentTooLongError, EngineIOError, QueueEmpty, SocketIsClosedError, UnknownPacketError
from engineio.packet import MESSAGE, PING, UPGRADE, Packet
from engineio.socket import Socket

from lchook.core import events
from lchook.core.heartbeats import Answered, Heartbeat
from lchook.logs import Log
from lchook.transport.engine_packets import PACKETS_IN_A_POLL, ClientPacket, packets_in
from lchook.transport.pending_acks import PendingAcks
from lchook.transport.upgrade import Upgrade

log = Log(__name__)

_MESSAGE = "4"
# A request may hold thousands of packets, and others wait while they are handled.
_PACKETS_IN_A_ROW = 50


class EngineSocket(Socket):  # type: ignore[misc]  # python-engineio has no types
    """A session. `EngineServer` makes it."""

    def __init__(self, server: Any, sid: str) -> None:
        super().__init__(server, sid)
        self.connected: bool
        self.acks = PendingAcks()
        # The WebSocket that calls back, once the session has changed over to it; and one that it may change over to.
        self.websocket: Any = None
        self.upgrade: Upgrade | None = None
        # Its client has asked to join a namespace; and its sid in the default one, while it is connected there.
        self.has_joined = False
        self.joined_as: str | None = None
        self._heartbeat = Heartbeat(sid, time.monotonic())

    # What its client sends

    def receive(self, pkt: Any) -> None:
        """Take a packet. An upgrade is received where it is waited for, and never here: the engine would answer each with a
        packet, and keep them all for a client that does not read."""
        if pkt.packet_type == UPGRADE:
            raise UnknownPacketError
        super().receive(pkt)

    def handle_post_request(self, environ: dict[str, Any]) -> None:
        """A polling request with packets.

        :raises EngineIOError: for one that is not readable: the client is answered 400. The engine would say 200 and log it.
        """
        length = int(environ.get("CONTENT_LENGTH") or 0)
        if length > self.server.max_http_buffer_size:
            raise ContentTooLongError
        try:
            packets = packets_in(environ["wsgi.input"].read(length))
        except ValueError as error:
            raise EngineIOError("no readable payload") from error
        for number, packet in enumerate(packets, start=1):
            self.receive(packet)
            if number % _PACKETS_IN_A_ROW == 0:
                self.server.sleep(0)

    def handle_get_request(self, environ: dict[str, Any], start_response: Any) -> Any:
        """A poll, or a handshake."""
        upgrade = self.upgrade
        if upgrade is not None and upgrade.probed_at is not None and not environ.get("HTTP_UPGRADE"):
            return upgrade.poll()
        return super().handle_get_request(environ, start_response)

    def _on_message(self, data: str | bytes) -> bool:
        """Take what a WebSocket brought; tells whether more is wanted."""
        if self.closed:
            # Nobody is there any more to clean up after what it would leave behind.
            return False
        try:
            if isinstance(data, str) and data[:1] == _MESSAGE and data[1:2].isnumeric():
                # As nearly all are: Socket.IO's packets begin with a number, and what does the engine does not look into.
                self.server.handlers["message"](self.sid, data[1:])
            else:
                self.receive(ClientPacket(encoded_packet=data))
        except UnknownPacketError:
            pass
        except SocketIsClosedError:
            return False
        except Exception:
            if not self.closed:
                log.exception(events.RECEIVING_FAILED)
            return False
        return True

    # WebSockets

    def _websocket_handler(self, ws: Any) -> list[bytes]:
        """Serve a WebSocket. In place of the engine's, which returns when it is closed.

        :param ws: the engine's wrapper of the WebSocket.
        """
        offer = getattr(ws, "_sock", None)
        if self.server.async_mode == "gevent" and getattr(offer, "can_be_served", False):
            self._serve(offer)
        elif not self.connected or Upgrade(self, ws).wait():
            self.connected = self.upgraded = True
            self._serve_by_waiting(ws)
        return []

    def _serve(self, offer: Any) -> None:
        changes_over = self.connected
        self.connected = True
        try:
            websocket = offer.serve(on_drain=self._write_queue, on_close=self._websocket_closed)
        except OSError:
            if not changes_over:
                self._connection_lost()
            return
        if changes_over:
            Upgrade(self, websocket).begin()
        else:
            self.use(websocket)

    def use(self, websocket: Any) -> None:
        """From now on this is the session's connection."""
        self.upgraded = True
        self.websocket = websocket
        websocket.on_message = partial(self._on_websocket_message, websocket)
        self._write_queue()

    def _on_websocket_message(self, websocket: Any, data: str | bytes) -> None:
        if not self._on_message(data):
            websocket.close()

    def _websocket_closed(self, websocket: Any) -> None:
        """By whomever. If it was not the session's own, the client stays with what it has."""
        if self.websocket is websocket:
            self._connection_lost()
        elif self.upgrade is not None and self.upgrade.websocket is websocket:
            self.upgrade.end()

    def _serve_by_waiting(self, ws: Any) -> None:
        """Read until it is closed, beside a task that writes."""
        writer = self.server.start_background_task(self._write_polled, ws)
        with contextlib.suppress(OSError, ValueError):
            while (data := ws.wait()) is not None:
                if len(data) > self.server.max_http_buffer_size or not self._on_message(data):
                    break
        # So that the writer ends.
        self.queue.put(None)
        writer.join()
        self._connection_lost()

    def _write_polled(self, ws: Any) -> None:
        with contextlib.suppress(OSError, QueueEmpty):
            while packets := self.poll():
                for packet in packets:
                    ws.send(packet.encode())
        with contextlib.suppress(OSError):
            ws.close()

    # What it is sent

    @property
    def writable(self) -> bool:
        """Is there a WebSocket that has taken all that it was sent? Then nothing waits in the queue."""
        return self.websocket is not None and self.websocket.writable

    def send(self, pkt: Any) -> None:
        """Send a packet; it is kept until the client takes it.

        :raises SocketIsClosedError: where the session has ended.
        """
        if self.websocket is None or not self.websocket.writable:
            super().send(pkt)
        elif self.check_ping_timeout():
            self._write(pkt)

    def send_message(self, data: str) -> None:
        """As `send`, for a message, which is nearly all that is sent.

        :raises SocketIsClosedError: where the session has ended.
        """
        if self.websocket is None or not self.websocket.writable:
            super().send(Packet(MESSAGE, data))
        elif self.check_ping_timeout():
            self._write_text(_MESSAGE + data)

    def poll(self) -> list[Any]:
        """Wait for packets, and take them: as the engine's, but no more than its own clients read at once.

        :raises QueueEmpty: where none came in time.
        """
        seconds = self.server.ping_interval + self.server.ping_timeout
        packets: list[Any] = []
        try:
            while len(packets) < PACKETS_IN_A_POLL:
                packet = self.queue.get(block=False) if packets else self.queue.get(timeout=seconds)
                self.queue.task_done()
                if packet is None:
                    if packets:
                        # The next one's.
                        self.queue.put(None)
                    break
                packets.append(packet)
        except self.server.get_queue_empty_exception():
            if not packets:
                raise QueueEmpty from None
        return packets

    def send_buffer(self) -> list[Any]:
        """The packets that wait to be sent."""
        return [packet for packet in list(self.queue.queue) if packet is not None]

    def _write_queue(self) -> None:
        """Write what is in the queue, up to the word that the connection is closed, as far as the client takes it."""
        while self.writable and not self.queue.empty():
            packet = self.queue.get()
            self.queue.task_done()
            if packet is None:
                self.websocket.close()
            else:
                self._write(packet)

    def _write(self, packet: Any) -> None:
        self._write_text(packet.encode())

    def _write_text(self, text: str | bytes) -> None:
        try:
            self.websocket.send(text)
        except OSError as error:
            log.debug(events.WEBSOCKET_NOT_WRITABLE, reason=error)

    # Heartbeats

    def start_heartbeat(self) -> None:
        """Once the session is open."""
        self.server.heartbeats.begin(self._heartbeat, time.monotonic())

    def schedule_ping(self) -> None:
        """Called when a pong comes."""
        for answered in self.server.heartbeats.pong(self._heartbeat, time.monotonic()):
            answered()

    def ask(self, answered: Answered | None = None) -> None:
        """Is the client there? It is pinged now, and the session closed if it does not answer within a few seconds."""
        if not self.closing and not self.closed and self.server.heartbeats.ask(self._heartbeat, answered, time.monotonic()):
            self.send(Packet(PING))

    def check_ping_timeout(self) -> bool:
        """Is the client there, as far as one knows? One that owes its pong for too long is closed.

        :raises SocketIsClosedError: where the session has ended.
        """
        if self.closed:
            raise SocketIsClosedError
        if self._heartbeat.pong_by >= time.monotonic():
            return True
        self.close(wait=False, reason=self.server.reason.PING_TIMEOUT)
        return False

    def answered_ping_age(self) -> float | None:
        """How many seconds ago was the latest ping sent that the client has answered? `None` where it is gone."""
        try:
            if self.closing or not self.check_ping_timeout():
                return None
        except SocketIsClosedError:
            return None
        return time.monotonic() - self._heartbeat.answered_ping_at

    # Its end

    def close(self, wait: bool = True, abort: bool = False, reason: Any = None) -> None:
        """End the session, and forget it now. The engine does so some time later, and until then a client that goes on
        sending makes it fail with a KeyError and a 500."""
        super().close(wait=wait and self.websocket is None, abort=abort, reason=reason)
        if not self.closed:
            # Another call is at it.
            return
        self.server.sockets.pop(self.sid, None)
        self.server.heartbeats.end(self._heartbeat)
        if self.upgrade is not None:
            self.upgrade.abandon()
        self._write_queue()

    def close_soon(self, reason: Any = None) -> Any:
        """Close it in a task of its own, which is returned: to close may wait for a store, and callers must not."""
        return self.server.start_background_task(self.close, wait=False, reason=reason)

    def _connection_lost(self) -> None:
        self.close(wait=False, abort=True, reason=self.server.reason.TRANSPORT_CLOSE)
