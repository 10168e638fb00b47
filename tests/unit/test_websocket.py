"""WebSockets that the event loop watches, on real sockets; and those that keep a greenlet."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from geventwebsocket.exceptions import WebSocketError
from greenlet import getcurrent

from lchook.transport.frame_decoder import FrameDecoder, close_frame
from lchook.transport.http_server import HttpOptions
from lchook.transport.served_websocket import ServedWebSocket
from lchook.transport.websocket_offer import WebSocketOffer
from tests.security.attacker import CLOSE, PING, frame

LARGEST = 300_000
SECONDS = 5.0


class Line:
    """A connection with its client's end, and what happened on it."""

    def __init__(self) -> None:
        self.client, server = socket.socketpair()
        self.client.settimeout(SECONDS)
        server.setblocking(False)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.taken: list[Any] = []
        self.drained = self.gone = 0
        self.websocket = ServedWebSocket(
            server, FrameDecoder(LARGEST), on_drain=self._drained, on_close=self._gone, timeout_seconds=60.0
        )
        self.websocket.on_message = self.taken.append

    def _drained(self) -> None:
        self.drained += 1

    def _gone(self, websocket: ServedWebSocket) -> None:
        assert websocket is self.websocket
        self.gone += 1

    def receive(self, count: int) -> bytes:
        """So many bytes at the client's end, with turns for the event loop."""
        received = b""
        self.client.setblocking(False)
        while len(received) < count:
            gevent.sleep(0)
            try:
                received += self.client.recv(65536)
            except BlockingIOError:
                continue
        return received

    def ended(self) -> bool:
        """Has the server hung up?"""
        self.client.setblocking(False)
        try:
            return self.client.recv(1) == b""
        except BlockingIOError:
            return False


@pytest.fixture
def line() -> Iterator[Line]:
    it = Line()
    yield it
    it.client.close()
    wait(lambda: it.gone == 1)


def wait(condition: Any) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        gevent.sleep(0.001)


def test_messages_are_taken_in_order_and_answered(line: Line) -> None:
    line.client.sendall(frame(b"a") + frame(b"?", opcode=PING) + frame("å".encode()))
    wait(lambda: len(line.taken) == 2)

    assert line.taken == ["a", "å"]
    line.websocket.send("ö")
    assert line.receive(7) == b"\x8a\x01?" + frame("ö".encode(), masked=False)


def test_a_message_in_pieces_is_taken_when_it_is_whole(line: Line) -> None:
    message = frame(b"x" * LARGEST)
    for start in range(0, len(message), 50_000):
        line.client.sendall(message[start : start + 50_000])
        gevent.sleep(0.001)
    wait(lambda: line.taken)

    assert line.taken == ["x" * LARGEST]


def test_the_next_message_waits_while_one_is_being_handled_and_others_do_not(line: Line) -> None:
    going_on = gevent.event.Event()
    other = Line()

    def take(message: Any) -> None:
        line.taken.append(message)
        going_on.wait(SECONDS)

    line.websocket.on_message = take
    line.client.sendall(frame(b"1"))
    wait(lambda: line.taken)
    line.client.sendall(frame(b"2"))
    other.client.sendall(frame(b"other"))
    wait(lambda: other.taken)
    gevent.sleep(0.01)
    assert line.taken == ["1"]

    going_on.set()
    wait(lambda: line.taken == ["1", "2"])
    other.client.close()
    wait(lambda: other.gone)


def test_what_the_client_does_not_take_is_kept_and_it_is_told_when_it_has_it(line: Line) -> None:
    line.websocket.send("x" * 200_000)
    assert not line.websocket.writable
    assert line.drained == 0

    assert len(line.receive(200_010)) == 200_010
    wait(lambda: line.drained == 1)
    assert line.websocket.writable


def test_a_client_that_does_not_read_is_not_waited_for_and_gets_no_pongs(line: Line) -> None:
    line.websocket.send("x" * 200_000)
    deadline = line.websocket.deadline
    line.client.sendall(frame(b"?", opcode=PING) * 100 + frame(b"still here"))
    wait(lambda: line.taken)

    assert line.websocket.deadline == deadline
    assert b"\x8a" not in line.receive(200_010)


