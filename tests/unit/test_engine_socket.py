"""Engine.IO's WebSocket transport, with real sessions and fake WebSockets."""

from __future__ import annotations

import time
from typing import Any

import gevent
import pytest
from engineio.exceptions import SocketIsClosedError
from engineio.packet import MESSAGE, NOOP, Packet

from lchook.transport.engine_server import Busy, EngineServer
from lchook.transport.engine_socket import EngineSocket


class FakeWebSocket:
    """A WebSocket that the event loop would watch."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.writable = True
        self.closed = False
        self.on_message: Any = None

    def send(self, message: str) -> None:
        if self.closed:
            raise OSError
        self.sent.append(message)

    def close(self) -> None:
        self.closed = True


class FakeOffer:
    """What the engine is given where a client shakes hands: `_sock` becomes the WebSocket above."""

    can_be_served = True

    def __init__(self, *, broken: bool = False) -> None:
        self._sock = self
        self.websocket = FakeWebSocket()
        self._broken = broken

    def serve(self, *, on_drain: Any, on_close: Any) -> FakeWebSocket:
        if self._broken:
            raise OSError
        self.on_drain, self._on_close = on_drain, on_close
        return self.websocket

    def hang_up(self) -> None:
        self.websocket.closed = True
        self._on_close(self.websocket)


class Session:
    """An engine session, connected by polling or not yet, and what it heard."""

    def __init__(self, *, polling: bool) -> None:
        self.server = EngineServer(async_mode="gevent", async_handlers=False)
        self.heard: list[Any] = []
        self.ended: list[str] = []
        self.server.on("message", lambda sid, data: self.heard.append(data))
        self.server.on("disconnect", lambda sid, reason: self.ended.append(reason))
        self.socket = EngineSocket(self.server, "session")
        self.socket.connected = polling
        self.server.sockets["session"] = self.socket

    def offer(self, **options: Any) -> FakeOffer:
        offer = FakeOffer(**options)
        assert self.socket._websocket_handler(offer) == []
        return offer

    def upgrade(self) -> FakeOffer:
        offer = self.offer()
        offer.websocket.on_message("2probe")
        offer.websocket.on_message("5")
        return offer


@pytest.fixture
def session() -> Session:
    return Session(polling=True)


def test_a_session_by_websocket_alone_takes_packets_and_is_sent_them_at_once() -> None:
    session = Session(polling=False)
    session.socket.send(Packet(MESSAGE, data="0 what it was sent before"))
    websocket = session.offer().websocket
    assert websocket.sent == ["40 what it was sent before"]

    websocket.on_message('42["x"]')
    websocket.on_message("4no number")
    websocket.on_message("9no type")
    session.socket.send(Packet(MESSAGE, data='2["y"]'))
    assert session.heard == ['2["x"]', "no number"]
    assert websocket.sent[1:] == ['42["y"]']
    assert not websocket.closed


def test_a_handshake_that_breaks_ends_a_session_that_has_nothing_else(session: Session) -> None:
    alone = Session(polling=False)
    alone.offer(broken=True)
    assert alone.socket.closed

    session.offer(broken=True)
    assert not session.socket.closed
    assert session.socket.upgrade is None


def test_a_polling_session_changes_over_after_a_probe_and_its_poll_is_ended(session: Session) -> None:
    offer = session.offer()
    assert session.socket.upgrade.probed_at is None, "before the probe, polling goes on"
    poll = gevent.spawn(session.socket.poll)
    gevent.sleep(0)
    # Both in one piece, as no browser sends them: the poll must not be left without its answer.
    offer.websocket.on_message("2probe")
    offer.websocket.on_message("5")
    poll.join(1)

    assert [packet.packet_type for packet in poll.value] == [NOOP]
    assert offer.websocket.sent == ["3probe"]
    assert session.socket.upgraded
    assert session.socket.upgrade is None
    session.socket.send(Packet(MESSAGE, data="2[]"))
    assert offer.websocket.sent[1:] == ["42[]"]


@pytest.mark.parametrize("packets", [["5"], ["40"], ["2probe", "2probe"], ["2probe", "40"], [b"2probe"]])
def test_a_session_whose_upgrade_fails_stays_with_polling(session: Session, packets: list[Any]) -> None:
    offer = session.offer()
    for packet in packets:
        offer.websocket.on_message(packet)
    assert offer.websocket.closed
    offer.hang_up()

    assert not session.socket.closed
    assert session.socket.upgrade is None
    assert not session.socket.upgraded
    assert session.upgrade().websocket is session.socket.websocket


def test_only_the_latest_offer_may_change_over_and_only_the_sessions_own_end_is_its_end(session: Session) -> None:
    first = session.offer()
    second = session.upgrade()
    first.websocket.on_message("2probe")
    assert first.websocket.closed
    first.hang_up()
    assert not session.ended

    third = session.offer()
    third.websocket.on_message("2probe")
    assert third.websocket.closed
    third.hang_up()
    assert session.socket.websocket is second.websocket
    second.hang_up()
    assert session.ended == ["transport close"]


def test_nothing_is_taken_for_a_session_that_has_ended(session: Session) -> None:
    probing, upgrading = session.offer(), Session(polling=True)
    session.socket.close(wait=False)
    probing.websocket.on_message("2probe")
    assert probing.websocket.closed

    offer = upgrading.offer()
    offer.websocket.on_message("2probe")
    upgrading.socket.close(wait=False)
    offer.websocket.on_message("5")
    assert offer.websocket.closed
    assert not upgrading.socket.upgraded

    changed = Session(polling=True)
    websocket = changed.upgrade().websocket
    websocket.writable = False
    changed.socket.close(wait=False)
    websocket.on_message('42["too late"]')
    assert websocket.closed
    assert changed.heard == []


def test_what_the_client_does_not_take_waits_in_order_and_the_close_behind_it(session: Session) -> None:
    offer = session.upgrade()
    websocket = offer.websocket
    websocket.sent.clear()
    websocket.writable = False
    for number in range(3):
        session.socket.send(Packet(MESSAGE, data=str(number)))
    assert websocket.sent == []
    assert not session.socket.writable

    websocket.writable = True
    offer.on_drain()
    session.socket.send(Packet(MESSAGE, data="3"))
    assert websocket.sent == ["40", "41", "42", "43"]
    websocket.writable = False
    session.socket.send(Packet(MESSAGE, data="4"))
    session.socket.close(wait=False)
    assert not websocket.closed
    websocket.writable = True
    offer.on_drain()
    assert websocket.sent[4:] == ["44", "1"]
    assert websocket.closed


# Heartbeats: the rules are in tests/core/test_heartbeats.py


def test_who_owes_an_answer_for_too_long_is_closed_in_a_task_of_its_own(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks, now = [], [time.monotonic()]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr(session.server, "start_background_task", lambda task, **options: tasks.append((task, options)))
    websocket = session.upgrade().websocket
    session.socket.start_heartbeat()

    now[0] += 25
    session.server.tick()
    assert websocket.sent[-1] == "2"
    websocket.on_message("3")
    now[0] += 25
    session.server.tick()
    assert websocket.sent[-2:] == ["2", "2"]
    now[0] += 19
    session.server.tick()
    assert not tasks
    assert session.socket.answered_ping_age() == 44
    now[0] += 1
    session.server.tick()
    [(task, options)] = tasks
    assert not session.ended
    task(**options)
    assert session.ended == ["ping timeout"]
    assert session.socket.answered_ping_age() is None


def test_who_is_asked_is_pinged_at_once_and_those_who_ask_are_told(session: Session) -> None:
    websocket, answers = session.upgrade().websocket, []
    session.socket.start_heartbeat()
    websocket.sent.clear()
    for number in range(3):
        session.socket.ask(lambda number=number: answers.append(number))
    assert websocket.sent == ["2"]
    websocket.on_message("3")
    assert answers == [0, 1, 2]


def test_who_is_sent_something_while_it_owes_its_pong_for_too_long_is_closed(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [time.monotonic()]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    websocket = session.upgrade().websocket
    session.socket.start_heartbeat()
    session.socket.ask()
    now[0] += 4
    session.socket.send(Packet(MESSAGE, data="2[]"))
    assert websocket.sent[-1] == "2"
    assert session.ended == ["ping timeout"]
    with pytest.raises(SocketIsClosedError):
        session.socket.send(Packet(MESSAGE, data="2[]"))


def test_a_session_that_is_refused_leaves_nothing_behind(session: Session) -> None:
    session.server.on("connect", lambda sid, environ: Busy("later"))
    answers: list[Any] = []
    environ = {"REQUEST_METHOD": "GET", "QUERY_STRING": "EIO=4&transport=polling"}
    body = b"".join(session.server.handle_request(environ, lambda status, headers: answers.append((status, dict(headers)))))
    [(status, headers)] = answers
    assert (status, headers["Retry-After"], body) == ("429 TOO MANY REQUESTS", "2", b'"later"')
    assert set(session.server.sockets) == {"session"}
    assert session.server.heartbeats.due(time.monotonic() + 1_000) == ([], [])
