"""The way from polling to a WebSocket.

A handshake proves nothing: a proxy may answer it, and swallow all that follows. Polling goes on until the client says that
it changes over, for which it has a few seconds.
"""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING, Any

import gevent
from engineio.packet import NOOP, PONG, Packet

from lchook.transport.engine_packets import PACKETS_IN_A_POLL

if TYPE_CHECKING:
    from lchook.transport.engine_socket import EngineSocket

_PROBE, _UPGRADE = "2probe", "5"
# How long a client has to ask whether its WebSocket works, and then to change over.
_UPGRADE_SECONDS = 10.0
# A client that is told that its WebSocket works waits for its poll to end before it changes over.
_MIN_POLL_SECONDS = 0.1


class Upgrade:
    """One WebSocket that a session which polls may change over to. The latest one of a session counts."""

    def __init__(self, session: EngineSocket, websocket: Any) -> None:
        self._session = session
        self.websocket = websocket
        # When the client was told that the WebSocket works. Until it changes over, its polls are to be short.
        self.probed_at: float | None = None
        session.upgrade = self

    # A WebSocket that calls back

    def begin(self) -> None:
        """Expect the probe."""
        self.websocket.deadline = time.monotonic() + _UPGRADE_SECONDS
        self.websocket.on_message = self._on_probe

    def _on_probe(self, data: str | bytes) -> None:
        if data != _PROBE or not self._is_possible():
            self.websocket.close()
            return
        self.websocket.on_message = self._on_upgrade
        self.websocket.deadline = time.monotonic() + _UPGRADE_SECONDS
        with contextlib.suppress(OSError):
            self.websocket.send(Packet(PONG, data="probe").encode())
        self._end_poll()

    def _on_upgrade(self, data: str | bytes) -> None:
        if data != _UPGRADE or not self._is_possible():
            self.websocket.close()
            return
        self._session.upgrade = None
        self._session.use(self.websocket)

    # A WebSocket that is read by waiting

    def wait(self) -> bool:
        """Wait for the client to change over; tells whether it did. Where it did not, the WebSocket is closed."""
        changed_over = False
        with contextlib.suppress(OSError):
            changed_over = self._changes_over()
        self.end()
        if not changed_over:
            self._hang_up()
        return changed_over

    def _changes_over(self) -> bool:
        if self._receive() != _PROBE or not self._is_possible():
            return False
        self.websocket.send(Packet(PONG, data="probe").encode())
        self._end_poll()
        if self._receive() != _UPGRADE or not self._is_possible():
            return False
        self._session.upgraded = True
        return True

    def _receive(self) -> Any:
        threads_own = getattr(self.websocket, "ws", None)
        if threads_own is not None:
            # simple-websocket's, which also raises where the connection is closed.
            with contextlib.suppress(Exception):
                return threads_own.receive(timeout=_UPGRADE_SECONDS)
            return None
        with gevent.Timeout(_UPGRADE_SECONDS, False):
            return self.websocket.wait()

    def _hang_up(self) -> None:
        with contextlib.suppress(OSError):
            self.websocket.close()
        threads_own = getattr(self.websocket, "ws", None)
        if threads_own is not None:
            # simple-websocket only says that it is closed, and reads on until the client hangs up.
            with contextlib.suppress(OSError):
                threads_own.sock.shutdown(socket.SHUT_RDWR)

    # Both

    def _is_possible(self) -> bool:
        """Not where the session has ended, or another WebSocket of the same session came first, or later."""
        session = self._session
        return not session.closed and not session.upgraded and session.upgrade is self

    def _end_poll(self) -> None:
        """End the poll that waits, and soon those that follow, so that the client can change over."""
        self.probed_at = time.monotonic()
        self._session.queue.put(Packet(NOOP))
        # The poll has its turn to take it.
        self._session.server.sleep(0)

    def poll(self) -> list[Any]:
        """What a poll brings between probe and change. The engine would answer each at once with nothing in it: to a client
        that is not told that its WebSocket works, again and again."""
        session, now = self._session, time.monotonic()
        # The longer it takes, the less likely is the change.
        until = now + max(_MIN_POLL_SECONDS, now - (self.probed_at or now))
        while session.upgrade is self and session.queue.empty() and time.monotonic() < until:
            session.server.sleep(_MIN_POLL_SECONDS / 5)
        packets: list[Any] = []
        with contextlib.suppress(session.server.get_queue_empty_exception()):
            while not session.upgraded and len(packets) < PACKETS_IN_A_POLL:
                packet = session.queue.get(block=False)
                session.queue.task_done()
                if packet is None:
                    # The session is closed; the writer of a WebSocket, or the next poll, is to know.
                    session.queue.put(None)
                    break
                packets.append(packet)
        return packets or [Packet(NOOP)]

    def abandon(self) -> None:
        """The session has ended."""
        self.end()
        with contextlib.suppress(OSError):
            self.websocket.close()

    def end(self) -> None:
        """It came to nothing, or to its aim; a later one goes on."""
        if self._session.upgrade is self:
            self._session.upgrade = None