def test_whole_messages_put_the_deadline_off_and_nothing_else_does(line: Line) -> None:
    first = line.websocket.deadline
    line.client.sendall(frame(b"?", opcode=PING) + frame(b"half", final=False))
    assert line.receive(3) == b"\x8a\x01?"
    assert line.websocket.deadline == first

    line.client.sendall(frame(b"the rest", opcode=0))
    wait(lambda: line.taken)
    assert line.websocket.deadline > first


def test_a_close_from_this_side_is_told_and_the_client_has_some_seconds_to_hang_up(line: Line) -> None:
    line.websocket.close(1001)
    line.websocket.close(1002)
    assert line.receive(4) == close_frame(1001)
    assert line.websocket.deadline < time.monotonic() + 6
    with pytest.raises(WebSocketError):
        line.websocket.send("x")
    assert not line.ended()

    line.client.sendall(frame(b"\x03\xe9", opcode=CLOSE))
    wait(line.ended)


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (frame(b"\x03\xe9", opcode=CLOSE), close_frame(1001)),
        (frame(b"x", masked=False), close_frame(1002)),
        (frame(claimed_length=LARGEST + 1), close_frame(1009)),
        (frame(b"\xff"), close_frame(1007)),
    ],
)
def test_a_close_and_a_violation_are_answered_and_are_the_end(line: Line, sent: bytes, answer: bytes) -> None:
    line.client.sendall(sent + frame(b"too late"))

    assert line.receive(4) == answer
    wait(line.ended)
    assert line.gone == 1
    assert line.taken == []


def test_a_broken_connection_is_over_once(line: Line) -> None:
    line.client.close()
    wait(lambda: line.gone == 1)
    with pytest.raises(WebSocketError):
        line.websocket.send("x")
    line.websocket.close()
    line.websocket.abort()
    gevent.sleep(0.01)

    assert line.gone == 1


def test_an_abort_ends_it_though_the_client_says_nothing(line: Line) -> None:
    line.websocket.abort()
    wait(lambda: line.gone == 1)
    assert line.ended()


def test_a_message_that_cannot_be_handled_ends_its_own_connection_and_no_other(line: Line) -> None:
    other = Line()

    def fail(message: Any) -> None:
        raise RuntimeError

    line.websocket.on_message = fail
    line.client.sendall(frame(b"x"))
    wait(lambda: line.gone == 1)
    other.client.sendall(frame(b"y"))
    wait(lambda: other.taken == ["y"])
    other.client.close()
    wait(lambda: other.gone)


def test_a_quiet_connection_has_no_greenlet_and_those_that_handle_messages_are_used_again(line: Line) -> None:
    greenlets = []
    line.websocket.on_message = lambda message: greenlets.append(getcurrent())
    for number in range(3):
        line.client.sendall(frame(b"x"))
        wait(lambda number=number: len(greenlets) == number + 1)

    assert len(set(greenlets)) == 1


class Waiting:
    """A WebSocket that keeps its handler's greenlet, as with TLS."""

    def __init__(self, *received: bytes) -> None:
        pieces = iter(received)
        self.sent = b""
        connection = SimpleNamespace(sendall=self._send, pending=lambda: 0, recv=lambda count: next(pieces, b""))
        handler = SimpleNamespace(
            open_websocket=lambda: None,
            options=HttpOptions(),
            deadline=0.0,
            socket=connection,
        )
        self.websocket = WebSocketOffer({}, handler)

    def _send(self, data: bytes) -> None:
        self.sent += data


def test_with_tls_messages_are_waited_for() -> None:
    line = Waiting(frame(b"a") + frame(b"?", opcode=PING)[:2], frame(b"?", opcode=PING)[2:], frame(b"b"))

    assert not line.websocket.can_be_served
    assert [line.websocket.receive() for _ in range(3)] == ["a", "b", None]
    assert line.sent == b"\x8a\x01?"
    line.websocket.send(b"c")
    line.websocket.close()
    assert line.sent.endswith(b"\x82\x01c" + close_frame(1000))
    assert line.websocket.receive() is None
    with pytest.raises(WebSocketError):
        line.websocket.send("x")


@pytest.mark.parametrize(
    ("sent", "answer"),
    [(frame(b"", opcode=CLOSE), close_frame(1000)), (frame(b"x", masked=False), close_frame(1002))],
)
def test_with_tls_too_a_close_and_a_violation_are_answered_and_are_the_end(sent: bytes, answer: bytes) -> None:
    line = Waiting(sent)
    assert line.websocket.receive() is None
    assert line.sent == answer
    assert line.websocket.closed
