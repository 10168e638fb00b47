"""Engine.IO's WebSocket transport, with the engine's real sessions and WebSockets made of wood."""

from __future__ import annotations

from typing import Any

import engineio
import gevent
import pytest
from engineio.packet import MESSAGE, NOOP, Packet
from engineio.socket import Socket
from lchook.engine import websocket as transport
from lchook.engine.mended import Pings


class Wood:
    """A WebSocket that the event loop would watch."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.is_free = True
        self.closed = False
        self.take: Any = None

    def send(self, message: str) -> None:
        if self.closed:
            raise OSError
        self.sent.append(message)

    def close(self) -> None:
        self.closed = True


class Offer:
    """What the engine is given where a client shakes hands: `_sock` becomes the WebSocket above."""

    can_be_served = True

    def __init__(self, *, broken: bool = False) -> None:
        self._sock = self
        self.wood = Wood()
        self._broken = broken

    def serve(self, *, drained: Any, gone: Any) -> Wood:
        if self._broken:
            raise OSError
        self.drained, self._gone = drained, gone
        return self.wood

    def hang_up(self) -> None:
        self.wood.closed = True
        self._gone(self.wood)


class Session:
    """An engine session, connected by polling or not yet, and what it heard."""

    def __init__(self, *, polling: bool) -> None:
        self.server = engineio.Server(async_mode="gevent", async_handlers=False, monitor_clients=False)
        self.heard: list[Any] = []
        self.ended: list[str] = []
        self.server.on("message", lambda sid, data: self.heard.append(data))
        self.server.on("disconnect", lambda sid, reason: self.ended.append(reason))
        self.socket = Socket(self.server, "session")
        self.socket.connected = polling
        self.server.sockets["session"] = self.socket

    def offer(self, **options: Any) -> Offer:
        offer = Offer(**options)
        assert self.socket._websocket_handler(offer) == []
        return offer

    def upgrade(self) -> Offer:
        offer = self.offer()
        offer.wood.take("2probe")
        offer.wood.take("5")
        return offer


@pytest.fixture
def session() -> Session:
    return Session(polling=True)


def test_a_session_by_websocket_alone_takes_packets_and_is_sent_them_at_once() -> None:
    session = Session(polling=False)
    session.socket.send(Packet(MESSAGE, data="0 what it was sent before"))
    wood = session.offer().wood
    assert wood.sent == ["40 what it was sent before"]

    wood.take('42["x"]')
    wood.take("4no number")
    wood.take("9no type")
    session.socket.send(Packet(MESSAGE, data='2["y"]'))
    assert session.heard == ['2["x"]', "no number"]
    assert wood.sent[1:] == ['42["y"]']
    assert not wood.closed


def test_a_handshake_that_breaks_ends_a_session_that_has_nothing_else(session: Session) -> None:
    alone = Session(polling=False)
    alone.offer(broken=True)
    assert alone.socket.closed

    session.offer(broken=True)
    assert not session.socket.closed
    assert not session.socket.upgrading


def test_a_polling_session_changes_over_after_a_probe_and_its_poll_is_ended(session: Session) -> None:
    offer = session.offer()
    assert not session.socket.upgrading, "before the probe, polling goes on"
    poll = gevent.spawn(session.socket.poll)
    gevent.sleep(0)
    # Both in one piece, as no browser sends them: the poll must not be left without its answer.
    offer.wood.take("2probe")
    offer.wood.take("5")
    poll.join(1)

    assert [packet.packet_type for packet in poll.value] == [NOOP]
    assert offer.wood.sent == ["3probe"]
    assert session.socket.upgraded
    assert not session.socket.upgrading
    session.socket.send(Packet(MESSAGE, data="2[]"))
    assert offer.wood.sent[1:] == ["42[]"]


@pytest.mark.parametrize("packets", [["5"], ["40"], ["2probe", "2probe"], ["2probe", "40"], [b"2probe"]])
def test_a_session_whose_upgrade_fails_stays_with_polling(session: Session, packets: list[Any]) -> None:
    offer = session.offer()
    for packet in packets:
        offer.wood.take(packet)
    assert offer.wood.closed
    offer.hang_up()

    assert not session.socket.closed
    assert not session.socket.upgrading
    assert not session.socket.upgraded
    assert session.upgrade().wood is session.socket.websocket


def test_only_the_latest_offer_may_change_over_and_only_the_sessions_own_end_is_its_end(session: Session) -> None:
    first = session.offer()
    second = session.upgrade()
    first.wood.take("2probe")
    assert first.wood.closed
    first.hang_up()
    assert not session.ended

    third = session.offer()
    third.wood.take("2probe")
    assert third.wood.closed
    third.hang_up()
    assert session.socket.websocket is second.wood
    second.hang_up()
    assert session.ended == ["transport close"]


def test_nothing_is_taken_for_a_session_that_has_ended(session: Session) -> None:
    probing, upgrading = session.offer(), Session(polling=True)
    session.socket.close(wait=False)
    probing.wood.take("2probe")
    assert probing.wood.closed

    offer = upgrading.offer()
    offer.wood.take("2probe")
    upgrading.socket.close(wait=False)
    offer.wood.take("5")
    assert offer.wood.closed
    assert not upgrading.socket.upgraded

    changed = Session(polling=True)
    wood = changed.upgrade().wood
    wood.is_free = False
    changed.socket.close(wait=False)
    wood.take('42["too late"]')
    assert wood.closed
    assert changed.heard == []


def test_what_the_client_does_not_take_waits_in_order_and_the_close_behind_it(session: Session) -> None:
    offer = session.upgrade()
    wood = offer.wood
    wood.sent.clear()
    wood.is_free = False
    for number in range(3):
        session.socket.send(Packet(MESSAGE, data=str(number)))
    assert wood.sent == []
    assert not transport.is_free(session.socket)

    wood.is_free = True
    offer.drained()
    session.socket.send(Packet(MESSAGE, data="3"))
    assert wood.sent == ["40", "41", "42", "43"]
    wood.is_free = False
    session.socket.send(Packet(MESSAGE, data="4"))
    session.socket.close(wait=False)
    assert not wood.closed
    wood.is_free = True
    offer.drained()
    assert wood.sent[4:] == ["44", "1"]
    assert wood.closed


# Heartbeats


def test_who_owes_an_answer_for_too_long_is_closed_in_a_task_of_its_own(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    pings, tasks, now = Pings(), [], [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr(session.server, "start_background_task", lambda task, **options: tasks.append((task, options)))
    session.server.ping_interval, session.server.ping_timeout = 25, 20
    wood = session.upgrade().wood
    pings.schedule(session.socket)

    now[0] += 25
    pings.tick()
    assert wood.sent[-1] == "2"
    # Answered in time, and pinged again.
    pings.schedule(session.socket)
    now[0] += 25
    pings.tick()
    assert not tasks
    now[0] += 19
    pings.tick()
    assert not tasks
    now[0] += 1
    pings.tick()
    assert len(tasks) == 1
    assert not session.ended

    task, options = tasks[0]
    task(**options)
    assert session.ended == ["ping timeout"]


def test_who_is_asked_is_pinged_at_once_and_in_place_of_the_next_time(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    pings, closed, now = Pings(), [], [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr("time.time", lambda: now[0])
    monkeypatch.setattr(session.server, "start_background_task", lambda task, **options: closed.append(options["reason"]))
    session.server.ping_interval, session.server.ping_timeout = 25, 20
    wood = session.upgrade().wood
    pings.schedule(session.socket)
    wood.sent.clear()
    answers: list[int] = []

    now[0] += 10
    for number in range(3):
        pings.ask(session.socket, timeout_seconds=3, answered=lambda number=number: answers.append(number))
    assert wood.sent == ["2"]
    now[0] += 2
    pings.schedule(session.socket)
    assert answers == [0, 1, 2]
    # Not at the time at which the one before was due.
    now[0] += 24
    pings.tick()
    assert wood.sent == ["2"]
    now[0] += 1
    pings.tick()
    assert wood.sent == ["2", "2"]
    # That one is not answered: whoever asks now need not wait for as long as others.
    pings.ask(session.socket, timeout_seconds=3)
    assert wood.sent == ["2", "2"]
    now[0] += 3
    pings.tick()
    assert closed == ["ping timeout"]
    assert answers == [0, 1, 2]
